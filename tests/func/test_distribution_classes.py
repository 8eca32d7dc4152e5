"""What classes derived from torch's distributions, sets and transforms rely on."""

from __future__ import annotations

import importlib
import pickle
import sys

import pytest
import torch

import cupola

SIDES = (torch, cupola)
SETS = [n for n in torch.distributions.constraints.__all__ if n != "MixtureSameFamilyConstraint"]


@pytest.mark.parametrize("name", SETS)
def test_sets(name):
    """The class, the text and the dimensions of each set."""
    theirs, ours = (getattr(m.distributions.constraints, name) for m in SIDES)
    kind, own = (x if isinstance(x, type) else type(x) for x in (theirs, ours))
    assert (own.__name__, own.__qualname__) == (kind.__name__, kind.__qualname__)
    if not isinstance(theirs, type) and name not in ("dependent", "is_dependent"):
        assert repr(ours) == repr(theirs)
        assert (ours.event_dim, ours.is_discrete) == (theirs.event_dim, theirs.is_discrete)
        assert repr(pickle.loads(pickle.dumps(ours))) == repr(theirs)


def test_sets_of_sets_print_alike():
    def program(m):
        c = m.distributions.constraints
        made = [c.independent(c.positive, 2), c.multinomial(3), c.integer_interval(0, 3)]
        made += [c.less_than(2), c.half_open_interval(0, 1), c.greater_than_eq(-1.5)]
        return [repr(s) for s in made]

    assert program(cupola) == program(torch)


def derived_set(m):
    c = m.distributions.constraints

    class _Close(type(c.lower_cholesky)):
        pass

    class _Half(type(c.positive)):
        def __init__(self):
            super().__init__(lower_bound=0.5)

    x = m.tensor([[1.0, 0.0], [0.3, 2.0]])
    return [_Close().check(x).tolist(), repr(_Close()), _Half().check(x).tolist(), repr(_Half())]


def replaced_check(m):
    """Programs replace a set's check on its class."""
    kind = type(m.distributions.constraints.corr_cholesky)
    own = kind.check
    kind.check = lambda self, value: value.sum() > 0
    try:
        return m.distributions.constraints.corr_cholesky.check(m.eye(2)).tolist()
    finally:
        kind.check = own


def derived_log_normal(m):
    """A class that skips LogNormal's own constructor still has its parameters."""
    d = m.distributions

    class Own(d.LogNormal):
        def __init__(self, loc, scale):
            base = d.Normal(loc, scale)
            super(d.LogNormal, self).__init__(base, d.transforms.ExpTransform())

        def expand(self, batch_shape, _instance=None):
            new = self._get_checked_instance(Own, _instance)
            return super(d.LogNormal, self).expand(batch_shape, _instance=new)

    made = Own(m.tensor([0.5]), m.tensor([2.0])).expand((3,))
    log_prob = made.log_prob(m.tensor([0.5, 1.0, 2.0]))
    return [type(made).__name__, made.loc.tolist(), made.scale.tolist(), log_prob.tolist()]


def expanded_parameters(m):
    d = m.distributions
    made = [d.LogNormal(0.5, 2.0), d.HalfNormal(1.5), d.HalfCauchy(1.5)]
    found = [(x.expand((2,)).scale.tolist(), repr(x)) for x in made]
    relaxed = d.RelaxedBernoulli(m.tensor(0.5), probs=m.tensor(0.25)).expand((2,))
    shapes = [
        d.Multinomial(3, m.ones(2, 4)).param_shape,
        d.OneHotCategorical(m.ones(5)).param_shape,
    ]
    return [found, relaxed.probs.tolist(), relaxed.logits.tolist(), list(map(tuple, shapes))]


def unexpandable(m):
    class Own(m.distributions.Normal):
        def __init__(self):
            super().__init__(0.0, 1.0)

    with pytest.raises(NotImplementedError):
        Own()._get_checked_instance(m.distributions.Normal)
    return []


def transform_and_module(m):
    """A transform that is a layer, too: both constructors run."""

    class Scale(m.distributions.Transform, m.nn.Module):
        domain = codomain = m.distributions.constraints.real
        bijective = True

        def __init__(self):
            super().__init__(cache_size=1)
            self.log_scale = m.nn.Parameter(m.tensor([0.5, -1.0]))

        def _call(self, x):
            return x * self.log_scale.exp()

        def _inverse(self, y):
            return y / self.log_scale.exp()

        def __hash__(self):
            return id(self)

    scale = Scale()
    y = scale(m.tensor([1.0, 2.0]))
    return [y.tolist(), [n for n, _ in scale.named_parameters()], scale._cached_x_y[1] is y]


PROGRAMS = [derived_set, replaced_check, derived_log_normal, expanded_parameters, unexpandable,
            transform_and_module]  # fmt: skip


def leaves(value):
    """What nested lists and tuples hold."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_derived(program):
    theirs, ours = (list(leaves(program(m))) for m in (torch, cupola))
    for a, b in zip(theirs, ours, strict=True):
        assert b == (pytest.approx(a, rel=1e-5) if isinstance(a, float) else a)


def test_a_star_takes_the_transforms_along():
    found = {}
    exec("from cupola.distributions import *", found)
    assert {"AffineTransform", "StackTransform", "Normal"} <= found.keys()
    assert set(torch.distributions.transforms.__all__) <= set(
        cupola.distributions.transforms.__all__
    )


PARTS = ("constraint_registry", "constraints", "transforms")
OWN = sorted(n for n in sys.modules if n.startswith("torch.distributions."))
OWN = [n for n in OWN if not n.endswith(PARTS)]


@pytest.mark.parametrize("name", OWN)
def test_each_distribution_has_its_module(name):
    """With the names that programs import from there, PyTorch's helpers among them."""
    ours = importlib.import_module(name.replace("torch", "cupola", 1))
    theirs = sys.modules[name]
    assert ours.__name__ == name.replace("torch", "cupola", 1)
    passed_on = {
        "Distribution",
        "Tensor",
        "constraints",
        "Independent",
        "lazy_property",
        *theirs.__all__,
    }
    for known in passed_on & vars(theirs).keys():
        kind = getattr(ours, known)
        assert type(kind).__name__ != "_Unsupported", known
    with pytest.raises(AttributeError):
        ours.no_such_name  # noqa: B018
