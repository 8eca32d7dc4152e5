"""The Fourier transform extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupola
from cupola import dtypes
from cupola.array_api.array_object import standard
from cupola.array_api.creation import arange
from cupola.dtypes import dtype as DType
from cupola.ir.device import resolve

Axes = Sequence[int] | None


def _complex(x: Any) -> Any:
    return x if x.dtype.is_complex else x.to(x.dtype.to_complex())


def _axes(x: Any, s: Axes, axes: Axes) -> Axes:
    """The axes that are meant, the last ones if only sizes are given."""
    if axes is not None:
        return tuple(axes)
    return tuple(range(x.ndim)) if s is None else tuple(range(-len(s), 0))


@standard
def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Transform along one axis."""
    return cupola.fft.fft(_complex(x), n, axis, norm)


@standard
def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse transform along one axis."""
    return cupola.fft.ifft(_complex(x), n, axis, norm)


@standard
def fftn(x: Any, /, *, s: Axes = None, axes: Axes = None, norm: str = "backward") -> Any:
    """Transform along several axes."""
    return cupola.fft.fftn(_complex(x), s, _axes(x, s, axes), norm)


@standard
def ifftn(x: Any, /, *, s: Axes = None, axes: Axes = None, norm: str = "backward") -> Any:
    """Inverse transform along several axes."""
    return cupola.fft.ifftn(_complex(x), s, _axes(x, s, axes), norm)


@standard
def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Half of the transform of real numbers."""
    return cupola.fft.rfft(x, n, axis, norm)


@standard
def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The real numbers of a half transform."""
    return cupola.fft.irfft(_complex(x), n, axis, norm)


@standard
def rfftn(x: Any, /, *, s: Axes = None, axes: Axes = None, norm: str = "backward") -> Any:
    """Half of the transform of real numbers along several axes."""
    return cupola.fft.rfftn(x, s, _axes(x, s, axes), norm)


@standard
def irfftn(x: Any, /, *, s: Axes = None, axes: Axes = None, norm: str = "backward") -> Any:
    """The real numbers of a half transform along several axes."""
    return cupola.fft.irfftn(_complex(x), s, _axes(x, s, axes), norm)


@standard
def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """The real transform of numbers with Hermitian symmetry."""
    return cupola.fft.hfft(_complex(x), n, axis, norm)


@standard
def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of hfft."""
    return cupola.fft.ihfft(x, n, axis, norm)


def _frequencies(numbers: Any, n: int, d: float, dtype: DType | None) -> Any:
    found = dtype or dtypes.get_default_dtype()
    return (numbers.to(dtypes.float64) / (n * d)).to(found)


@standard
def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Any:
    """Frequencies of the elements of a transform of n samples that are d apart."""
    half = (n - 1) // 2 + 1
    place = resolve(device)
    both = [arange(half, device=place), arange(-(n // 2), 0, device=place)]
    return _frequencies(cupola.cat(both), n, d, dtype)


@standard
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Any:
    """Frequencies of the elements of a half transform."""
    return _frequencies(arange(n // 2 + 1, device=resolve(device)), n, d, dtype)


@standard
def fftshift(x: Any, /, *, axes: int | Axes = None) -> Any:
    """Frequency 0 moved to the middle."""
    return _shifted(x, axes, 1)


@standard
def ifftshift(x: Any, /, *, axes: int | Axes = None) -> Any:
    """Frequency 0 moved back to the front."""
    return _shifted(x, axes, -1)


def _shifted(x: Any, axes: int | Axes, sign: int) -> Any:
    if axes is None:
        axes = range(x.ndim)
    chosen = (axes,) if isinstance(axes, int) else tuple(axes)
    out = x
    for a in chosen:
        n = x.shape[a]
        if n:
            out = cupola.roll(out, n // 2 if sign > 0 else -(n // 2), a)
    return out.clone() if out is x else out


__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfftn", "rfft", "rfftfreq", "rfftn",
]  # fmt: skip
