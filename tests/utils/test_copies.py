"""copy.copy shares storage as PyTorch's does; what pickle keeps; pickled functions."""

import copy
import functools
import importlib
import pickle

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")


def shared(m):
    x = m.arange(4.0)
    y = copy.copy(x)
    y[0] = 9
    view = m.arange(12.0).reshape(3, 4).t()[1:]
    other = copy.copy(view)
    other[0, 0] = 5
    array = np.arange(3.0)
    copy.copy(m.from_numpy(array))[0] = 4
    return x.tolist(), view.tolist(), other.stride(), other.storage_offset(), array.tolist()


def parameters(m):
    p = m.nn.Parameter(m.ones(2))
    p.mark = 3
    q = copy.copy(p)
    with m.no_grad():
        q[0] = 7
    product = copy.copy(p * 2)
    kept = [isinstance(q, m.nn.Parameter), q.requires_grad, q.is_leaf, q.mark, p.tolist()]
    return [*kept, product.requires_grad, product.is_leaf]


def pickled(m):
    p = m.nn.Parameter(m.ones(2))
    product = pickle.loads(pickle.dumps(p * 2))
    empty = pickle.loads(pickle.dumps(m.zeros(2, 3, device="meta", dtype=m.int32)))
    pair = pickle.loads(pickle.dumps(m.sort(m.tensor([3, 1, 2]))))
    return (
        product.requires_grad, product.is_leaf, product.tolist(), str(empty.device),
        tuple(empty.shape), str(empty.dtype), repr(pair), pair.indices.tolist(),
        repr(copy.deepcopy(pair)), repr(copy.copy(pair)), str(copy.copy(empty).device),
    )  # fmt: skip


def arrays(m):
    """Deep copies of tensors that share an array share their copy of it, not the array."""
    array = np.arange(12.0).reshape(3, 4)
    whole = m.from_numpy(array)
    view, turned = whole[1:, ::2], whole.t()
    copies = copy.deepcopy((whole, view, turned))
    copies[0][1, 0], copies[1][1, 1], copies[2][3, 0] = 50, 60, 70
    array[0, 0] = -1
    single = copy.deepcopy(view)
    single[0, 0] = 9
    lists = [x.tolist() for x in (*copies, whole, view, turned, single)]
    return lists, [x.stride() for x in copies], single.storage_offset()


@pytest.mark.parametrize("program", [shared, parameters, pickled, arrays])
def test_copies(program):
    assert program(cupola) == program(torch)


def test_copies_of_subclasses():
    class Own(cupola.Tensor):
        pass

    assert type(copy.copy(cupola.ones(2).as_subclass(Own))) is Own


PLACES = {
    "": "add sum cat zeros randn softmax where stack norm clamp max sort",
    "nn.functional": "relu gelu softmax layer_norm dropout embedding interpolate",
    "linalg": "svd norm matmul inv",
    "fft": "fftn rfft",
    "special": "digamma expit",
}


@pytest.mark.parametrize("place", PLACES)
def test_public_functions_are_pickled_by_name(place):
    module = functools.reduce(getattr, place.split(".") if place else [], cupola)
    for name in PLACES[place].split():
        function = getattr(module, name)
        assert pickle.loads(pickle.dumps(function)) is function
    layer = cupola.nn.TransformerEncoderLayer(4, 2, 8)
    assert "TransformerEncoderLayer" in repr(pickle.loads(pickle.dumps(layer)))


def test_limits_are_powers_of_ten():
    for name in ("float64", "float32", "float16", "bfloat16", "complex64"):
        got, want = (m.finfo(getattr(m, name)) for m in (cupola, torch))
        assert got.resolution == want.resolution and repr(got) == repr(want)


def test_arrays_that_cannot_be_written():
    array = np.arange(3.0)
    array.flags.writeable = False
    create = importlib.import_module("cupola.tensor.create")
    create._tell_of_read_only.cache_clear()
    with pytest.warns(UserWarning, match="not writable"):
        cupola.from_numpy(array)
    for m in (cupola, torch):
        with pytest.raises(BufferError):
            m.from_dlpack(m.ones(2, requires_grad=True))
        with pytest.raises(BufferError, match="on meta"):
            m.zeros(2, device="meta").__dlpack__()
        with pytest.raises(TypeError, match=r"of type numpy\.str_\."):
            m.from_numpy(np.array(["a"]))
