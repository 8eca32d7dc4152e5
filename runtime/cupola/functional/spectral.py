"""Fourier transforms, short-time transforms and windows (torch.fft, "Spectral Ops")."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.functional._convert import wrap_dim
from cupola.functional._register import operator
from cupola.ops import elementwise as ew
from cupola.ops import fft as prim
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply, wrap


def resized(x: Tensor, dim: int, n: int) -> Tensor:
    """Cut off or padded with zeros to ``n`` elements along a dimension.

    Raises:
        RuntimeError: fewer than one element is asked for.
    """
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    have = x._n.shape[dim]
    if n < have:
        return x.narrow(dim, 0, n)
    if n > have:
        pairs = [(0, 0)] * x.ndim
        pairs[dim] = (0, n - have)
        return apply(mv.pad, x, pairs=tuple(pairs), value=0)
    return x


def scaled(x: Tensor, norm: str | None, count: int, inverse: bool) -> Tensor:
    """Applies the normalization of a transform over ``count`` points.

    Raises:
        RuntimeError: an unknown mode.
    """
    norm = norm or "backward"
    if norm not in ("forward", "backward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if norm == "ortho":
        return x * (1 / math.sqrt(count))
    return x * (1 / count) if (norm == "backward") == inverse else x


def complex_node(x: Tensor) -> Any:
    """The node of a tensor as complex numbers."""
    node = x.node
    if node.dtype.is_complex:
        return node
    if not node.dtype.is_floating_point:
        node = ew.cast(node, dtype=dtypes.get_default_dtype())
    return ew.cast(node, dtype=node.dtype.to_complex())


def _dims(x: Tensor, s: Any, dim: Any) -> tuple[tuple[int, ...], list[int]]:
    """Dimensions and their sizes, as the n-dimensional transforms read s and dim."""
    if dim is None:
        count = x.ndim if s is None else len(s)
        dims = tuple(range(x.ndim - count, x.ndim))
    else:
        dims = tuple(wrap_dim(d, x.ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    if s is None:
        return dims, [x._n.shape[d] for d in dims]
    given = (s,) if isinstance(s, int) else tuple(s)
    return dims, [x._n.shape[d] if n == -1 else n for d, n in zip(dims, given, strict=True)]


def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """Transform over several dimensions (torch.fft.fftn)."""
    return _transform(input, s, dim, norm, False)


def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """Inverse transform over several dimensions (torch.fft.ifftn)."""
    return _transform(input, s, dim, norm, True)


def _transform(x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool) -> Tensor:
    dims, sizes = _dims(x, s, dim)
    for d, n in zip(dims, sizes, strict=True):
        x = resized(x, d, n)
    out = wrap(prim.dft(complex_node(x), dims=dims, inverse=inverse))
    return scaled(out, norm, math.prod(sizes), inverse)


def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """Half of the transform of a real signal over several dimensions (torch.fft.rfftn).

    Raises:
        RuntimeError: the input is complex.
    """
    if input.dtype.is_complex:
        raise RuntimeError(f"rfft expects a real input tensor, but got {input.dtype}")
    x = input if input.dtype.is_floating_point else input.to(dtypes.get_default_dtype())
    dims, sizes = _dims(x, s, dim)
    for d, n in zip(dims, sizes, strict=True):
        x = resized(x, d, n)
    out = prim.rdft(x.node, dim=dims[-1])
    if len(dims) > 1:
        out = prim.dft(out, dims=dims[:-1], inverse=False)
    return scaled(wrap(out), norm, math.prod(sizes), False)


def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The real signal of a half transform over several dimensions (torch.fft.irfftn)."""
    dims, sizes = _dims(input, s, dim)
    if s is None or (not isinstance(s, int) and s[-1] == -1):
        sizes[-1] = 2 * (input._n.shape[dims[-1]] - 1)
    x = input
    for d, n in zip(dims[:-1], sizes[:-1], strict=True):
        x = resized(x, d, n)
    if sizes[-1] < 1:
        raise RuntimeError(f"Invalid number of data points ({sizes[-1]}) specified")
    x = resized(x, dims[-1], sizes[-1] // 2 + 1)
    node = complex_node(x)
    if len(dims) > 1:
        node = prim.dft(node, dims=dims[:-1], inverse=True)
    out = wrap(prim.irdft(node, dim=dims[-1], n=sizes[-1]))
    return scaled(out, norm, math.prod(sizes), True)


@operator(out=True, method=False)
def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Hann window (torch.hann_window)."""
    return _window(window_length, periodic, lambda t: 0.5 - 0.5 * np.cos(t), options)


@operator(out=True, method=False)
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    **options: Any,
) -> Tensor:
    """Hamming window (torch.hamming_window)."""
    return _window(window_length, periodic, lambda t: alpha - beta * np.cos(t), options)


@operator(out=True, method=False)
def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Blackman window (torch.blackman_window)."""
    return _window(
        window_length, periodic, lambda t: 0.42 - 0.5 * np.cos(t) + 0.08 * np.cos(2 * t), options
    )


@operator(out=True, method=False)
def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Triangular window (torch.bartlett_window)."""
    return _window(window_length, periodic, lambda t: 1 - np.abs(t / np.pi - 1), options)


@operator(out=True, method=False)
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any
) -> Tensor:
    """Kaiser window (torch.kaiser_window)."""

    def shape(t: Any) -> Any:
        return np.i0(beta * np.sqrt(np.clip(1 - (t / np.pi - 1) ** 2, 0, None))) / np.i0(beta)

    return _window(window_length, periodic, shape, options)


def _window(
    n: int, periodic: bool, function: Callable[[Any], Any], options: dict[str, Any]
) -> Tensor:
    from cupola.ir.device import resolve
    from cupola.tensor.create import of_array

    dtype = dtypes.asked(options.get("dtype")) or dtypes.get_default_dtype()
    if not dtype.is_floating_point:
        raise RuntimeError(f"windows are floating point, got dtype {dtype}")
    if n < 2:
        values = np.ones(n)
    else:
        values = function(2 * np.pi * np.arange(n) / (n if periodic else n - 1))
    made: Tensor = of_array(values.astype(dtype.np), resolve(options.get("device")))
    return made.requires_grad_() if options.get("requires_grad") else made


def _centred(window: Tensor | None, n_fft: int, length: int, like: Tensor) -> Tensor:
    """The window, or ones, padded with zeros on both sides to ``n_fft``."""
    from cupola.functional.creation import constant

    if window is None:
        window = constant(1, (length,), like.dtype.to_real(), like.device)
    left = (n_fft - length) // 2
    return apply(mv.pad, window, pairs=((left, n_fft - length - left),), value=0)


@operator
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Short-time Fourier transform of (L,) or (B, L): (…, frequencies, frames) (torch.stft).

    Raises:
        RuntimeError: the signal or the window does not fit, or return_complex is not given.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    complex_input = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None and not complex_input:
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further"
            " require that return_complex=True in a future PyTorch release."
        )
    if window is not None and tuple(window.shape) != (length,):
        raise RuntimeError(
            f"stft: expected a 1D window tensor of size equal to win_length={length}, but got "
            f"window with size {list(window.shape)}"
        )
    x = input.unsqueeze(0) if input.ndim == 1 else input
    if center:
        from cupola.functional.padding import pad

        half = n_fft // 2
        x = pad(x.unsqueeze(1), (half, half), pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"stft: expected 0 < n_fft < {x.shape[-1]}, but got n_fft={n_fft}")
    frames = x.unfold(-1, n_fft, hop)
    if window is not None or length < n_fft:
        frames = frames * _centred(window, n_fft, length, x)
    if onesided is None:
        onesided = not complex_input
    norm = "ortho" if normalized else None
    out = rfftn(frames, None, -1, norm) if onesided else fftn(frames, None, -1, norm)
    out = out.transpose(-1, -2)
    out = out.squeeze(0) if input.ndim == 1 else out
    return out if return_complex or return_complex is None else out.view_as_real()


@operator
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal of a short-time transform, by least squares (torch.istft).

    Raises:
        RuntimeError: the windows do not cover the signal.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    x = input.unsqueeze(0) if input.ndim == 2 else input
    if onesided is None:
        onesided = x.shape[-2] != n_fft
    norm = "ortho" if normalized else None
    x = x.transpose(-1, -2)
    if return_complex:
        frames = ifftn(x, None, -1, norm)
    else:  # the second half of two-sided frames follows from the first
        half = x if onesided else x[..., : n_fft // 2 + 1]
        frames = irfftn(half, [n_fft], -1, norm)
    w = _centred(window, n_fft, width, frames)
    total = n_fft + hop * (x.shape[-2] - 1)
    signal = _overlap(frames * w, total, n_fft, hop)
    weight = _overlap((w * w).expand(1, x.shape[-2], n_fft) * 1, total, n_fft, hop)
    start = n_fft // 2 if center else 0
    if length is not None:
        stop = start + length
    else:
        stop = total - n_fft // 2 if center else total
    have = min(stop, total)
    signal, weight = signal[..., start:have], weight[..., start:have]
    if float(weight.abs().min()) < 1e-11:
        raise RuntimeError(
            "istft: window overlap add min: 1, the windows leave gaps: use a smaller hop_length"
        )
    out = signal / weight
    if stop > have:
        out = resized(out, out.ndim - 1, stop - start)
    return out.squeeze(0) if input.ndim == 2 else out


def _overlap(frames: Tensor, total: int, size: int, hop: int) -> Tensor:
    shape = (frames.shape[0], total)
    return apply(mv.fold, frames, shape=shape, size=(size,), stride=(hop,), dilation=(1,))
