"""Samples of functions of functions (torch.func) and of autograd.functional."""

from cases import Case, F


def _f(x):
    return (x.sin() * x.exp()).sum()


def _many(x):
    return x.sin() * x.flip(0).exp()


def _nested(m, x):
    return m.func.grad(lambda y: m.func.grad(lambda z: (z**3 * y).sum())(y).sum())(x)


CASES = [
    Case("func.grad", lambda m, x: m.func.grad(_f)(x), (F(4),)),
    Case("func.grad.nested", _nested, (F(4),)),
    Case(
        "func.grad.argnums",
        lambda m, x, y: m.func.grad(lambda a, b: (a * b).sum(), (0, 1))(x, y),
        (F(4), F(4)),
    ),
    Case("func.vjp", lambda m, x, y: m.func.vjp(_many, x)[1](y), (F(4), F(4))),
    Case("func.jvp", lambda m, x, y: m.func.jvp(_many, (x,), (y,)), (F(4), F(4)), grad=False),
    Case("func.jacrev", lambda m, x: m.func.jacrev(_many)(x), (F(4),)),
    Case("func.jacfwd", lambda m, x: m.func.jacfwd(_many)(x), (F(4),), grad=False),
    Case("func.hessian", lambda m, x: m.func.hessian(_f)(x), (F(4),), grad=False),
    Case("vmap", lambda m, x, y: m.vmap(m.dot)(x, y), (F(3, 4), F(3, 4))),
    Case(
        "vmap.dims", lambda m, x, y: m.vmap(lambda a, b: a * b, (1, None), 1)(x, y), (F(3, 4), F(3))
    ),
    Case("vmap.grad", lambda m, x: m.vmap(m.func.grad(_f))(x), (F(3, 4),)),
    Case("jacobian", lambda m, x: m.autograd.functional.jacobian(_many, x), (F(4),), grad=False),
    Case(
        "functional.hessian", lambda m, x: m.autograd.functional.hessian(_f, x), (F(4),), grad=False
    ),
    Case(
        "functional.jvp",
        lambda m, x, y: m.autograd.functional.jvp(_many, x, y),
        (F(4), F(4)),
        grad=False,
    ),
    Case(
        "functional.vjp",
        lambda m, x, y: m.autograd.functional.vjp(_many, x, y),
        (F(4), F(4)),
        grad=False,
    ),
    Case(
        "functional.hvp",
        lambda m, x, y: m.autograd.functional.hvp(_f, x, y),
        (F(4), F(4)),
        grad=False,
    ),
]
