"""Functions of functions, autograd.functional, gradients of many rows, gradcheck."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from func.test_vmap import agree, values

X, Y = values(4), values(4, seed=1)


def many(x):
    return x.sin() * x.flip(0).exp()


def scalar(x):
    return (x.sin() * x.exp()).sum()


def pair(x, y):
    return (x * y.sum()).tanh(), (x - y).square().sum()


PROGRAMS = {
    "grad": lambda m, x, y: m.func.grad(scalar)(x),
    "grad_argnums": lambda m, x, y: m.func.grad(lambda a, b: (a * b.sin()).sum(), (0, 1))(x, y),
    "grad_aux": lambda m, x, y: m.func.grad(lambda a: (scalar(a), a * 2), has_aux=True)(x),
    "grad_and_value": lambda m, x, y: m.func.grad_and_value(scalar)(x),
    "grad_nest": lambda m, x, y: m.func.grad(lambda d: (d["a"] * d["b"]).sum())({"a": x, "b": y}),
    "third": lambda m, x, y: m.func.grad(
        lambda a: m.func.grad(lambda b: m.func.grad(scalar)(b).sum())(a).sum()
    )(x),
    "vjp": lambda m, x, y: m.func.vjp(many, x)[1](y),
    "vjp_two": lambda m, x, y: m.func.vjp(pair, x, y)[1]((y, m.tensor(2.0))),
    "jvp": lambda m, x, y: m.func.jvp(many, (x,), (y,)),
    "jvp_two": lambda m, x, y: m.func.jvp(pair, (x, y), (y, x)),
    "jvp_aux": lambda m, x, y: m.func.jvp(lambda a: (many(a), a), (x,), (y,), has_aux=True),
    "jvp_of_grad": lambda m, x, y: m.func.jvp(m.func.grad(scalar), (x,), (y,)),
    "grad_of_jvp": lambda m, x, y: m.func.grad(lambda a: m.func.jvp(many, (a,), (y,))[1].sum())(x),
    "jvp_written_twice": lambda m, x, y: m.func.jvp(
        lambda a, b: a.index_put((m.tensor([2, 0, 2]),), b[:3] * a[1:]), (x, y), (y, x)
    ),
    "jacfwd_written_twice": lambda m, x, y: m.func.jacfwd(
        lambda a: (y * a).scatter(0, m.tensor([1, 3, 1]), a.exp())
    )(x),
    "hessian_written_twice": lambda m, x, y: m.func.hessian(
        lambda a: (y * a).index_copy(0, m.tensor([1, 3, 1, 3]), a.exp()).square().sum()
    )(x),
    "linearize": lambda m, x, y: [
        (value, push(y), push(x)) for value, push in [m.func.linearize(many, x)]
    ][0],
    "jacrev": lambda m, x, y: m.func.jacrev(many)(x),
    "jacrev_two": lambda m, x, y: m.func.jacrev(pair, (0, 1))(x, y),
    "jacrev_chunks": lambda m, x, y: m.func.jacrev(many, chunk_size=3)(x),
    "jacrev_aux": lambda m, x, y: m.func.jacrev(lambda a: (many(a), a), has_aux=True)(x),
    "jacrev_unused": lambda m, x, y: m.func.jacrev(lambda a, b: a * 2, 1)(x, y),
    "jacfwd": lambda m, x, y: m.func.jacfwd(many)(x),
    "jacfwd_two": lambda m, x, y: m.func.jacfwd(pair, (0, 1))(x, y),
    "hessian": lambda m, x, y: m.func.hessian(scalar)(x),
    "hessian_two": lambda m, x, y: m.func.hessian(lambda a, b: (a * b.sin()).sum(), (0, 1))(x, y),
    "jacobian": lambda m, x, y: m.autograd.functional.jacobian(pair, (x, y)),
    "jacobian_fwd": lambda m, x, y: m.autograd.functional.jacobian(
        many, x, strategy="forward-mode", vectorize=True
    ),
    "f.hessian": lambda m, x, y: m.autograd.functional.hessian(scalar, x),
    "f.hessian_two": lambda m, x, y: m.autograd.functional.hessian(
        lambda a, b: (a * b.sin()).sum(), (x, y)
    ),
    "f.vjp": lambda m, x, y: m.autograd.functional.vjp(many, x, y),
    "f.vjp_two": lambda m, x, y: m.autograd.functional.vjp(pair, (x, y), (y, m.tensor(1.5))),
    "f.jvp": lambda m, x, y: m.autograd.functional.jvp(pair, (x, y), (y, x)),
    "f.vhp": lambda m, x, y: m.autograd.functional.vhp(scalar, x, y),
    "f.hvp": lambda m, x, y: m.autograd.functional.hvp(
        lambda a, b: (a * b.sin()).sum(), (x, y), (y, x)
    ),
    "f.create_graph": lambda m, x, y: m.autograd.functional.jacobian(
        many, x.requires_grad_(), create_graph=True
    ).sum(),
    "batched": lambda m, x, y: _rows(m, x),
}


def _rows(m, x):
    x.requires_grad_()
    out = many(x)
    return m.autograd.grad([out], [x], [m.eye(4)], is_grads_batched=True)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    """The same values on both sides."""
    agree(lambda m, x, y: PROGRAMS[name](m, x, y), X, Y)


ERRORS = {
    "not scalar": lambda m, x: m.func.grad(many)(x),
    "jvp tuple": lambda m, x: m.func.jvp(many, x, x),
    "jvp structure": lambda m, x: m.func.jvp(many, (x,), (x, x)),
    "vjp v": lambda m, x: m.autograd.functional.vjp(many, x),
    "vjp shape": lambda m, x: m.autograd.functional.vjp(many, x, x[:2]),
    "hessian": lambda m, x: m.autograd.functional.hessian(many, x),
    "strict": lambda m, x: m.autograd.functional.jacobian(lambda a: m.ones(2), x, strict=True),
    "batched sizes": lambda m, x: m.autograd.grad(
        [many(x.requires_grad_())], [x], [m.ones(2, 3)], is_grads_batched=True
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    """The same type of error."""
    found = []
    for m in (torch, cupola):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            ERRORS[name](m, m.tensor(X))
        found.append(caught.type)
    assert found[0] is found[1]


def _double(m, shape, dtype="float64"):
    drawn = np.random.default_rng(0).standard_normal(shape)
    if dtype == "complex128":
        drawn = drawn + 1j * np.random.default_rng(1).standard_normal(shape)
    return m.tensor(drawn, requires_grad=True)


CHECKS = {
    "real": lambda m: (lambda x: x.sin() * x, (_double(m, (3,)),)),
    "two": lambda m: (lambda x, y: x @ y, (_double(m, (2, 3)), _double(m, (3, 2)))),
    "complex": lambda m: (lambda x: x * x.conj() * x, (_double(m, (3,), "complex128"),)),
    "abs": lambda m: (lambda x: x.abs(), (_double(m, (3,), "complex128"),)),
    "to_complex": lambda m: (lambda x: m.complex(x, x * x), (_double(m, (3,)),)),
}


@pytest.mark.parametrize("name", CHECKS)
def test_gradcheck_accepts(name):
    """Right gradients pass in every mode, on both sides."""
    for m in (torch, cupola):
        f, inputs = CHECKS[name](m)
        assert m.autograd.gradcheck(f, inputs, check_batched_grad=name in ("real", "two"))
        assert m.autograd.gradgradcheck(f, inputs)
    f, inputs = CHECKS[name](cupola)
    if name in ("real", "two"):
        assert cupola.autograd.gradcheck(f, inputs, check_forward_ad=True)


def test_gradcheck_refuses():
    """A wrong gradient does not pass."""

    class Wrong(cupola.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = _double(cupola, (3,))
    with pytest.raises(cupola.autograd.GradcheckError, match="Jacobian mismatch"):
        cupola.autograd.gradcheck(Wrong.apply, (x,))
    assert not cupola.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)
    with pytest.raises(ValueError, match="requires_grad"):
        cupola.autograd.gradcheck(Wrong.apply, (x.detach(),))
