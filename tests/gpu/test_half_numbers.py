"""Numbers beside half types: the GPU's kernels round as PyTorch's CPU kernels do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from cupola.backends.cuda import available

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]

FORMS = {
    "mul": lambda lib, x: x * 1.1,
    "div": lambda lib, x: x / 1.1,
    "div of a number": lambda lib, x: 1.1 / (x.abs() + 1),
    "add": lambda lib, x: x + 1.1,
    "add with alpha": lambda lib, x: lib.add(x, x.flip(0), alpha=1.1),
    "masked_fill": lambda lib, x: x.masked_fill(x > 0, 1.1) * 3,
    "full": lambda lib, x: lib.full_like(x, 1.1) * x,
    "leaky_relu": lambda lib, x: lib.nn.functional.leaky_relu(x, 0.1),
    "addcmul": lambda lib, x: lib.addcmul(x, x, x.flip(0), value=1.1),
    "scaled product": lambda lib, x: (x.reshape(50, 80) @ x.reshape(80, 50)) * 0.3,
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FORMS)
def test_kernels_round_as_torch_does(name: str, dtype: str) -> None:
    data = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    want = FORMS[name](torch, torch.from_numpy(data).to(getattr(torch, dtype))).float().numpy()
    x = cupola.from_numpy(data).cuda().to(getattr(cupola, dtype))
    got = FORMS[name](cupola, x).cpu().float().numpy()
    assert (got != want).mean() <= 0.01  # products add in another order
    np.testing.assert_allclose(got, want, rtol=2e-2, atol=2e-2)
