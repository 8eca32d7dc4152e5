"""torch.func at its edges: auxiliary results, wrong arguments, what functions close over, writes
and random numbers inside mapped functions, modules called with other state.
"""

from __future__ import annotations

import pytest

from func.outcomes import differences
from func.test_vmap import values

X, U, V = values(3, 4), values(4, seed=1), values(4, seed=2)


def f(a):
    return (a.sin() * a).sum()


def many(a):
    return a.sin() * a.sum()


def net(m):
    m.manual_seed(0)
    return m.nn.Sequential(m.nn.Linear(4, 3), m.nn.BatchNorm1d(3), m.nn.Linear(3, 2))


def closed_over(m, name, u, v):
    """The result depends on a tensor outside that needs gradients."""
    c = u.requires_grad_()
    if name == "grad":
        found = m.func.grad(lambda a: (a * a * c).sum())(v)
    elif name == "vjp":
        found = m.func.vjp(lambda a: a * c, v)[1](v)[0]
    else:
        found = m.func.jacrev(lambda a: a * c)(v)
    return [found, m.autograd.grad(found.sum(), c)]


DERIVATIVES = {
    "grad, aux": lambda m, u, v: m.func.grad(lambda a: (f(a), {"k": a * 2}), has_aux=True)(u),
    "grad, no aux": lambda m, u, v: m.func.grad(f, has_aux=True)(u),
    "grad, three": lambda m, u, v: m.func.grad(lambda a: (f(a), 1, 2), has_aux=True)(u),
    "grad, twice": lambda m, u, v: m.func.grad(lambda a, b: f(a * b), argnums=(0, 0))(u, v),
    "grad, text": lambda m, u, v: m.func.grad(lambda a, b: f(a * b), argnums="0")(u, v),
    "grad, last": lambda m, u, v: m.func.grad(lambda a, b: f(a * b), argnums=(-1, 0))(u, v),
    "grad of a number": lambda m, u, v: m.func.grad(lambda a: a * 2)(3.0),
    "grad to complex": lambda m, u, v: m.func.grad(lambda a: (a * a).sum())(m.complex(u, v)),
    "grad closes over": lambda m, u, v: closed_over(m, "grad", u, v),
    "vjp closes over": lambda m, u, v: closed_over(m, "vjp", u, v),
    "jacrev closes over": lambda m, u, v: closed_over(m, "jacrev", u, v),
    "vjp, aux": lambda m, u, v: m.func.vjp(lambda a: (a.sin(), [a]), u, has_aux=True)[2],
    "vjp, nest": lambda m, u, v: m.func.vjp(many, u)[1]((u, u)),
    "vjp to a number": lambda m, u, v: m.func.vjp(lambda a: 3.0, u),
    "vjp of a number": lambda m, u, v: m.func.vjp(lambda a: a * 2, 3.0),
    "jvp of nothing": lambda m, u, v: m.func.jvp(lambda: 3, (), ()),
    "jvp to a number": lambda m, u, v: m.func.jvp(lambda a: 3.0, (u,), (v,)),
    "jvp, strict": lambda m, u, v: m.func.jvp(lambda a: m.ones(2), (u,), (v,), strict=True),
    "jvp, not strict": lambda m, u, v: m.func.jvp(lambda a: m.ones(2), (u,), (v,)),
    "linearize, nest": lambda m, u, v: m.func.linearize(many, u)[1](v, v),
    "linearize": lambda m, u, v: m.func.linearize(lambda a, b: {"s": a * b}, u, v)[1](v, u),
    "jacfwd to a number": lambda m, u, v: m.func.jacfwd(lambda a: 3.0)(u),
    "jvp of vjp": lambda m, u, v: m.func.jvp(
        lambda a: m.func.vjp(many, a)[1](v)[0], (u,), (v,)
    ),
    "hessian twice": lambda m, u, v: m.func.hessian(lambda a, b: f(a * b), argnums=(0, 1))(u, v),
    "debug_unwrap": lambda m, u, v: m.func.debug_unwrap(u),
}  # fmt: skip


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    program = DERIVATIVES[name]
    assert differences({name: lambda m: program(m, m.tensor(U), m.tensor(V))}) == []


def test_tangents_of_another_dtype():
    """They count as numbers of the primal's."""
    import cupola

    u, v = cupola.tensor(U), cupola.tensor(V)
    got = cupola.func.jvp(many, (u,), (v.double(),))[1]
    assert cupola.allclose(got.float(), cupola.func.jvp(many, (u,), (v,))[1])


def written(m, x):
    """A mapped argument that the function writes into changes outside, too."""
    return [m.vmap(lambda a: a.add_(1).sum())(x), x, m.vmap(lambda a: a.mul_(2), 1)(x), x]


def written_in_chunks(m, x):
    return [m.vmap(lambda a: a.add_(1).sum(), chunk_size=2)(x), x]


def shared(m, x):
    row = m.zeros(4)
    try:
        m.vmap(lambda a, b: b.add_(a), (0, None))(x, row)
    except RuntimeError:
        return row
    return None


MAPPED = {
    "sort": lambda m, x: m.vmap(lambda a: a.sort())(x),
    "topk": lambda m, x: m.vmap(lambda a: a.topk(2), out_dims=1)(x).indices,
    "max": lambda m, x: m.vmap(lambda a: a.max(0))(x),
    "cummax": lambda m, x: m.vmap(lambda a: a.cummax(0))(x),
    "one_hot": lambda m, x: m.vmap(lambda a: m.nn.functional.one_hot(a.abs().long(), 5))(x),
    "written": written,
    "written in chunks": written_in_chunks,
    "shared": shared,
}


@pytest.mark.parametrize("name", MAPPED)
def test_mapped(name):
    assert differences({name: lambda m: MAPPED[name](m, m.tensor(X))}) == []


DRAWS = {
    "poisson": lambda m, a: m.poisson(a.exp()),
    "multinomial": lambda m, a: m.multinomial(a.softmax(-1), 2),
    "normal": lambda m, a: m.normal(a, a.exp()),
    "bernoulli": lambda m, a: m.bernoulli(a.sigmoid()),
    "rand_like": lambda m, a: m.rand_like(a),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_random_numbers(name, randomness):
    """Of mapped numbers, and of numbers that all examples share."""

    def program(m, dim, x):
        return m.vmap(lambda b, a: DRAWS[name](m, a), (0, dim), randomness=randomness)(m.ones(3), x)

    programs = {"shared": lambda m: program(m, None, m.tensor(U))}
    if (name, randomness) != ("normal", "same"):  # torch does not map it; here one draw is shared
        programs["mapped"] = lambda m: program(m, 0, m.tensor(X))
    assert differences(programs) == []


def call(m, state, **options):
    made = net(m)
    return [m.func.functional_call(made, state, (m.tensor(X),), **options), made.state_dict()]


MODULES = {
    "two dictionaries": lambda m: call(m, [{"0.bias": m.ones(3)}, {"2.bias": m.ones(2)}]),
    "a name twice": lambda m: call(m, [{"0.bias": m.ones(3)}, {"0.bias": m.ones(3)}]),
    "unknown": lambda m: call(m, {"zz": m.ones(3)}),
    "unknown, strict": lambda m: call(m, {"zz": m.ones(3)}, strict=True),
    "missing, strict": lambda m: call(m, {"0.bias": m.ones(3)}, strict=True),
    "a number": lambda m: call(m, {"0.bias": 3}),
    "no dictionary": lambda m: call(m, 3),
    "no dictionaries": lambda m: call(m, (3,)),
    "stacked": lambda m: m.func.stack_module_state([net(m), net(m)]),
    "none": lambda m: m.func.stack_module_state([]),
    "modes": lambda m: m.func.stack_module_state([net(m), net(m).eval()]),
    "kinds": lambda m: m.func.stack_module_state([m.nn.Linear(2, 2), m.nn.Conv1d(1, 1, 1)]),
    "batch norms": lambda m: [repr(m.func.replace_all_batch_norm_modules_(net(m)))],
    "batch norms' state": lambda m: m.func.replace_all_batch_norm_modules_(net(m)).state_dict(),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    assert differences({name: MODULES[name]}) == []
