"""Operators of tensors of several dtypes: what PyTorch promotes first, and what it refuses."""

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")

FIRST, SECOND = [1.7, -2.3, 0.4], [3.14159, 0.3337, -1.2345]

PROMOTED = {
    "add": lambda m, x, y: m.add(x, y, alpha=3.14),
    "sub": lambda m, x, y: m.sub(x, y, alpha=3.14),
    "rsub": lambda m, x, y: m.rsub(y, x, alpha=3.14),
    "add_": lambda m, x, y: x.clone().add_(y, alpha=-0.01),
    "addcmul": lambda m, x, y: m.addcmul(x, y, y, value=3),
    "addcdiv": lambda m, x, y: m.addcdiv(x, y, y, value=3),
    "addcmul_": lambda m, x, y: x.clone().addcmul_(y, y, value=3),
}


@pytest.mark.parametrize("dtypes", [("float32", "bfloat16"), ("float64", "float32")], ids="-".join)
@pytest.mark.parametrize("name", PROMOTED)
def test_promoted_first(name, dtypes):
    def of(m):
        x, y = (
            m.tensor(v, dtype=getattr(m, d)) for v, d in zip((FIRST, SECOND), dtypes, strict=True)
        )
        return PROMOTED[name](m, x, y)

    got, want = of(cupola), of(torch)
    assert str(got.dtype) == str(want.dtype)
    np.testing.assert_allclose(got.double().numpy(), want.double().numpy(), rtol=1e-6)


def _set(m, x, key, value):
    x[key] = value


REFUSED = {
    "x[list]": lambda m, x, y: _set(m, x, [2, 0, 1], y),
    "x[mask]": lambda m, x, y: _set(m, x, m.tensor([True, True, True]), y),
    "index_put": lambda m, x, y: x.index_put((m.tensor([0, 1, 2]),), y),
    "index_copy": lambda m, x, y: x.index_copy(0, m.tensor([0, 1, 2]), y),
    "lerp": lambda m, x, y: m.lerp(x, y, 0.5),
    "masked_scatter": lambda m, x, y: x.masked_scatter(m.tensor([True, True, False]), y),
    "cross": lambda m, x, y: m.linalg.cross(x, y),
    "solve": lambda m, x, y: m.linalg.solve(m.eye(3), y),
    "cdist": lambda m, x, y: m.cdist(x[None], y[None]),
    "prelu": lambda m, x, y: m.nn.functional.prelu(x, y[:1]),
    "tensordot": lambda m, x, y: m.tensordot(x, y, 1),
    "binary_cross_entropy": lambda m, x, y: m.nn.functional.binary_cross_entropy(
        x.sigmoid(), y.sigmoid()
    ),
    "backward": lambda m, x, y: (m.ones(3, requires_grad=True) * 1j).backward(y),
    "backward of a complex number": lambda m, x, y: (
        (m.ones(3, requires_grad=True) * 1j).sum().backward()
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    for m in (torch, cupola):
        x, y = m.tensor(FIRST), m.tensor(SECOND, dtype=m.float64)
        with pytest.raises(RuntimeError):
            REFUSED[name](m, x, y)


def test_one_number_at_a_mask_is_converted():
    for m in (torch, cupola):
        x = m.zeros(3)
        x[m.tensor([True, False, True])] = m.tensor(2.0, dtype=m.float64)
        assert x.tolist() == [2, 0, 2]


def test_logits_loss_has_the_dtype_of_its_target():
    for m in (torch, cupola):
        x, y = m.tensor(FIRST, dtype=m.float64), m.tensor([0.0, 1.0, 1.0])
        assert m.nn.functional.binary_cross_entropy_with_logits(x, y).dtype is m.float32


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize("name", ["dot", "vdot", "addbmm"])
def test_products_of_integers_keep_their_dtype(name, dtype):
    def of(m):
        x = m.arange(1, 5, dtype=getattr(m, dtype))
        square = x.view(1, 2, 2)
        return m.addbmm(square[0], square, square) if name == "addbmm" else getattr(m, name)(x, x)

    got, want = of(cupola), of(torch)
    assert str(got.dtype) == str(want.dtype)
    assert got.tolist() == want.tolist()
