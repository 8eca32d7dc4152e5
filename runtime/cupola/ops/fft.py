"""Discrete Fourier transforms, without normalization: the functional layer scales."""

from __future__ import annotations

from typing import Any

from cupola.ir.node import Node
from cupola.ops.custom import host_function
from cupola.ops.elementwise import cast, real
from cupola.ops.movement import cat, like_shape, pad


def _transform(xp: Any, x: Any, dims: tuple[int, ...], inverse: bool) -> Any:
    f = xp.fft.ifftn if inverse else xp.fft.fftn
    out = f(x, axes=dims, norm="forward" if inverse else "backward")
    return out.astype(x.dtype, copy=False)


# sum over n of x[n] exp(-2 pi i k n / N), or with a plus for ``inverse``; complex to complex.
dft = host_function(
    "dft",
    _transform,
    lambda x, dims, inverse: (x.shape, x.dtype),
    (lambda g, y, x, dims, inverse: dft(g, dims=dims, inverse=not inverse),),
)


def _half_infer(x: Node, dim: int) -> Any:
    shape = list(x.shape)
    shape[dim] = shape[dim] // 2 + 1
    return tuple(shape), x.dtype.to_complex()


def _half(xp: Any, x: Any, dim: int) -> Any:
    kind = xp.complex128 if x.dtype.itemsize == 8 else xp.complex64
    return xp.fft.rfft(x, axis=dim).astype(kind, copy=False)


def _half_back(g: Node, y: Node, x: Node, dim: int) -> Node:
    pairs = [(0, 0)] * x.ndim
    pairs[dim] = (0, x.shape[dim] - y.shape[dim])
    return real(dft(pad(g, pairs=tuple(pairs), value=0), dims=(dim,), inverse=True))


# The first N // 2 + 1 frequencies of a real signal.
rdft = host_function("rdft", _half, _half_infer, (_half_back,))


def _real_infer(x: Node, dim: int, n: int) -> Any:
    shape = list(x.shape)
    shape[dim] = n
    return tuple(shape), x.dtype.to_real()


def _real_signal(xp: Any, x: Any, dim: int, n: int) -> Any:
    kind = xp.float64 if x.dtype.itemsize == 16 else xp.float32
    return xp.fft.irfft(x, n, axis=dim, norm="forward").astype(kind, copy=False)


def _real_back(g: Node, y: Node, x: Node, dim: int, n: int) -> Node:
    """Every frequency but the first, and the last of an even length, stands for two."""
    single = list(x.shape)
    single[dim] = 1
    inner = list(x.shape)
    inner[dim] = (n - 1) // 2
    parts = [like_shape(g, tuple(single), 1), like_shape(g, tuple(inner), 2)]
    if n % 2 == 0:
        parts.append(like_shape(g, tuple(single), 1))
    weight = cat(*parts, dim=dim)
    return rdft(g, dim=dim) * cast(weight, dtype=x.dtype)


# The real signal of length n with these first n // 2 + 1 frequencies.
irdft = host_function("irdft", _real_signal, _real_infer, (_real_back,))
