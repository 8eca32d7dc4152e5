"""Data pipes give what PyTorch's give."""

import warnings

import pytest

import cupola
from cupola.utils import data

torch = pytest.importorskip("torch")
warnings.simplefilter("ignore")
from torch.utils import data as original  # noqa: E402
from torch.utils.data.datapipes import iter as original_iter  # noqa: E402, F401
from torch.utils.data.datapipes import map as original_map  # noqa: E402, F401


def pipe(d, values):
    return d.datapipes.iter.IterableWrapper(values)


def mapped(d, values):
    return d.datapipes.map.SequenceWrapper(values)


PAIRS = [(k, 2 * k, -k) for k in range(7)]
CHAINS = {
    "map": lambda d: pipe(d, range(5)).map(lambda x: x * 2),
    "columns": lambda d: pipe(d, PAIRS).map(lambda a, b: a + b, input_col=[0, 2]),
    "new column": lambda d: pipe(d, PAIRS).map(lambda a: a + 1, input_col=1, output_col=-1),
    "other column": lambda d: pipe(d, PAIRS).map(lambda a: a + 1, input_col=1, output_col=0),
    "dictionaries": lambda d: pipe(d, [{"a": 1, "b": 2}]).map(lambda a: -a, "a", "b"),
    "filter": lambda d: pipe(d, range(9)).filter(lambda x: x % 3 == 0),
    "filter column": lambda d: pipe(d, PAIRS).filter(lambda x: x > 4, input_col=1),
    "filter not bool": lambda d: pipe(d, range(9)).filter(lambda x: x),
    "batch": lambda d: pipe(d, range(10)).batch(3),
    "batch, drop": lambda d: pipe(d, range(10)).batch(3, drop_last=True),
    "batch 0": lambda d: pipe(d, range(10)).batch(0),
    "unbatch": lambda d: pipe(d, [[0, 1], [2], [[3], 4]]).unbatch(),
    "unbatch all": lambda d: pipe(d, [[0, 1], [2], [[3], 4]]).unbatch(unbatch_level=-1),
    "unbatch too deep": lambda d: pipe(d, [[0, 1]]).unbatch(unbatch_level=2),
    "concat": lambda d: pipe(d, range(3)).concat(pipe(d, "ab")),
    "zip": lambda d: pipe(d, range(3)).zip(pipe(d, "ab")),
    "mux": lambda d: pipe(d, range(3)).mux(pipe(d, "abcd")),
    "groupby": lambda d: pipe(d, range(10)).groupby(lambda x: x % 3, group_size=2),
    "groupby, small": lambda d: pipe(d, range(10)).groupby(
        lambda x: x % 3, buffer_size=4, group_size=3, guaranteed_group_size=2
    ),
    "shuffle": lambda d: pipe(d, range(20)).shuffle(buffer_size=5),
    "shuffle, seed": lambda d: pipe(d, range(20)).shuffle().set_seed(7),
    "shuffle, off": lambda d: pipe(d, range(20)).shuffle().set_shuffle(False),
    "shuffle batches": lambda d: pipe(d, [[1, 2], [3, 4]]).shuffle(unbatch_level=1),
    "sharding": lambda d: pipe(d, range(10)).sharding_filter(),
    "collate": lambda d: pipe(d, [[1, 2], [3, 4]]).collate(),
    "sampler": lambda d: d.datapipes.iter.Sampler(pipe(d, range(4))),
    "no such step": lambda d: pipe(d, range(4)).nothing(),
    "by index": lambda d: mapped(d, list(range(7))).map(lambda x: x + 1).batch(2),
    "by index, concat": lambda d: mapped(d, [1, 2]).concat(mapped(d, [3])),
    "by index, zip": lambda d: mapped(d, [1, 2]).zip(mapped(d, [3, 4, 5])),
    "by index, shuffle": lambda d: mapped(d, list("abcdef")).shuffle().set_seed(3),
    "loader": lambda d: d.DataLoader(pipe(d, range(10)).map(lambda x: x * 2), batch_size=4),
}


def told(make, d, seed):
    """The samples of two passes and the length, or the error."""
    seed(5)
    try:
        made = make(d)
        kind = getattr(made, "__getitem__", None)
        once = [made[k] for k in range(len(made))] if kind else list(made)
        length = len(made) if hasattr(type(made), "__len__") else None
        return str([[str(x) for x in once], length if d is None else length])
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain(name):
    want = told(CHAINS[name], original, torch.manual_seed)
    assert told(CHAINS[name], data, cupola.manual_seed) == want


def test_a_step_of_ones_own():
    for d in (original, data):

        @d.functional_datapipe("own_step")
        class Own(d.IterDataPipe):
            def __init__(self, source, by=1):
                self.source, self.by = source, by

            def __iter__(self):
                for x in self.source:
                    yield x + self.by

        assert list(pipe(d, [1, 2]).own_step(by=3).own_step()) == [5, 6]
        with pytest.raises(Exception, match="own_step as it is already taken"):
            d.functional_datapipe("own_step")(Own)
        assert d.functional_datapipe("another")(int) is int


def test_shards():
    for d in (original, data):
        shard = pipe(d, range(10)).sharding_filter()
        shard.apply_sharding(3, 1)
        assert list(shard) == [1, 4, 7] and len(shard) == 3
