"""The base of all distributions (torch.distributions.Distribution)."""

from __future__ import annotations

from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.utils import lazy_property
from cupola.tensor import Size, Tensor

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution:
    """Random values: independent over ``batch_shape``, one draw is ``event_shape``.

    Raises:
        ValueError: while arguments are validated, a parameter or value lies outside its constraint.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    arg_constraints: Any = {}

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Switches validation for all distributions."""
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for name, constraint in self.arg_constraints.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of "
                    f"distribution {self!r} to satisfy the constraint {constraint!r}, but found "
                    f"invalid values:\n{value}"
                )

    @property
    def batch_shape(self) -> Size:
        """Shape of independent distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """Shape of one draw."""
        return self._event_shape

    @property
    def support(self) -> Any:
        """The constraint that values satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """Expected value."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """Most likely value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """Expected squared distance from the mean."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """Square root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws values without gradients."""
        with cupola.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws values through which gradients reach the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the density or probability."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of at most ``value``."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a draw lies with this probability."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """Entropy in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution."""
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        new = object.__new__(type(self)) if _instance is None else _instance
        for name, value in self.__dict__.items():
            if isinstance(value, Tensor) and name not in ("_batch_shape", "_event_shape"):
                lead = len(self._batch_shape)
                value = value.expand(*shape, *value.shape[lead:]) if value.ndim >= lead else value
            elif isinstance(value, Distribution):
                value = value.expand(shape + value.batch_shape[len(self._batch_shape) :])
            new.__dict__[name] = value
        new._batch_shape = shape
        return new

    def _get_checked_instance(self, cls: Any, _instance: Any = None) -> Any:
        """An empty one of this class, for ``expand`` of ``cls`` to fill.

        Raises:
            NotImplementedError: a class derived from ``cls`` takes other arguments.
        """
        if _instance is not None:
            return _instance
        if type(self).__init__ is not cls.__init__:
            raise NotImplementedError(
                f"{type(self).__name__} has an __init__ of its own and needs an .expand(), too"
            )
        return self.__new__(type(self))

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        tail = len(self._event_shape)
        if tail and tuple(value.shape[value.ndim - tail :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs "
                f"{self._event_shape}."
            )
        whole = self._batch_shape + self._event_shape
        for have, want in zip(reversed(value.shape), reversed(whole), strict=False):
            if have != 1 and want != 1 and have != want:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.shape} vs {whole}."
                )
        try:
            support = self.support
        except NotImplementedError:
            return
        if support is not None and not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to "
                f"be within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value}"
            )

    def _check(self, value: Any) -> None:
        if self._validate_args:
            self._validate_sample(value)

    def __repr__(self) -> str:
        names = [k for k in self.arg_constraints if k in self.__dict__]
        fields = ", ".join(
            f"{k}: {self.__dict__[k] if self.__dict__[k].numel() == 1 else self.__dict__[k].size()}"
            for k in names
        )
        return f"{type(self).__name__}({fields})"


class ExponentialFamily(Distribution):
    """Densities ``exp(<t(x), theta> - F(theta) + k(x))`` with natural parameters theta.

    A class that gives ``_natural_params`` and ``_log_normalizer`` (F) has its entropy and its
    divergence by the derivative of F (Nielsen and Nock, 2010).
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> float:
        """Expected value of k(x)."""
        raise NotImplementedError

    def _by_derivative(self) -> tuple[list[Tensor], Tensor, Any]:
        """theta, F(theta) and its derivative."""
        with cupola.enable_grad():
            theta = [p.detach().requires_grad_() for p in self._natural_params]
            norm = self._log_normalizer(*theta)
            slopes = cupola.autograd.grad(norm.sum(), theta, create_graph=True)
        return theta, norm, slopes

    def entropy(self) -> Tensor:
        theta, norm, slopes = self._by_derivative()
        out = norm - self._mean_carrier_measure
        for p, slope in zip(theta, slopes, strict=True):
            inner = len(self._event_shape)
            part = p * slope
            out = out - (part.flatten(-inner).sum(-1) if inner else part)
        return out
