"""Transforms onto constraints' sets, and their kin of matrices and parts, beside torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from func.test_vmap import agree

X = np.random.default_rng(3).standard_normal((2, 6)).astype(np.float32)
SQUARE = np.random.default_rng(4).standard_normal((2, 3, 3)).astype(np.float32)
SETS = {
    "real": (lambda c: c.real, X),
    "positive": (lambda c: c.positive, X),
    "greater_than": (lambda c: c.greater_than(2.0), X),
    "less_than": (lambda c: c.less_than(-1.0), X),
    "unit_interval": (lambda c: c.unit_interval, X),
    "interval": (lambda c: c.interval(-2.0, 3.0), X),
    "simplex": (lambda c: c.simplex, X),
    "corr_cholesky": (lambda c: c.corr_cholesky, X),
    "lower_cholesky": (lambda c: c.lower_cholesky, SQUARE),
    "positive_definite": (lambda c: c.positive_definite, SQUARE),
    "independent": (lambda c: c.independent(c.positive, 1), X),
    "cat": (lambda c: c.cat([c.positive, c.unit_interval], -1, [2, 4]), X),
    "stack": (lambda c: c.stack([c.positive, c.real], 0), X),
}
BIJECTIVE = [n for n in SETS if n not in ("lower_cholesky", "positive_definite")]


def program(registry, make, volume):
    def run(m, x):
        x = x.requires_grad_()
        constraint = make(m.distributions.constraints)
        transform = getattr(m.distributions, registry)(constraint)
        y = transform(x)
        assert bool(constraint.check(y).all())
        back = transform.inv(y.detach())
        found = [y, back, *m.autograd.grad((y * m.arange(y.numel()).reshape(y.shape)).sum(), x)]
        if volume:
            found.append(transform.log_abs_det_jacobian(x, y))
        return found

    return run


@pytest.mark.parametrize("name", SETS)
def test_transform_to(name):
    """Unconstrained numbers become elements of the set, those and the gradients as torch's."""
    make, x = SETS[name]
    agree(program("transform_to", make, False), x, tolerance=2e-4)


@pytest.mark.parametrize("name", BIJECTIVE)
def test_biject_to(name):
    """The bijections give the change of volume too."""
    make, x = SETS[name]
    agree(program("biject_to", make, True), x, tolerance=2e-4)


def test_cumulative_distribution():
    """A transform through a distribution, as part of a copula."""

    def run(m, x):
        d = m.distributions
        t = d.CumulativeDistributionTransform(d.Normal(0.5, 2.0))
        return t(x), t.inv(t(x)), t.log_abs_det_jacobian(x, t(x))

    agree(run, X, tolerance=2e-4)


def test_register():
    """A class of one's own is registered by class or instance; one that is not is an error."""
    for m in (torch, cupola):
        c = m.distributions.constraints

        class Ordered(c.Constraint):
            event_dim = 1

        registry = m.distributions.constraint_registry.ConstraintRegistry()
        registry.register(Ordered(), lambda constraint: "made")
        assert registry(Ordered()) == "made"
        with pytest.raises(NotImplementedError, match="Cannot transform"):
            registry(c.real)
        with pytest.raises(TypeError):
            registry.register(3, lambda constraint: None)
        assert repr(c.corr_cholesky) == "CorrCholesky()"


def test_symmetric_and_semidefinite():
    """Sets of matrices that distributions do not use themselves."""
    a = SQUARE @ SQUARE.transpose(0, 2, 1)
    a[1] -= 5 * np.eye(3, dtype=np.float32)

    def run(m, x, y):
        c = m.distributions.constraints
        return [s.check(v) for s in (c.symmetric, c.positive_semidefinite) for v in (x, y)]

    agree(run, a, SQUARE)
