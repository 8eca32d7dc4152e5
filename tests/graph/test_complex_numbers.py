"""Complex numbers: what has no value for them, and gradients."""

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")

_UNORDERED = "lt gt le ge maximum minimum floor ceil sign sort argmax amax erf remainder atan2"


@pytest.mark.parametrize("name", _UNORDERED.split())
def test_complex_numbers_have_no_order(name):
    x = cupola.tensor([1 + 1j, 2])
    two = name in ("lt", "gt", "le", "ge", "maximum", "minimum", "remainder", "atan2")
    with pytest.raises(RuntimeError, match="complex"):
        getattr(cupola, name)(*([x, x] if two else [x]))


_CURVED = "sigmoid exp2 log2 log10 rsqrt prod sgn"


@pytest.mark.parametrize("name", _CURVED.split())
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_for_complex_numbers(name, order):
    def of(m):
        x = m.tensor([0.3 + 0.4j, -0.2 + 1.1j, 0.7 - 0.5j], dtype=m.complex128, requires_grad=True)
        y = getattr(m, name)(x)
        y = y if y.dim() else y * m.ones(1, dtype=m.complex128)
        for _ in range(order):
            along = m.tensor([0.5 - 1j] * len(y), dtype=m.complex128)
            (y,) = m.autograd.grad(y, x, along, create_graph=True)
        return y.detach().resolve_conj().numpy()

    np.testing.assert_allclose(of(cupola), of(torch), rtol=1e-9)
