"""Windows of spectral analysis (torch.signal.windows); formulas: Harris (1978), "On the use of
windows for harmonic analysis with the discrete Fourier transform".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.ir.device import resolve
from cupola.tensor import Tensor
from cupola.tensor.create import of_array
from cupola.tensor.layout import strided


def _window(name: str, M: int, values: Callable[[], Any], options: dict[str, Any]) -> Tensor:
    """A tensor of M values; of one, where M is 1.

    Raises:
        ValueError: a negative length, a layout other than strided, a dtype that is not float32 or
            float64.
        TypeError: an option that windows do not have.
    """
    unknown = set(options) - {"dtype", "layout", "device", "requires_grad"}
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    dtype = dtypes.asked(options.get("dtype")) or dtypes.get_default_dtype()
    layout = options.get("layout") or strided
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    array = np.ones(M) if M < 2 else values()
    made: Tensor = of_array(np.asarray(array, dtype.np), resolve(options.get("device")))
    return made.requires_grad_() if options.get("requires_grad") else made


def _angles(M: int, sym: bool) -> Any:
    return 2 * np.pi / (M - 1 if sym else M) * np.arange(M)


def _middle(M: int, sym: bool) -> float:
    return (M - 1 if sym or M <= 1 else M) / 2


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Any) -> Tensor:
    """Sum of (-1)^i a[i] cos(i t) over a turn of t (torch.signal.windows.general_cosine).

    Raises:
        TypeError: ``a`` is not a sequence.
        ValueError: ``a`` is empty.
    """
    _window("general_cosine", M, lambda: np.ones(M), options)  # checks
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    return _cosines("general_cosine", M, weights, sym, options)


def _cosines(name: str, M: int, a: list[float], sym: bool, options: dict[str, Any]) -> Tensor:
    def values() -> Any:
        t = _angles(M, sym)
        return sum((-1) ** i * w * np.cos(i * t) for i, w in enumerate(a))

    return _window(name, M, values, options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(t) (torch.signal.windows.general_hamming)."""
    return _cosines("general_hamming", M, [alpha, 1 - alpha], sym, options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Hamming window (torch.signal.windows.hamming)."""
    return _cosines("hamming", M, [0.54, 0.46], sym, options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Hann window (torch.signal.windows.hann)."""
    return _cosines("hann", M, [0.5, 0.5], sym, options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Blackman window (torch.signal.windows.blackman)."""
    return _cosines("blackman", M, [0.42, 0.5, 0.08], sym, options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Minimum four-term window by Nuttall (torch.signal.windows.nuttall)."""
    weights = [0.3635819, 0.4891775, 0.1365995, 0.0106411]
    return _cosines("nuttall", M, weights, sym, options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Triangular window (torch.signal.windows.bartlett)."""
    return _window("bartlett", M, lambda: 1 - np.abs(_angles(M, sym) / np.pi - 1), options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Half a period of a sine (torch.signal.windows.cosine)."""

    def values() -> Any:
        return np.sin(np.pi / (M if sym else M + 1) * (np.arange(M) + 0.5))

    return _window("cosine", M, values, options)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any
) -> Tensor:
    """exp(-|n - center| / tau) (torch.signal.windows.exponential).

    Raises:
        ValueError: tau is not positive, or a centre is given to a symmetric window.
    """
    _window("exponential", M, lambda: np.ones(M), options)  # checks
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    middle = _middle(M, sym) if center is None else center
    return _window("exponential", M, lambda: np.exp(-np.abs(np.arange(M) - middle) / tau), options)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-((n - centre) / std)² / 2) (torch.signal.windows.gaussian).

    Raises:
        ValueError: std is not positive.
    """
    _window("gaussian", M, lambda: np.ones(M), options)  # checks
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def values() -> Any:
        return np.exp(-(((np.arange(M) - _middle(M, sym)) / (std * math.sqrt(2))) ** 2))

    return _window("gaussian", M, values, options)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """Kaiser window: I0(beta sqrt(1 - t²)) / I0(beta) (torch.signal.windows.kaiser).

    Raises:
        ValueError: beta is negative.
    """
    _window("kaiser", M, lambda: np.ones(M), options)  # checks
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def values() -> Any:
        t = _angles(M, sym) / np.pi - 1
        return np.i0(beta * np.sqrt(np.clip(1 - t * t, 0, None))) / np.i0(beta)

    return _window("kaiser", M, values, options)


__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]
