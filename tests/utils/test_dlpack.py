"""Sharing memory with NumPy and torch; copies, pickles and representations of tensors."""

import copy
import gc
import pickle

import numpy as np
import pytest

import cupola
from cupola.utils import dlpack

torch = pytest.importorskip("torch")
NAMES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name):
    x = cupola.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(cupola, name))
    for view in (x, x.t(), x[:, 1:], x[:0], x[1, 1]):
        theirs = torch.from_dlpack(view)
        assert str(theirs.dtype) == f"torch.{name}" and theirs.tolist() == view.tolist()
        ours = cupola.from_dlpack(theirs)
        assert ours.dtype is x.dtype and ours.tolist() == view.tolist()
        assert ours.shape == view.shape


def test_memory_is_shared():
    theirs = torch.arange(4.0)
    ours = cupola.from_dlpack(theirs)
    assert ours.data_ptr() == theirs.data_ptr()
    theirs[0] = 7
    assert ours[0].item() == 7
    ours += 1
    assert theirs.tolist() == [8, 2, 3, 4]
    address = theirs.data_ptr()
    del theirs
    gc.collect()
    assert ours.data_ptr() == address and ours.tolist() == [8, 2, 3, 4]
    x = cupola.arange(3.0)
    array = np.from_dlpack(x)
    assert array.ctypes.data == x.data_ptr()
    assert cupola.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]


def test_capsules_are_used_once():
    capsule = dlpack.to_dlpack(cupola.arange(3))
    assert dlpack.from_dlpack(capsule).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="only once"):
        dlpack.from_dlpack(capsule)
    assert torch.utils.dlpack.from_dlpack(dlpack.to_dlpack(cupola.ones(2))).tolist() == [1, 1]
    assert dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(torch.ones(2))).tolist() == [1, 1]


def test_nothing_is_leaked():
    from cupola.utils.dlpack import _alive

    before = len(_alive)
    for _ in range(20):
        dlpack.to_dlpack(cupola.ones(3))  # never consumed
        torch.from_dlpack(cupola.ones(3))
        cupola.from_dlpack(cupola.ones(3).__dlpack__())
    gc.collect()
    assert len(_alive) == before


def test_what_cannot_be_exported():
    with pytest.raises(BufferError, match="detach"):
        cupola.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="meta"):
        cupola.ones(2, device="meta").__dlpack__()
    assert not hasattr(cupola.ones(2), "__cuda_array_interface__")
    with pytest.raises(ValueError, match="without copying"):
        cupola.from_dlpack(np.ones(2), device="meta", copy=False)
    theirs = torch.ones(2)
    assert cupola.from_dlpack(theirs, copy=True).data_ptr() != theirs.data_ptr()


def test_pickle_deepcopy_repr():
    for x in (cupola.arange(6.0).reshape(2, 3).t(), cupola.nn.Parameter(cupola.ones(2))):
        for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert type(y) is type(x) and y.requires_grad == x.requires_grad
            assert cupola.equal(x, y) and y.data_ptr() != x.data_ptr()
    net = cupola.nn.Sequential(cupola.nn.Linear(2, 3), cupola.nn.BatchNorm1d(3))
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    again = pickle.loads(pickle.dumps(net))
    for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        assert cupola.equal(a, b)
    assert repr(net) == repr(theirs) == repr(copy.deepcopy(net))
    for data in ([1.5, -2.0], [[1, 2], [3, 4]], [], [True], [1e10, 1e-10], [float("nan")], 3.0):
        assert repr(cupola.tensor(data)) == repr(torch.tensor(data))
    assert np.asarray(cupola.ones(2)).tolist() == [1, 1]


# --- DLPack 1


def capsule_name(capsule):
    import re

    return re.search('"(.*?)"', repr(capsule)).group(1)


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 1), (2, 0)])
def test_the_structure_follows_the_readers_version(version):
    x = cupola.arange(3)
    expected = "dltensor" if version in (None, (0, 8)) else "dltensor_versioned"
    capsule = x.__dlpack__(max_version=version)
    assert capsule_name(capsule) == expected
    again = cupola.from_dlpack(capsule)
    again[0] = 7
    assert x.tolist() == [7, 1, 2] and capsule_name(capsule) == f"used_{expected}"
    with pytest.raises(RuntimeError, match="consumed only once"):
        cupola.from_dlpack(capsule)


def test_copies_and_devices():
    x = cupola.arange(3.0)
    for copied in (cupola.from_dlpack(x, copy=True), np.from_dlpack(x, copy=True)):
        copied[0] = 9
        assert x[0].item() == 0
    shared = np.from_dlpack(x, copy=False)
    assert np.shares_memory(shared, np.from_dlpack(x, device="cpu"))
    assert x.__dlpack__(dl_device=(1, 0), copy=False) is not None
    with pytest.raises(BufferError):
        x.__dlpack__(dl_device=(2, 0))
    device, number = x.__dlpack_device__()
    assert (int(device), number) == (1, 0) and isinstance(number, int)


def test_readers_of_dlpack_1():
    torch = pytest.importorskip("torch")
    for name in ("bool", "uint8", "int16", "float32", "float64", "complex64", "bfloat16"):
        x = cupola.tensor([[0, 1], [2, 3]]).to(getattr(cupola, name))
        y = torch.from_dlpack(x)
        assert str(y.dtype) == f"torch.{name}" and y.tolist() == x.tolist()
        z = cupola.from_dlpack(y)
        assert z.dtype is x.dtype and z.data_ptr() == y.data_ptr()
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    assert cupola.from_dlpack(frozen).tolist() == [0.0, 1.0, 2.0]


def test_capsules_that_nobody_uses_are_freed():
    from cupola.utils import dlpack

    before = len(dlpack._alive)
    for version in (None, (1, 0)):
        capsule = cupola.arange(4).__dlpack__(max_version=version)
        assert len(dlpack._alive) == before + 1
        del capsule
        assert len(dlpack._alive) == before
