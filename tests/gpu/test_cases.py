"""Every sample of tests/cases on a GPU, compared with torch on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from cases.running import every_case, run


@pytest.fixture(autouse=True)
def on_gpu():
    """Tensors made without a device live on the GPU."""
    cupola.set_default_device("cuda")
    yield
    cupola.set_default_device("cpu")


@pytest.mark.parametrize("case", every_case(), ids=lambda c: c.name)
def test_case(case):
    """Forward, dtype, shape and gradient of one sample."""
    want, want_grads = run(torch, case)
    got, got_grads = run(cupola, case)
    for w, g in zip(want, got, strict=True):
        assert g.is_cuda
        assert tuple(w.shape) == tuple(g.shape)
        assert str(w.dtype) == str(g.dtype)
        np.testing.assert_allclose(
            g.detach().cpu().numpy(),
            w.detach().numpy(),
            rtol=2 * case.tolerance,
            atol=2 * case.tolerance,
        )
    for w, g in zip(want_grads, got_grads, strict=True):
        assert (w is None) == (g is None)
        if w is not None:
            np.testing.assert_allclose(
                g.cpu().numpy(),
                w.numpy(force=True),
                rtol=20 * case.tolerance,
                atol=20 * case.tolerance,
            )
