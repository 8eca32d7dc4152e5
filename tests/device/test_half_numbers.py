"""A Python number beside a half type: rounded first, or in float32, as torch's kernel has it."""

from __future__ import annotations

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")

FORMS = {
    "add": lambda m, x: x + 1.1,
    "add with alpha": lambda m, x: m.add(x, x, alpha=1.1),
    "add of a number with alpha": lambda m, x: m.add(x, 0.3, alpha=1.1),
    "sub": lambda m, x: x - 1.1,
    "rsub": lambda m, x: 1.1 - x,
    "mul": lambda m, x: x * 1.1,
    "div": lambda m, x: x / 1.1,
    "div of a number": lambda m, x: 1.1 / x,
    "floor division": lambda m, x: x // 1.1,
    "truncated division": lambda m, x: m.div(x, 1.1, rounding_mode="trunc"),
    "remainder": lambda m, x: x % 1.1,
    "power": lambda m, x: x.abs() ** 1.1,
    "power of a number": lambda m, x: 1.1**x,
    "comparison": lambda m, x: m.full_like(x, 1.1) == 1.1,
    "clamp": lambda m, x: x.clamp(-0.3, 1.1),
    "where": lambda m, x: m.where(x > 0, x, 1.1) * 3,
    "masked_fill": lambda m, x: x.masked_fill(x > 0, 1.1) * 3,
    "full": lambda m, x: m.full_like(x, 1.1) * x,
    "full and a cast": lambda m, x: m.full((), 1.1).to(x.dtype) * x,
    "leaky_relu": lambda m, x: m.nn.functional.leaky_relu(x, 0.1),
    "elu": lambda m, x: m.nn.functional.elu(x, 1.1),
    "celu": lambda m, x: m.nn.functional.celu(x, 1.1),
    "softplus": lambda m, x: m.nn.functional.softplus(x, 1.1),
    "softshrink": lambda m, x: m.nn.functional.softshrink(x, 0.3),
    "gelu": lambda m, x: m.nn.functional.gelu(x),
    "lerp": lambda m, x: m.lerp(x, x.flip(0), 0.3),
    "addcmul": lambda m, x: m.addcmul(x, x, x, value=1.1),
    "addcdiv": lambda m, x: m.addcdiv(x, x.flip(0), x.abs() + 1, value=1.1),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FORMS)
def test_a_number_beside_a_half_type(name, dtype):
    data = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    ours = FORMS[name](cupola, cupola.from_numpy(data).to(getattr(cupola, dtype)))
    theirs = FORMS[name](torch, torch.from_numpy(data).to(getattr(torch, dtype)))
    assert repr(ours.dtype) == repr(theirs.dtype)
    differing = ours.float().numpy() != theirs.float().numpy()
    # Transcendental functions may round otherwise where a value lies near the middle of two.
    assert differing.mean() <= 0.002
