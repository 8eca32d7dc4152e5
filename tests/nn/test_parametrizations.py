"""Parametrized modules against torch: names, values, gradients, assignment, removal, copies."""

from __future__ import annotations

import copy
import itertools

import pytest

from func.outcomes import differences


def linear(m, *sizes):
    m.manual_seed(1)
    return m.nn.Linear(*sizes or (4, 3))


def conv(m):
    m.manual_seed(1)
    return m.nn.Conv2d(3, 4, 3)


def state(module):
    """Text, names and values of a module."""
    names = [[n for n, _ in f()] for f in (module.named_parameters, module.named_buffers)]
    return [repr(module), names, {k: v.clone() for k, v in module.state_dict().items()}]


def orthogonal(m, kind, trivialized, sizes):
    made = linear(m, *sizes)
    m.nn.utils.parametrizations.orthogonal(made, "weight", kind, use_trivialization=trivialized)
    made(m.ones(2, sizes[0])).square().sum().backward()
    weight = made.parametrizations.weight
    return made, [repr(made), list(made.state_dict()), made.weight, weight.original.grad]


KINDS = [None, "matrix_exp", "cayley", "householder"]


@pytest.mark.parametrize("kind", KINDS)
def test_orthogonal(kind):
    def removed(m, *args):
        made, found = orthogonal(m, *args)
        m.nn.utils.parametrize.remove_parametrizations(made, "weight")
        return [*found, *state(made)]

    def assigned(m, *args):
        made, _ = orthogonal(m, *args)
        with m.no_grad():
            made.weight = m.eye(4)[: made.weight.shape[0], : made.weight.shape[1]]
        return made.weight

    programs = {
        f"{f.__name__} {args}": lambda m, f=f, args=args: f(m, kind, *args)
        for args in itertools.product((True, False), ((4, 4), (4, 3), (3, 4)))
        for f in (removed, assigned)
    }
    assert differences(programs, 2e-3) == []


def test_orthogonal_refuses():
    kinds = {"map": (4, "foo"), "vector": (1, None)}
    programs = {
        k: lambda m, n=n, kind=kind: m.nn.utils.parametrizations.orthogonal(
            linear(m), "weight" if n > 1 else "bias", kind
        )
        for k, (n, kind) in kinds.items()
    }
    assert differences(programs) == []


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", ["spectral_norm", "weight_norm"])
@pytest.mark.parametrize("make", [linear, conv])
def test_normalized(kind, make, old):
    """Two steps, evaluation, a deep copy, a loaded state, removal."""

    def program(m):
        utils = m.nn.utils
        norm = getattr(utils if old else utils.parametrizations, kind)
        made, x = norm(make(m)), m.ones(2, 4) if make is linear else m.ones(1, 3, 5, 5)
        found = [state(made)]
        for _ in range(2):
            made(x).sum().backward()
        found += [[p.grad for p in made.parameters()], state(made)]
        made.eval()
        other = norm(make(m)).eval()
        other.load_state_dict(made.state_dict())
        found += [made(x), copy.deepcopy(made)(x), other(x)]
        if old:
            getattr(utils, f"remove_{kind}")(made)
        else:
            utils.parametrize.remove_parametrizations(made, "weight")
        return [*found, state(made)]

    assert differences({kind: program}, 1e-3) == []


def parts(m):
    """Parametrizations of one's own."""

    class Symmetric(m.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

        def right_inverse(self, x):
            return x.triu()

    class Doubled(m.nn.Module):
        def forward(self, x):
            return x * 2

    class Sum(m.nn.Module):
        def forward(self, a, b):
            return a + b

        def right_inverse(self, x):
            return x * 0.25, x * 0.75

    class Smaller(m.nn.Module):
        def forward(self, x):
            return x[0]

    class Wider(m.nn.Module):
        def forward(self, x):
            return x.double()

    return {c.__name__: c for c in (Symmetric, Doubled, Sum, Smaller, Wider)}


def parametrized(m, *names, unsafe=False):
    made = linear(m, 3, 3)
    for name in names:
        m.nn.utils.parametrize.register_parametrization(
            made, "weight", parts(m)[name](), unsafe=unsafe
        )
    return made


def life(m, *names, leave=True):
    p = m.nn.utils.parametrize
    made = parametrized(m, *names)
    asked = [
        p.is_parametrized(made),
        p.is_parametrized(made, "bias"),
        isinstance(made, m.nn.Linear),
    ]
    asked += [type(made).__name__, p.type_before_parametrizations(made).__name__]
    made(m.ones(1, 3)).sum().backward()
    grads = [q.grad for q in made.parameters()]
    double = copy.deepcopy(made)
    found = [asked, state(made), made.weight, grads, state(double), double.weight]
    p.remove_parametrizations(made, "weight", leave_parametrized=leave)
    return [*found, type(made).__name__, state(made)]


def assigned(m, *names):
    made = parametrized(m, *names)
    with m.no_grad():
        made.weight = m.eye(3)
    return [made.weight, state(made)]


def cached(m):
    p, made = m.nn.utils.parametrize, parametrized(m, "Doubled")
    with p.cached():
        first = made.weight
        same = made.weight is first
    return [same, made.weight is first]


def transferred(m):
    net = m.nn.Sequential(parametrized(m, "Symmetric"), linear(m, 3, 3))
    m.nn.utils.parametrize.transfer_parametrizations_and_params(*net)
    same = net[0].parametrizations.weight.original is net[1].parametrizations.weight.original
    return [state(net), same]


def of_a_buffer(m):
    made = linear(m, 3, 3)
    made.register_buffer("extra", m.eye(3))
    m.nn.utils.parametrize.register_parametrization(made, "extra", parts(m)["Doubled"]())
    return state(made)


PROGRAMS = {
    "symmetric": lambda m: life(m, "Symmetric"),
    "two": lambda m: life(m, "Symmetric", "Doubled"),
    "sum": lambda m: life(m, "Sum"),
    "original left": lambda m: life(m, "Symmetric", leave=False),
    "originals left": lambda m: life(m, "Sum", leave=False),
    "assigned": lambda m: assigned(m, "Symmetric"),
    "assigned to a sum": lambda m: assigned(m, "Sum"),
    "not assigned": lambda m: assigned(m, "Doubled"),
    "smaller": lambda m: parametrized(m, "Smaller"),
    "smaller, unsafe": lambda m: parametrized(m, "Smaller", unsafe=True).weight,
    "wider": lambda m: parametrized(m, "Wider"),
    "wider, unsafe": lambda m: parametrized(m, "Wider", unsafe=True).weight,
    "cached": cached,
    "transferred": transferred,
    "of a buffer": of_a_buffer,
    "no such name": lambda m: m.nn.utils.parametrize.register_parametrization(
        linear(m), "foo", parts(m)["Doubled"]()
    ),
    "not parametrized": lambda m: m.nn.utils.parametrize.remove_parametrizations(
        linear(m), "weight"
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    assert differences({name: PROGRAMS[name]}, 1e-4) == []
