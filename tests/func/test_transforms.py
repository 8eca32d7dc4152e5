"""Every transform of torch.distributions against torch: values, inverses, Jacobians, shapes,
equality, caches, and what distributions become under them; the sets' checks and bijections.
"""

from __future__ import annotations

import pickle

import pytest

import cupola
from func.outcomes import differences

X = [[0.3, -1.2, 0.7], [2.0, 0.1, -0.4]]
POSITIVE = [[0.3, 1.2, 0.7], [2.0, 0.1, 0.4]]
SQUARE = [[0.3, 1.2, 0.7], [2.0, 0.1, 0.4], [0.2, 0.5, -0.3]]

# Name: (how it is made of the module and its transforms, an argument).
MADE = {
    "abs": (lambda m, t: t.AbsTransform(), X),
    "affine": (lambda m, t: t.AffineTransform(1.0, -2.0), X),
    "affine, tensors": (
        lambda m, t: t.AffineTransform(m.tensor(POSITIVE[0]), m.tensor([2.0, -1.0, 0.5])), X),
    "affine, event": (lambda m, t: t.AffineTransform(1.0, -2.0, event_dim=1), X),
    "exp": (lambda m, t: t.ExpTransform(), X),
    "power": (lambda m, t: t.PowerTransform(2.0), POSITIVE),
    "power, tensor": (lambda m, t: t.PowerTransform(m.tensor([-1.0, 2.0, 0.5])), POSITIVE),
    "sigmoid": (lambda m, t: t.SigmoidTransform(), X),
    "softplus": (lambda m, t: t.SoftplusTransform(), X),
    "tanh": (lambda m, t: t.TanhTransform(), X),
    "softmax": (lambda m, t: t.SoftmaxTransform(), X),
    "stick": (lambda m, t: t.StickBreakingTransform(), X),
    "reshape": (lambda m, t: t.ReshapeTransform((3,), (3, 1)), X),
    "reshape all": (lambda m, t: t.ReshapeTransform((2, 3), (6,)), X),
    "independent": (lambda m, t: t.IndependentTransform(t.ExpTransform(), 1), X),
    "compose": (
        lambda m, t: t.ComposeTransform([t.AffineTransform(1.0, 2.0), t.ExpTransform()]), X),
    "compose more": (
        lambda m, t: t.ComposeTransform([t.TanhTransform(), t.StickBreakingTransform()]), X),
    "compose none": (lambda m, t: t.ComposeTransform([]), X),
    "inverse": (lambda m, t: t.ExpTransform().inv, POSITIVE),
    "identity": (lambda m, t: t.identity_transform, X),
    "lower": (lambda m, t: t.LowerCholeskyTransform(), SQUARE),
    "positive definite": (lambda m, t: t.PositiveDefiniteTransform(), SQUARE),
    "correlation": (lambda m, t: t.CorrCholeskyTransform(), X),
    "cat": (lambda m, t: t.CatTransform(
        [t.ExpTransform(), t.AffineTransform(1.0, 2.0)], dim=-1, lengths=[1, 2]), X),
    "stack": (lambda m, t: t.StackTransform([t.ExpTransform(), t.TanhTransform()], dim=-2), X),
    "cdf": (lambda m, t: t.CumulativeDistributionTransform(m.distributions.Normal(0.0, 1.0)), X),
}  # fmt: skip
SHAPES = [(), (3,), (6,), (2, 3), (3, 1), (3, 3), (4, 2, 3)]


def jacobian(m, t, x):
    x = x.requires_grad_()
    y = t(x)
    found = t.log_abs_det_jacobian(x, y)
    return [found, t.inv.log_abs_det_jacobian(y, x), m.autograd.grad(found.sum() + y.sum(), x)]


def cached(m, t, x):
    held = t.with_cache()
    y = held(x)
    same = [held is t, held(x) is y, held.inv(y) is x, held.with_cache(1) is held]
    return [*same, held._cache_size, held.inv._cache_size, t.with_cache(0) is t, held == t]


def distribution(m, t, x):
    made = m.distributions.TransformedDistribution(m.distributions.Normal(x * 0, x * 0 + 1), t)
    draw = made.sample((2,))
    out = [made.batch_shape, made.event_shape, repr(made.support), draw, made.log_prob(draw)]
    wide = made.expand((5, *made.batch_shape))
    return [*out, wide.batch_shape, wide.event_shape, wide.sample()]


def distribution_functions(m, t, x):
    made = m.distributions.TransformedDistribution(m.distributions.Normal(x * 0, x * 0 + 1), t)
    return [made.cdf(t(x)), made.icdf(m.full_like(x, 0.3))]


ASKED = {
    "repr": lambda m, t, x: [repr(t), repr(t.inv), t.bijective, t.inv.bijective],
    "sets": lambda m, t, x: [repr(t.domain), repr(t.codomain), repr(t.inv.domain)],
    "event_dim": lambda m, t, x: t.event_dim,
    "sign": lambda m, t, x: t.sign,
    "there and back": lambda m, t, x: [t(x), t.inv(t(x))],
    "jacobian": jacobian,
    "cached": cached,
    "inverses": lambda m, t, x: [t.inv.inv is t, t.inv == t.inv, t == t, t != t],
    "equal": lambda m, t, x: [
        t == m.distributions.ExpTransform(),
        t != m.distributions.ExpTransform(),
    ],
    "distribution": distribution,
    "distribution functions": distribution_functions,
    **{f"forward {s}": lambda m, t, x, s=s: tuple(t.forward_shape(m.Size(s))) for s in SHAPES},
    **{f"inverse {s}": lambda m, t, x, s=s: tuple(t.inverse_shape(m.Size(s))) for s in SHAPES},
}


@pytest.mark.parametrize("name", MADE)
def test_transform(name):
    make, x = MADE[name]
    programs = {
        what: lambda m, ask=ask: ask(m, make(m, m.distributions.transforms), m.tensor(x))
        for what, ask in ASKED.items()
    }
    assert differences(programs, 1e-3) == []


def test_inverses_are_not_pickled():
    t = cupola.distributions.AffineTransform(1.0, 2.0)
    held = t.inv
    assert pickle.loads(pickle.dumps(t)).inv(cupola.tensor(3.0)) == held(cupola.tensor(3.0))


REFUSED = {
    "cache": lambda d: d.ExpTransform(cache_size=3),
    "reshape": lambda d: d.ReshapeTransform((2,), (3,)),
    "a number": lambda d: d.TransformedDistribution(d.Normal(0.0, 1.0), 3),
    "numbers": lambda d: d.TransformedDistribution(d.Normal(0.0, 1.0), [3]),
    "a point": lambda d: d.TransformedDistribution(d.Normal(0.0, 1.0), d.StickBreakingTransform()),
}


def test_errors():
    programs = {k: lambda m, f=f: repr(f(m.distributions)) for k, f in REFUSED.items()}
    assert differences(programs) == []


SETS = ("boolean one_hot simplex lower_triangular lower_cholesky corr_cholesky square symmetric "
        "positive_semidefinite positive_definite real real_vector positive nonnegative "
        "unit_interval nonnegative_integer positive_integer").split()  # fmt: skip
BUILT = {
    "integer_interval": lambda c: c.integer_interval(0, 3),
    "greater_than": lambda c: c.greater_than(1.0),
    "less_than": lambda c: c.less_than(1.0),
    "interval": lambda c: c.interval(-1.0, 2.0),
    "half_open": lambda c: c.half_open_interval(-1.0, 2.0),
    "independent": lambda c: c.independent(c.positive, 1),
    "cat": lambda c: c.cat([c.positive, c.real], dim=-1),
    "stack": lambda c: c.stack([c.positive, c.unit_interval], dim=-1),
    "multinomial": lambda c: c.multinomial(3),
    "mixture": lambda c: c.MixtureSameFamilyConstraint(c.positive),
}
VALUES = [
    [[1.0, 0.0], [0.0, 1.0]],
    [[0.5, 0.5], [0.2, 0.8]],
    [[1.0, 0.2], [0.2, 1.0]],
    [[1.0, 2.0], [2.0, 1.0]],
    [[float("nan"), 1.0], [3.0, -1.0]],
    [[2.0, 0.0], [1.0, 3.0]],
]


@pytest.mark.parametrize("name", [*SETS, *BUILT])
def test_set(name):
    """What lies in it, and the maps of real numbers to it."""

    def made(m):
        c = m.distributions.constraints
        return BUILT[name](c) if name in BUILT else getattr(c, name)

    def there(m, kind, *shape):
        x = m.linspace(-1, 1, m.Size(shape).numel()).reshape(shape)
        t = getattr(m.distributions, kind)(made(m))
        return [repr(t), t(x), t.inv(t(x))]

    programs = {str(v): lambda m, v=v: made(m).check(m.tensor(v)) for v in VALUES}
    programs["transform_to"] = lambda m: there(m, "transform_to", 2, 2)
    programs["biject_to"] = lambda m: there(m, "biject_to", 2 if name in ("cat", "stack") else 3)
    assert differences(programs, 1e-3) == []


def test_every_divergence():
    """Each pair for which torch has a rule has one here."""
    from torch.distributions.kl import _KL_REGISTRY

    from cupola.distributions.kl import _RULES

    theirs, ours = ({(p.__name__, q.__name__) for p, q in r} for r in (_KL_REGISTRY, _RULES))
    assert theirs == ours
