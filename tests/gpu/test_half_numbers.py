"""Numbers beside half types: the GPU's kernels round as the CPU's do."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola.backends.cuda import available

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]

FORMS = {
    "mul": lambda x: x * 1.1,
    "div": lambda x: x / 1.1,
    "div of a number": lambda x: 1.1 / (x.abs() + 1),
    "add": lambda x: x + 1.1,
    "add with alpha": lambda x: cupola.add(x, x.flip(0), alpha=1.1),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1.1) * 3,
    "full": lambda x: cupola.full_like(x, 1.1) * x,
    "leaky_relu": lambda x: cupola.nn.functional.leaky_relu(x, 0.1),
    "addcmul": lambda x: cupola.addcmul(x, x, x.flip(0), value=1.1),
    "scaled product": lambda x: (x.reshape(50, 80) @ x.reshape(80, 50)) * 0.3,
}


@pytest.mark.parametrize("dtype", [cupola.float16, cupola.bfloat16])
@pytest.mark.parametrize("name", FORMS)
def test_both_devices_round_alike(name: str, dtype: cupola.dtype) -> None:
    data = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    here = cupola.from_numpy(data).to(dtype)
    there = cupola.from_numpy(data).cuda().to(dtype)
    a, b = FORMS[name](here).float().numpy(), FORMS[name](there).cpu().float().numpy()
    assert (a != b).mean() <= 0.01  # products add in another order
    np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2)
