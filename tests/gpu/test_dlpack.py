"""Sharing a GPU's memory with CuPy and torch."""

import cupola


def test_cupy_and_the_array_interface():
    import cupy

    x = cupola.arange(6.0, device="cuda").reshape(2, 3)
    array = cupy.asarray(x)
    assert array.data.ptr == x.data_ptr() and array.tolist() == x.tolist()
    assert cupy.from_dlpack(x.t()).tolist() == x.t().tolist()
    own = cupy.arange(4, dtype="f")
    ours = cupola.from_dlpack(own)
    assert ours.data_ptr() == own.data.ptr and str(ours.device) == "cuda:0"
    assert (ours * 2).tolist() == [0, 2, 4, 6]


def test_torch():
    import pytest

    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch without CUDA")
    x = cupola.arange(6.0, device="cuda")
    theirs = torch.from_dlpack(x)
    assert theirs.data_ptr() == x.data_ptr() and theirs.tolist() == x.tolist()
    back = cupola.from_dlpack(torch.arange(3.0, device="cuda"))
    assert back.is_cuda and back.tolist() == [0, 1, 2]
