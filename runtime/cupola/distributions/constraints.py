"""Sets that parameters and samples lie in (torch.distributions.constraints)."""

from __future__ import annotations

from typing import Any

import cupola


class Constraint:
    """A set; ``event_dim`` trailing dimensions are one element of it."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Any) -> Any:
        """Which elements lie in the set."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__.lstrip("_") + "()"


class _Test(Constraint):
    """A set given by a condition."""

    def __init__(self, name: str, test: Any, event_dim: int = 0, discrete: bool = False) -> None:
        self.name, self.test = name, test
        self.event_dim, self.is_discrete = event_dim, discrete

    def check(self, value: Any) -> Any:
        return self.test(value)

    def __repr__(self) -> str:
        return self.name


def _kind(name: str, test: Any, event_dim: int = 0, discrete: bool = False) -> Any:
    """The one member of a class of its own: registries tell sets by their class."""
    cls = type("_" + name.partition("(")[0], (_Test,), {"__module__": __name__})
    return cls(name, test, event_dim, discrete)


class _Dependent(Constraint):
    """A set that depends on other parameters, so that it cannot be checked alone."""

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def check(self, value: Any) -> Any:
        raise ValueError("Cannot determine validity of dependent constraint")


class dependent_property(property, _Dependent):
    """A property that gives a set for an instance, and a dependent set for the class."""

    def __init__(self, fn: Any = None, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        super().__init__(fn)
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, fn: Any) -> dependent_property:
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


class independent(Constraint):
    """A set of arrays whose elements all lie in another set."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Any) -> Any:
        ok = self.base_constraint.check(value)
        n = self.reinterpreted_batch_ndims
        return ok.reshape(*ok.shape[: ok.ndim - n], -1).all(-1) if n else ok


class _Bounded(Constraint):
    def __init__(self, lower: Any, upper: Any) -> None:
        self.lower_bound, self.upper_bound = lower, upper

    def __repr__(self) -> str:
        bounds = (("lower_bound", self.lower_bound), ("upper_bound", self.upper_bound))
        given = ", ".join(f"{k}={v}" for k, v in bounds if v is not None)
        return f"{type(self).__name__.title().replace('_', '')}({given})"


class interval(_Bounded):
    """Numbers in [lower, upper]."""

    def check(self, value: Any) -> Any:
        return (self.lower_bound <= value) & (value <= self.upper_bound)


class half_open_interval(_Bounded):
    """Numbers in [lower, upper)."""

    def check(self, value: Any) -> Any:
        return (self.lower_bound <= value) & (value < self.upper_bound)


class integer_interval(_Bounded):
    """Integers in [lower, upper]."""

    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value % 1 == 0) & (self.lower_bound <= value) & (value <= self.upper_bound)


class greater_than(_Bounded):
    """Numbers above a bound."""

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound, None)

    def check(self, value: Any) -> Any:
        return self.lower_bound < value


class greater_than_eq(greater_than):
    """Numbers at least as large as a bound."""

    def check(self, value: Any) -> Any:
        return self.lower_bound <= value


class less_than(_Bounded):
    """Numbers below a bound."""

    def __init__(self, upper_bound: Any) -> None:
        super().__init__(None, upper_bound)

    def check(self, value: Any) -> Any:
        return value < self.upper_bound


class multinomial(Constraint):
    """Counts that are not negative and add up to at most ``upper_bound``."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Any) -> Any:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class _Joined(Constraint):
    """Parts of an array along ``dim``, each with a set of its own."""

    def __init__(self, cseq: Any, dim: int = 0) -> None:
        self.cseq, self.dim = list(cseq), dim
        if not all(isinstance(c, Constraint) for c in self.cseq):
            raise TypeError("every part needs a Constraint")

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)


class cat(_Joined):
    """Arrays that are put behind one another: part i has ``lengths[i]`` entries along ``dim``."""

    def __init__(self, cseq: Any, dim: int = 0, lengths: Any = None) -> None:
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            raise ValueError(f"{len(self.cseq)} sets need as many lengths, not {self.lengths}")

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Any) -> Any:
        parts = value.split(self.lengths, self.dim)
        return cupola.cat([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


class stack(_Joined):
    """Arrays that are stacked: entry i along ``dim`` lies in set i."""

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        inner = max(c.event_dim for c in self.cseq)
        return inner + 1 if self.dim + inner < 0 else inner

    def check(self, value: Any) -> Any:
        parts = value.unbind(self.dim)
        return cupola.stack([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


def _symmetric(x: Any) -> Any:
    if x.shape[-1] != x.shape[-2]:
        return cupola.zeros(x.shape[:-2], dtype=cupola.bool)
    return cupola.isclose(x, x.mT, atol=1e-6).flatten(-2).all(-1)


def _positive_definite(x: Any) -> Any:
    return _symmetric(x) & (cupola.linalg.cholesky_ex(x).info == 0)


def _positive_semidefinite(x: Any) -> Any:
    return _symmetric(x) & (cupola.linalg.eigvalsh(x) >= 0).all(-1)


def _corr_cholesky(x: Any) -> Any:
    step = cupola.finfo(x.dtype).eps * x.shape[-1] * 10  # of a sum over a row
    return _lower_cholesky(x) & (((x * x).sum(-1) - 1).abs() < step).all(-1)


def _lower_cholesky(x: Any) -> Any:
    return (x.tril() == x).flatten(-2).all(-1) & (x.diagonal(0, -2, -1) > 0).all(-1)


dependent = _Dependent()
boolean = _kind("Boolean()", lambda x: (x == 0) | (x == 1), 0, True)
real = _kind("Real()", lambda x: x == x)
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
positive_integer = _kind(
    "IntegerGreaterThan(lower_bound=1)", lambda x: (x % 1 == 0) & (x >= 1), 0, True
)
nonnegative_integer = _kind(
    "IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0) & (x >= 0), 0, True
)
simplex = _kind("Simplex()", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), 1)
one_hot = _kind("OneHot()", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1), 1, True)
lower_triangular = _kind("LowerTriangular()", lambda x: (x.tril() == x).flatten(-2).all(-1), 2)
lower_cholesky = _kind("LowerCholesky()", _lower_cholesky, 2)
positive_definite = _kind("PositiveDefinite()", _positive_definite, 2)
positive_semidefinite = _kind("PositiveSemidefinite()", _positive_semidefinite, 2)
symmetric = _kind("Symmetric()", _symmetric, 2)
corr_cholesky = _kind("CorrCholesky()", _corr_cholesky, 2)
square = _kind("Square()", lambda x: cupola.full(x.shape[:-2], x.shape[-2] == x.shape[-1]), 2)


def is_dependent(constraint: Any) -> bool:
    """Whether a set depends on other parameters."""
    return isinstance(constraint, _Dependent)


_Real, _Simplex, _LowerCholesky = type(real), type(simplex), type(lower_cholesky)
_LowerTriangular, _PositiveDefinite = type(lower_triangular), type(positive_definite)
_Boolean, _OneHot, _Square = type(boolean), type(one_hot), type(square)
_PositiveSemidefinite, _CorrCholesky = type(positive_semidefinite), type(corr_cholesky)
_Symmetric = type(symmetric)
_GreaterThan, _GreaterThanEq, _LessThan = greater_than, greater_than_eq, less_than
_Interval, _HalfOpenInterval, _IndependentConstraint = interval, half_open_interval, independent
_IntegerInterval, _Multinomial, _Cat, _Stack = integer_interval, multinomial, cat, stack
