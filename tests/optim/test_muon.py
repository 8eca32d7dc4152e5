"""Muon's iteration in bfloat16, rounded where PyTorch rounds."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola.optim.matrix import orthogonalized

torch = pytest.importorskip("torch")
COEFFICIENTS = (3.4445, -4.775, 2.0315)


@pytest.mark.parametrize("shape", [(4, 1), (1, 6), (3, 5), (5, 4)])
def test_orthogonalized(shape):
    """All bits are torch's: sums this short have no other order in which to round."""
    from torch.optim._muon import _zeropower_via_newtonschulz

    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        with torch.backends.mkldnn.flags(enabled=False):  # the same products on every processor
            want = _zeropower_via_newtonschulz(x, COEFFICIENTS, 5, 1e-7).float().numpy()
        got = orthogonalized(cupola.from_numpy(x.numpy()), COEFFICIENTS, 5, 1e-7)
        assert got.dtype is cupola.bfloat16
        np.testing.assert_array_equal(got.float().numpy(), want)
