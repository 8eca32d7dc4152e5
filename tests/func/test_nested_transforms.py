"""torch.func over nests, nested maps, tied weights: values and error types as torch's."""

from __future__ import annotations

import pytest
import torch

import cupola
from func.test_vmap import agree, values

X, Y, W = values(3, 4), values(3, 4, seed=1), values(4, 2, seed=2)
CUBE = values(2, 3, 4, seed=3)


def _model(m, x, y):
    return {"a": x, "b": [y, {"c": x[0]}]}


def _loss(p):
    return (p["a"] * p["b"][0].sin()).sum() + p["b"][1]["c"].exp().sum()


def _outputs(p):
    return {"u": (p["a"] * p["b"][0]).sum(0), "v": (p["b"][1]["c"].tanh(), p["a"].sum())}


def _tied(m, x, w):
    class Tied(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = m.nn.Linear(4, 4, bias=False)
            self.second = m.nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.register_buffer("shift", m.ones(4))

        def forward(self, x, scale=1.0):
            return self.second(self.first(x).tanh()) * scale + self.shift

    net = Tied()
    with m.no_grad():
        net.first.weight.copy_(w[:1].t() @ w[1:2])
    return net


def _called(m, x, w, **options):
    net = _tied(m, x, w)
    given = {"first.weight": (w[:1].t() @ w[1:2]) * 2, "shift": m.zeros(4)}
    return m.func.functional_call(net, given, (x,), {"scale": 0.5}, **options), net(x)


def _over_shifts(m, net, x, y):
    return m.func.vmap(lambda s: m.func.functional_call(net, {"shift": s}, (x,)))(y)


PROGRAMS = {
    "grad": lambda m, x, y: m.func.grad(_loss)(_model(m, x, y)),
    "grad and value": lambda m, x, y: m.func.grad_and_value(_loss)(_model(m, x, y)),
    "jacrev": lambda m, x, y: m.func.jacrev(_outputs)(_model(m, x, y)),
    "jacfwd": lambda m, x, y: m.func.jacfwd(_outputs)(_model(m, x, y)),
    "hessian": lambda m, x, y: m.func.hessian(_loss)({"a": x, "b": [y, {"c": x[0]}]}),
    "jacfwd of jacrev": lambda m, x, y: m.func.jacfwd(m.func.jacrev(lambda a: a.sin().sum(0)))(x),
    "jacrev of jacfwd": lambda m, x, y: m.func.jacrev(m.func.jacfwd(lambda a: a.sin().sum(0)))(x),
    "jacrev of a number": lambda m, x, y: m.func.jacrev(lambda a: a.sum())(x),
    "vjp": lambda m, x, y: m.func.vjp(_outputs, _model(m, x, y))[1](
        {"u": y[0], "v": (x[1], m.tensor(0.5))}
    ),
    "jvp": lambda m, x, y: m.func.jvp(_outputs, (_model(m, x, y),), (_model(m, y, x),)),
    "vmap of nests": lambda m, x, y: m.func.vmap(_outputs, in_dims=({"a": 0, "b": [0, {"c": 0}]},))(
        {"a": m.stack([x, y]), "b": [m.stack([y, x]), {"c": m.stack([x[0], y[0]])}]}
    ),
    "vmap none": lambda m, x, y: m.func.vmap(lambda a, b: a * b, in_dims=(0, None))(x, y[0]),
    "vmap negative": lambda m, x, y: m.func.vmap(lambda a, b: a * b, in_dims=(-1, 1), out_dims=-1)(
        x, y
    ),
    "vmap outs": lambda m, x, y: m.func.vmap(lambda a: (a, a.sum(), a * 2), out_dims=(1, 0, 1))(x),
    "vmap one out dim": lambda m, x, y: m.func.vmap(lambda a: (a, a * 2), out_dims=1)(x),
    "vmap in vmap": lambda m, x, y: m.func.vmap(
        lambda a: m.func.vmap(lambda b, c: (b * c).sum(), in_dims=(0, None))(a, a[0]), in_dims=1
    )(m.stack([x, y])),
    "vmap of grad": lambda m, x, y: m.func.vmap(
        m.func.grad(lambda a, b: (a.sin() * b).sum()), in_dims=(0, None)
    )(x, y[0]),
    "grad of vmap": lambda m, x, y: m.func.grad(
        lambda a: m.func.vmap(lambda r: (r * r.sum()).sum())(a).sum()
    )(x),
    "vmap of jacrev": lambda m, x, y: m.func.vmap(m.func.jacrev(lambda a: a.tanh() * a.sum()))(x),
    "vmap of hessian": lambda m, x, y: m.func.vmap(m.func.hessian(lambda a: (a**3).sum()))(x),
    "vmap of vjp": lambda m, x, y: m.func.vmap(
        lambda a, b: m.func.vjp(lambda r: r.exp() * 2, a)[1](b)[0]
    )(x, y),
    "vmap of functional_call": lambda m, x, y: _over_shifts(m, _tied(m, x, y), x, y),
    "functional_call": lambda m, x, y: _called(m, x, y),
    "functional_call ties": lambda m, x, y: _called(m, x, y, tie_weights=True),
    "functional_call of pairs": lambda m, x, y: m.func.functional_call(
        _tied(m, x, y), ({"first.weight": y[:1].t() @ y[1:2]}, {"shift": x[0]}), x
    ),
    "gradient through functional_call": lambda m, x, y: m.func.grad(
        lambda p: m.func.functional_call(_tied(m, x, y), p, (x,)).sum()
    )({"first.weight": y[:1].t() @ y[1:2]}),
    "stack_module_state": lambda m, x, y: m.func.stack_module_state(
        [m.nn.BatchNorm1d(4) for _ in range(2)]
    )[1],
    "functionalize": lambda m, x, y: m.func.functionalize(lambda a: a.clone().add_(1).mul_(a))(x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    """The same values on both sides."""
    agree(PROGRAMS[name], X, Y)


ERRORS = {
    "sizes": lambda m, x: m.func.vmap(lambda a, b: a + b)(x, x[:2]),
    "in_dims out of range": lambda m, x: m.func.vmap(lambda a: a, in_dims=3)(x),
    "in_dims of numbers": lambda m, x: m.func.vmap(lambda a, b: a * b, in_dims=(0, 0))(x, 2.0),
    "in_dims structure": lambda m, x: m.func.vmap(lambda a: a, in_dims=(0, 0))(x),
    "out_dims structure": lambda m, x: m.func.vmap(lambda a: a, out_dims=(0, 0))(x),
    "no inputs": lambda m, x: m.func.vmap(lambda: 1)(),
    "result": lambda m, x: m.func.vmap(lambda a: "text")(x),
    "item": lambda m, x: m.func.vmap(lambda a: a.sum().item())(x),
    "branch": lambda m, x: m.func.vmap(lambda a: a if a.sum() > 0 else -a)(x),
    "random": lambda m, x: m.func.vmap(lambda a: a + m.rand(4))(x),
    "missing": lambda m, x: m.func.functional_call(
        m.nn.Linear(4, 2), {"wrong": x}, (x,), strict=True
    ),
    "two ties": lambda m, x: m.func.functional_call(
        _tied(m, x, x), {"first.weight": x, "second.weight": x * 2}, (x,)
    ),
    "argnums": lambda m, x: m.func.grad(lambda a: a.sum(), argnums=1)(x),
    "integers": lambda m, x: m.func.grad(lambda a: a.sum())(x.long()),
    "no tensor": lambda m, x: m.func.jacrev(lambda a: 1.0)(x),
    "chunk size": lambda m, x: m.func.vmap(lambda a: a, chunk_size=0)(x),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    """The same type of error."""
    found = []
    for m in (torch, cupola):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            ERRORS[name](m, m.tensor(X))
        found.append(caught.type.__name__.lstrip("_"))
    assert found[0] == found[1]
