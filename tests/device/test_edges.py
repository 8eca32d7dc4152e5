"""Edges of operators where a result, a gradient or an error is easily another than torch's: empty
operands, order-0 norms, repeated positions, ``out=`` that lies otherwise in memory.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import cupola  # noqa: E402


def leaves(m, *shapes):
    """Leaves of the given shapes with the same values on both sides."""
    made = []
    for k, shape in enumerate(shapes):
        count = 1
        for n in shape:
            count *= n
        values = [((7 * i + 3 * k) % 11) / 4 - 1 for i in range(count)]
        made.append(m.tensor(values).reshape(shape).requires_grad_())
    return made


# name: (shapes of the leaves, what is computed of them)
GRADIENTS = {
    "cat of empty vectors": ([(0,), (0,)], lambda m, a, b: m.cat([a, b])),
    "cat with an empty vector": ([(0,), (3,)], lambda m, a, b: m.cat([a, b])),
    "put nothing": ([(3,), (0,)], lambda m, a, b: a.put(m.tensor([], dtype=m.int64), b)),
    "fill rows twice": (
        [(3, 4), ()],
        lambda m, a, b: m.index_fill(a, 1, m.tensor([2, 0, 2]), b) * a.detach(),
    ),
    "order 0": ([(3, 4)], lambda m, a: m.linalg.vector_norm(a, 0, 1)),
    "distances of order 0": ([(3, 2), (4, 2)], lambda m, a, b: m.cdist(a, b, 0)),
    "no reflections": ([(3, 3), (0,)], lambda m, a, t: m.linalg.householder_product(a, t)),
    "nearest": (
        [(1, 1, 4, 4), (1, 2, 2, 2)],
        lambda m, x, g: m.nn.functional.grid_sample(x, g, "nearest", align_corners=False),
    ),
    "Cholesky factor": (
        [(3, 3), (3, 2)],
        lambda m, a, b: m.cholesky_solve(b, a.tril() + 3 * m.eye(3) + 0 * a),
    ),
    "norm of nothing": ([(0,)], lambda m, a: m.linalg.norm(a, 3.5)),
    "Bessel function at zero": (
        [(3,)],
        lambda m, a: _slope(m, m.special.i1, a - a.detach()) + _slope(m, m.special.i1e, a * 0),
    ),
    "windows for more images": (
        [(2, 4, 4, 4)],
        lambda m, x: m.nn.functional.fractional_max_pool3d(
            x, 2, output_size=2, _random_samples=m.ones(3, 2, 3) / 4
        ),
    ),
    "view beyond its base": (
        [(3, 4)],
        lambda m, a: a.detach()[1].requires_grad_().as_strided((2,), (4,), 1) * a[:2, 0],
    ),
    "log of a sum with infinities": (
        [(6,), (6,)],
        lambda m, a, b: m.logaddexp(*_infinite(m, a, b)) + m.logaddexp2(*_infinite(m, a, b)),
    ),
    "hook after a write outside of the tape": ([(3,)], lambda m, a: _hooked(m, a)),
}


def _infinite(m, a, b):
    """Sums with one infinite summand, or two infinite ones of different signs."""
    inf = float("inf")
    return a + m.tensor([0, inf, -inf, 0, 0, inf]), b + m.tensor([0, 0, 0, inf, -inf, -inf])


def _drawn(m):
    mean = m.tensor(0.25, dtype=m.bfloat16)
    return m.normal(mean, mean)


def _slope(m, f, x):
    return m.autograd.grad(f(x).sum(), x, create_graph=True)[0]


def _hooked(m, a):
    b = a * 1.5
    c = m.stack([b, b])
    b.detach().add_(1)
    b.register_hook(lambda g: g * 2)
    return c.sum(0) + b


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name):
    """Values, and gradients that are there where torch's are."""
    shapes, compute = GRADIENTS[name]

    def program(m):
        given = leaves(m, *shapes)
        out = compute(m, *given)
        weights = leaves(m, tuple(out.shape))[0].detach()
        grads = m.autograd.grad((out * weights).sum(), given, allow_unused=True)
        return out.tolist(), [None if g is None else g.tolist() for g in grads]

    (got, grads), (want, expected) = program(cupola), program(torch)
    assert _near(got, want)
    assert _near(grads, expected), (grads, expected)


def _near(a, b):
    if isinstance(b, list):
        return len(a) == len(b) and all(_near(x, y) for x, y in zip(a, b, strict=True))
    return a == b if b is None else a is not None and a == pytest.approx(b, rel=1e-5, abs=1e-6)


WRITES = {
    "logspace": lambda m: m.logspace(-3, 1, 5, out=m.zeros(5)),
    "linspace of integers": lambda m: m.linspace(0, 9, 4, out=m.zeros(4, dtype=m.int64)),
    "randn where it lies": lambda m: m.randn(5, 5, out=m.zeros(5, 5).t()),
    "rand where it lies": lambda m: m.rand(4, 5, out=m.zeros(5, 4).t()),
    "randint in place": lambda m: m.randint(0, 9, (4, 5), out=m.zeros(5, 4, dtype=m.int64).t()),
    "a factor that stays where it lies": (
        lambda m: m.lu(m.eye(3) + 1, out=(m.zeros(3, 3).t(), m.zeros(3, dtype=m.int32)))[0]
    ),
    "normal numbers without dimensions": lambda m: _drawn(m).float() * 2,
    "addbmm_ of one": lambda m: m.ones(1).addbmm_(m.ones(2, 3, 4), m.ones(2, 4, 5)),
}


@pytest.mark.parametrize("name", WRITES)
def test_write(name):
    """What ends in ``out=``, and in what order of memory."""

    def program(m):
        m.manual_seed(3)
        out = WRITES[name](m)
        return out.tolist(), tuple(out.stride()), str(out.dtype)

    got, want = program(cupola), program(torch)
    assert _near(got[0], want[0]) and got[1:] == want[1:]


ERRORS = {
    "steps": lambda m: m.linspace(0, 3, 1.0),
    "ends": lambda m: m.logspace(m.ones(2), m.ones(2), 3),
    "dtype": lambda m: m.linspace(0, 1, 5, dtype=m.int64, out=m.zeros(5)),
    "tuple": lambda m: m.nonzero(m.ones(3), as_tuple=True, out=m.zeros(3, dtype=m.int64)),
    "dimension": lambda m: m.narrow_copy(m.ones(2, 3), 2, 0, 0),
    "negative dimension": lambda m: m.narrow_copy(m.ones(2, 3), -3, 0, 0),
    "linear into another dtype": lambda m: _linear(m)(
        m.ones(2, 3), m.ones(4, 3), out=m.zeros(2, 4, dtype=m.float64)
    ),
    "logarithm of a sum of numbers": lambda m: m.logaddexp(m.ones(2), 1.0),
    "detached in place": lambda m: _detached(m),
}


def _linear(m):
    return m._C._nn.linear if m is torch else m.nn.functional.linear


def _detached(m):
    b = m.ones(2, requires_grad=True) * 2
    c = (b * b).sum()
    b.detach_()
    c.backward()


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    """The same class of error."""
    with pytest.raises((RuntimeError, TypeError, IndexError)) as want:
        ERRORS[name](torch)
    with pytest.raises((RuntimeError, TypeError, IndexError)) as got:
        ERRORS[name](cupola)
    assert got.type is want.type
