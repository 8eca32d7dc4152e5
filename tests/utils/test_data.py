"""Data sets and loaders: the same batches in the same order as torch's, seed for seed."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
import torch
import torch.utils.data

import cupola
from nn.twin import PAIR, agree, given, seed

ARRAY = np.arange(46, dtype=np.float32).reshape(23, 2)
LOADERS = {
    "shuffled": lambda data, set_: data.DataLoader(set_, batch_size=4, shuffle=True),
    "last dropped": lambda data, set_: data.DataLoader(set_, batch_size=5, drop_last=True),
    "no batches": lambda data, set_: data.DataLoader(set_, batch_size=None),
    "weighted": lambda data, set_: data.DataLoader(
        set_, 4, sampler=data.WeightedRandomSampler([1.0, 2.0, 3.0] * 7 + [1.0, 1.0], 15)
    ),
    "with replacement": lambda data, set_: data.DataLoader(
        set_, 3, sampler=data.RandomSampler(set_, replacement=True, num_samples=40)
    ),
    "subset": lambda data, set_: data.DataLoader(
        set_, 3, sampler=data.SubsetRandomSampler([3, 1, 4, 15, 9, 2])
    ),
    "concatenated": lambda data, set_: data.DataLoader(
        data.ConcatDataset([set_, data.Subset(set_, [5, 1])]), 8, shuffle=True
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_loader(name):
    seed(5)
    passes = []
    for lib in PAIR:
        data = lib.utils.data
        loader = LOADERS[name](data, data.TensorDataset(given(ARRAY, lib), lib.arange(23)))
        found = [list(loader) for _ in range(2)]
        assert len(found[0]) == len(loader)
        passes.append([found, lib.rand(3)])
    agree(*passes)


def test_random_split():
    seed(2)
    found = []
    for lib in PAIR:
        parts = lib.utils.data.random_split(range(23), [0.5, 0.3, 0.2])
        found.append([part.indices for part in parts])
    assert found[0] == found[1]


class Count(cupola.utils.data.IterableDataset):
    def __iter__(self):
        return iter(range(7))


def test_iterable_data_set():
    loader = cupola.utils.data.DataLoader(Count(), batch_size=3)
    assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(ValueError, match="shuffle"):
        cupola.utils.data.DataLoader(Count(), shuffle=True)


def test_collation():
    samples = [
        {"a": i, "b": (0.5 + i, "x"), "c": np.float32(i), "d": np.full(2, i)} for i in range(3)
    ]
    expected = torch.utils.data.default_collate(samples)
    found = cupola.utils.data.default_collate(samples)
    assert list(found) == list(expected)
    for key in "acd":
        agree(expected[key], found[key])
    agree(expected["b"][0], found["b"][0])
    assert found["b"][1] == expected["b"][1]
    with pytest.raises(TypeError, match="default_collate"):
        cupola.utils.data.default_collate([object()])


class Augmented(torch.utils.data.Dataset):
    """Samples with noise from all three random streams; torch's class serves both libraries."""

    def __init__(self, lib):
        self.lib = lib

    def __len__(self):
        return 11

    def __getitem__(self, index):
        noise = self.lib.rand(2) + random.random() + np.random.rand()
        return noise, index, self.lib.utils.data.get_worker_info().id


def stream(lib):
    """An iterable data set of a library that shares its numbers among the workers."""

    class Stream(lib.utils.data.IterableDataset):
        def __iter__(self):
            info = lib.utils.data.get_worker_info()
            return iter(range(info.id, 9, info.num_workers))

    return Stream()


def test_workers_have_torchs_random_streams():
    found = []
    seed(3)
    for lib in PAIR:
        loader = lib.utils.data.DataLoader(Augmented(lib), 2, shuffle=True, num_workers=2)
        found.append([list(loader), lib.rand(2)])
    agree(*found)
    found = []
    for lib in PAIR:
        loader = lib.utils.data.DataLoader(stream(lib), 2, num_workers=2)
        found.append([batch.tolist() for batch in loader])
    assert found[0] == found[1]
    assert cupola.utils.data.get_worker_info() is None


def test_what_a_loader_was_made_from_is_fixed():
    for lib in PAIR:
        loader = lib.utils.data.DataLoader(range(4), num_workers=1, multiprocessing_context="fork")
        for name in ("batch_size", "sampler", "dataset", "drop_last", "persistent_workers"):
            with pytest.raises(ValueError, match=f"{name} attribute should not be set after"):
                setattr(loader, name, None)
        assert "multiprocessing_context" not in vars(loader)
        loader.multiprocessing_context = "spawn"
        assert loader.multiprocessing_context.get_start_method() == "spawn"
        with pytest.raises(ValueError, match="num_samples should be a positive integer"):
            lib.utils.data.DataLoader([], shuffle=True)


def test_samples_side_by_side_are_fetched_at_once():
    class Rows(list):
        def __getitems__(self, indices):
            return [self[i] * 10 for i in indices]

    for lib in PAIR:
        stack = lib.utils.data.StackDataset
        assert stack(a=Rows([1, 2, 3]), b=[5, 6, 7]).__getitems__([0, 2]) == [
            {"a": 10, "b": 5},
            {"a": 30, "b": 7},
        ]
        assert stack(Rows([1, 2]), [5, 6]).__getitems__([1, 0]) == [(20, 6), (10, 5)]


def test_sequences_keep_their_type():
    for lib in PAIR:
        found = lib.utils.data.default_convert([deque([np.ones(2), 3]), (np.zeros(1), 2), range(2)])
        assert type(found[0]) is deque and type(found[1]) is list and found[2] == [0, 1]
        assert found[0][0].tolist() == [1.0, 1.0]
        batch = lib.utils.data.default_collate([deque([1, 2]), deque([3, 4])])
        assert type(batch) is deque and batch[0].tolist() == [1, 3]


def test_functions_for_the_exact_type_come_first():
    class Whole(int):
        pass

    def sums(batch, *, collate_fn_map=None):
        return sum(batch)

    for lib in PAIR:
        collate = lib.utils.data._utils.collate.collate
        found = collate([Whole(2), Whole(3)], collate_fn_map={int: lambda *a, **k: 0, Whole: sums})
        assert found == 5
