"""Convolutions as products over columns agree with PyTorch's: all windows, both memory formats."""

import itertools

import numpy as np
import pytest

from cupola.backends.cpu import columns
from cupola.backends.cpu.fallback import FallbackOps

torch = pytest.importorskip("torch")
OPS = FallbackOps()


def last(x):
    """The same values with the channels innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("limit", [columns.LIMIT, 1], ids=["whole", "by parts"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_windows(dims, dtype, limit, monkeypatch):
    monkeypatch.setattr(columns, "LIMIT", limit)
    draw = np.random.default_rng(0)
    close = {"rtol": 1e-10, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}

    def random(*shape):
        a = draw.standard_normal(shape)
        return (a + 1j * draw.standard_normal(shape) if dtype == "complex64" else a).astype(dtype)

    for kernel, stride, padding, dilation in itertools.product((1, 2, 3), (1, 2), (0, 2), (1, 2)):
        x, w = random(2, 3, *(9, 8, 7)[:dims]), random(5, 3, *(kernel,) * dims)
        tx, tw = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, w))
        f = getattr(torch.nn.functional, f"conv{dims}d")
        y = f(tx, tw, None, stride, padding, dilation)
        g = random(*y.shape)
        y.backward(torch.from_numpy(g))
        window = [(stride,) * dims, [(padding, padding)] * dims, (dilation,) * dims, 1]
        for a, b in ((x, g), (last(x), last(g))):
            found = OPS.convolution(a, w, None, *window)
            np.testing.assert_allclose(found, y.detach().numpy(), **close)
            found = OPS.convolution_input_grad(b, w.conj(), x.shape, *window)
            np.testing.assert_allclose(found, tx.grad.numpy(), **close)
            found = OPS.convolution_weight_grad(b, a.conj(), w.shape, *window)
            np.testing.assert_allclose(found, tw.grad.numpy(), **close)
