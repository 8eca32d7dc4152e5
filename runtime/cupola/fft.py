"""Discrete Fourier transforms (torch.fft)."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.functional._register import with_out
from cupola.functional._sizes import integer
from cupola.functional.creation import arange
from cupola.functional.rearrange import roll
from cupola.functional.spectral import fftn, ifftn, irfftn, rfftn
from cupola.tensor import Tensor, protocol

Norm = str | None


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """Transform along one dimension (torch.fft.fft)."""
    return fftn(input, None if n is None else [integer(n)], dim, norm)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """Inverse transform along one dimension (torch.fft.ifft)."""
    return ifftn(input, None if n is None else [integer(n)], dim, norm)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """Half of the transform of a real signal (torch.fft.rfft)."""
    return rfftn(input, None if n is None else [integer(n)], dim, norm)


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The real signal of a half transform (torch.fft.irfft)."""
    return irfftn(input, None if n is None else [integer(n)], dim, norm)


_OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _opposite(norm: Norm) -> str:
    """The normalization of the transform in the other direction.

    Raises:
        RuntimeError: an unknown mode.
    """
    if (norm or "backward") not in _OPPOSITE:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return _OPPOSITE[norm or "backward"]


def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The real transform of a signal with Hermitian symmetry (torch.fft.hfft)."""
    return irfft(input.conj(), n, dim, _opposite(norm))


def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """Inverse of hfft (torch.fft.ihfft)."""
    return rfft(input, n, dim, _opposite(norm)).conj()


def fft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: Norm = None) -> Tensor:
    """Transform over two dimensions (torch.fft.fft2)."""
    return fftn(input, s, dim, norm)


def ifft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: Norm = None) -> Tensor:
    """Inverse transform over two dimensions (torch.fft.ifft2)."""
    return ifftn(input, s, dim, norm)


def rfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: Norm = None) -> Tensor:
    """Half transform over two dimensions (torch.fft.rfft2)."""
    return rfftn(input, s, dim, norm)


def irfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: Norm = None) -> Tensor:
    """The real signal of a half transform over two dimensions (torch.fft.irfft2)."""
    return irfftn(input, s, dim, norm)


def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: Norm = None) -> Tensor:
    """The real transform of a signal with Hermitian symmetry in its last dimension
    (torch.fft.hfftn).
    """
    return irfftn(input.conj(), s, dim, _opposite(norm))


def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: Norm = None) -> Tensor:
    """Inverse of hfftn (torch.fft.ihfftn)."""
    return rfftn(input, s, dim, _opposite(norm)).conj()


def hfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: Norm = None) -> Tensor:
    """hfftn over two dimensions (torch.fft.hfft2)."""
    return hfftn(input, s, dim, norm)


def ihfft2(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: Norm = None) -> Tensor:
    """ihfftn over two dimensions (torch.fft.ihfft2)."""
    return ihfftn(input, s, dim, norm)


def _frequencies(positions: Tensor, n: int, d: float, options: dict[str, Any]) -> Tensor:
    out = positions / (n * d)
    dtype = dtypes.asked(options.get("dtype")) or dtypes.get_default_dtype()
    return out.to(options.get("device") or out.device, dtype)


def fftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """Frequencies of fft's bins, in cycles per unit of ``d`` (torch.fft.fftfreq)."""
    k = arange(n)
    return _frequencies(k.where(k < (n + 1) // 2, k - n), n, d, options)


def rfftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """Frequencies of rfft's bins (torch.fft.rfftfreq)."""
    return _frequencies(arange(n // 2 + 1), n, d, options)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Moves frequency zero to the middle (torch.fft.fftshift)."""
    return _shift(input, dim, lambda n: n // 2)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Undoes fftshift (torch.fft.ifftshift)."""
    return _shift(input, dim, lambda n: (n + 1) // 2)


def _shift(x: Tensor, dim: Any, by: Any) -> Tensor:
    dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    return roll(x, tuple(by(x.shape[d]) for d in dims), tuple(dims))


__all__ = [
    "Tensor",
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "hfft2",
    "hfftn",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "ihfft2",
    "ihfftn",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]
for _name in (
    *("fft", "fft2", "fftn", "ifft", "ifft2", "ifftn", "rfft", "rfft2", "rfftn"),
    *("irfft", "irfft2", "irfftn", "hfft", "hfft2", "hfftn", "ihfft", "ihfft2", "ihfftn"),
    *("fftfreq", "rfftfreq"),
):
    globals()[_name] = with_out(globals()[_name])

protocol.publish("fft", {name: globals()[name] for name in __all__})
