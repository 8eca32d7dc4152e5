"""Transforms onto the set of a constraint (torch.distributions.constraint_registry)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.distributions import constraints as sets
from cupola.distributions import transforms
from cupola.distributions.transforms_joined import (
    CatTransform,
    CorrCholeskyTransform,
    PositiveDefiniteTransform,
    StackTransform,
)
from cupola.tensor import Tensor

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Makes a transform from real numbers onto a constraint's set, by the constraint's class."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[[Any], Any]] = {}

    def register(self, constraint: Any, factory: Any = None) -> Any:
        """Tells how to make the transform of a class; without ``factory``, a decorator.

        Raises:
            TypeError: the first argument is no constraint.
        """
        if factory is None:
            return lambda made: self.register(constraint, made)
        cls = type(constraint) if isinstance(constraint, sets.Constraint) else constraint
        if not (isinstance(cls, type) and issubclass(cls, sets.Constraint)):
            raise TypeError(f"expected a Constraint or a class of them, but got {constraint}")
        self._registry[cls] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(
                f"Cannot transform {type(constraint).__name__} constraints"
            ) from None
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _both(*constraints: Any) -> Callable[[Any], Any]:
    def register(factory: Any) -> Any:
        for constraint in constraints:
            biject_to.register(constraint, factory)
            transform_to.register(constraint, factory)
        return factory

    return register


@_both(sets.real)
def _real(constraint: Any) -> Any:
    return transforms.identity_transform


@_both(sets.greater_than, sets.greater_than_eq)
def _above(constraint: Any) -> Any:
    move = transforms.AffineTransform(constraint.lower_bound, 1)
    return transforms.ComposeTransform([transforms.ExpTransform(), move])


@_both(sets.less_than)
def _below(constraint: Any) -> Any:
    move = transforms.AffineTransform(constraint.upper_bound, -1)
    return transforms.ComposeTransform([transforms.ExpTransform(), move])


def _is(value: Any, number: float) -> bool:
    return not isinstance(value, Tensor) and value == number


@_both(sets.interval, sets.half_open_interval)
def _between(constraint: Any) -> Any:
    low, high = constraint.lower_bound, constraint.upper_bound
    if _is(low, 0) and _is(high, 1):
        return transforms.SigmoidTransform()
    move = transforms.AffineTransform(low, high - low)
    return transforms.ComposeTransform([transforms.SigmoidTransform(), move])


def _registered(registry: ConstraintRegistry) -> None:
    """The sets that are made of others ask the same registry for these."""

    def independent(constraint: Any) -> Any:
        return transforms.IndependentTransform(
            registry(constraint.base_constraint), constraint.reinterpreted_batch_ndims
        )

    def cat(constraint: Any) -> Any:
        parts = [registry(c) for c in constraint.cseq]
        return CatTransform(parts, constraint.dim, constraint.lengths)

    def stack(constraint: Any) -> Any:
        return StackTransform([registry(c) for c in constraint.cseq], constraint.dim)

    registry.register(sets.independent, independent)
    registry.register(sets.cat, cat)
    registry.register(sets.stack, stack)
    registry.register(sets.corr_cholesky, lambda constraint: CorrCholeskyTransform())


_registered(biject_to)
_registered(transform_to)
biject_to.register(sets.simplex, lambda constraint: transforms.StickBreakingTransform())
transform_to.register(sets.simplex, lambda constraint: transforms.SoftmaxTransform())
transform_to.register(sets.lower_cholesky, lambda c: transforms.LowerCholeskyTransform())
for _set in (sets.positive_definite, sets.positive_semidefinite):
    transform_to.register(_set, lambda constraint: PositiveDefiniteTransform())
