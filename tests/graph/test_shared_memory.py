"""Tensors that share memory with NumPy are read afresh each time, and are one leaf all the same."""

import numpy as np

import cupola


def _leaf():
    return cupola.from_numpy(np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3)).requires_grad_()


def test_grad_of_a_leaf_that_was_read_before():
    x = _leaf()
    y = (x * x).sum() + x.sum()
    (g,) = cupola.autograd.grad(y, x)
    np.testing.assert_allclose(g.numpy(), 2 * x.detach().numpy() + 1, rtol=1e-5)


def test_views_keep_their_history():
    x = _leaf()
    (x.unsqueeze(2) * 3 + x.view(2, 3, 1).transpose(0, 1).reshape(2, 3, 1)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((2, 3), 4.0))
