"""Every sample of tests/cases, on every backend of this machine: values, dtypes, shapes and
gradients equal torch's.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from cases.running import every_case, run
from cupola import engine
from cupola.backends.cpu import CPUBackend
from cupola.backends.reference import ReferenceBackend


@pytest.fixture(params=["cpu", "reference"])
def backend(request):
    """Runs the test with the compiled CPU backend, then with the NumPy oracle."""
    old = engine.backend("cpu")
    engine.use_backend("cpu", CPUBackend() if request.param == "cpu" else ReferenceBackend())
    yield request.param
    engine.use_backend("cpu", old)


@pytest.mark.parametrize("case", every_case(), ids=lambda c: c.name)
def test_case(case, backend):
    """Forward, dtype, shape and gradient of one sample."""
    want, want_grads = run(torch, case)
    got, got_grads = run(cupola, case)
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        assert tuple(w.shape) == tuple(g.shape)
        assert str(w.dtype) == str(g.dtype)
        np.testing.assert_allclose(
            g.detach().numpy(),
            w.detach().numpy(),
            rtol=case.tolerance,
            atol=case.tolerance,
            equal_nan=True,
        )
    for w, g in zip(want_grads, got_grads, strict=True):
        assert (w is None) == (g is None)
        if w is not None:
            np.testing.assert_allclose(
                g.numpy(), w.numpy(force=True), rtol=10 * case.tolerance, atol=10 * case.tolerance
            )
