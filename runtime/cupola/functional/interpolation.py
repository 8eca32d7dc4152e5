"""Resampling of images and sequences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola.dtypes import bfloat16, float16, uint8
from cupola.dtypes import dtype as DType
from cupola.functional._convert import own
from cupola.functional._register import scalar_name
from cupola.functional.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from cupola.functional.picture_filters import PICTURES, filter_matrix, resampled_bytes
from cupola.tensor import Tensor, tensor

_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5}
_MODES = ("nearest", "nearest-exact", "area", "bicubic", "lanczos", *_LINEAR)


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample (N, C, *) to ``size`` or by ``scale_factor``.

    Modes: nearest, nearest-exact, linear (3-D), bilinear and bicubic (4-D), trilinear (5-D), area;
    lanczos (4-D) with ``antialias`` only. Bytes stay bytes in all modes for images but area.
    """
    chosen = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    if input.dtype not in (float16, bfloat16) or mode == "area":
        return _interpolate(input, *chosen, None)
    # PyTorch's CPU kernels keep the weights in the half type, but for bilinear ones.
    keeps = input.device.type == "cpu" and mode != "bilinear" and not antialias
    return _interpolate(input.float(), *chosen, input.dtype if keeps else None).to(input.dtype)


def _interpolate(
    input: Tensor,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool,
    narrow: DType | None,
) -> Tensor:
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | "
                "bilinear | bicubic | trilinear"
            )
    align = bool(align_corners)
    n = input.dim() - 2
    size, scales = _target_sizes(input, n, size, scale_factor, recompute_scale_factor)
    if antialias and not (mode in PICTURES and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires "
            "a 4-D tensor as input"
        )
    if mode == "lanczos" and not antialias:
        raise ValueError("Lanczos mode requires antialias=True")
    if mode == "lanczos" and align:
        raise ValueError("Lanczos mode does not support align_corners=True")
    if mode not in _MODES or not 3 <= input.dim() <= 5:
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{input.dim()}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | "
            f"area | nearest-exact (got {mode})"
        )
    wanted_dim = _LINEAR.get(mode, 4 if mode in PICTURES else input.dim())
    if wanted_dim != input.dim():
        raise NotImplementedError(
            f"Got {input.dim()}D input, but {mode} mode needs {wanted_dim}D input"
        )
    if min(size) <= 0 or min(input.shape[2:]) <= 0:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"{list(input.shape[2:])} and output {size}"
        )
    if mode == "area":
        pools = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
        return pools[n - 1](input, size)
    if input.dtype == uint8 and mode in PICTURES:
        return resampled_bytes(input, size, scales, mode, align, antialias)
    if not mode.startswith("nearest") and not input.dtype.is_floating_point:
        kind = "cubic" if mode == "bicubic" else "linear"
        raise NotImplementedError(
            f'"compute_indices_weights_{kind}" not implemented for {scalar_name(input.dtype)!r}'
        )
    unchanged = True
    for i in reversed(range(n)):
        dim, scale = 2 + i, scales[i]
        if mode.startswith("nearest"):
            result = _nearest(input, dim, size[i], scale, exact=mode == "nearest-exact")
        elif antialias:
            result = _antialias(input, dim, size[i], scale, align, mode)
        elif mode == "bicubic":
            result = _cubic(input, dim, size[i], scale, align, narrow)
        else:
            result = _linear(input, dim, size[i], scale, align, narrow)
        unchanged = unchanged and result is input
        input = result
    return input.clone() if unchanged else input


def _target_sizes(
    input: Tensor, n: int, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """Output sizes, and the scale factors where those define the sampling positions."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if isinstance(size, (list, tuple)):
            if len(size) != n:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got "
                    f"input with spatial dimensions of {list(input.shape[2:])} and output size of "
                    f"{size}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
                    "output size in (o1, o2, ...,oK) format."
                )
            return [int(s) for s in size], [None] * n
        return [int(size)] * n, [None] * n
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != n:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got "
                f"input with spatial dimensions of {list(input.shape[2:])} and scale_factor of "
                f"shape {scale_factor}. Please provide input tensor in (N, C, d1, d2, ...,dK) "
                "format and scale_factor in (s1, s2, ...,sK) format."
            )
        factors = [float(s) for s in scale_factor]
    else:
        factors = [float(scale_factor)] * n
    sizes = [math.floor(s * f) for s, f in zip(input.shape[2:], factors, strict=True)]
    return sizes, [None] * n if recompute else list(factors)


def _precision(input: Tensor) -> Any:
    """What torch computes weights in: float64 for float64, else float32."""
    return np.float64 if input.dtype.itemsize == 8 else np.float32


def _ratio(size: int, out: int, scale: float | None, align: bool, kind: Any = np.float32) -> Any:
    """Input distance between two neighbouring outputs."""
    if align:
        return kind((size - 1) / (out - 1)) if out > 1 else kind(0)
    if scale is not None and scale > 0:
        return kind(1.0 / scale)
    return kind(size) / kind(out)


def _positions(
    size: int, out: int, scale: float | None, align: bool, cubic: bool, kind: Any
) -> Any:
    """Where each output falls in the input."""
    ratio = _ratio(size, out, scale, align, kind)
    steps = np.arange(out, dtype=kind)
    if align:
        return steps * ratio
    position = (steps + kind(0.5)) * ratio - kind(0.5)
    return position if cubic else np.maximum(position, kind(0))


def _pick(input: Tensor, dim: int, index: Any) -> Tensor:
    return input.index_select(dim, tensor(index.astype(np.int64), device=input.device))


def _along(weights: Any, input: Tensor, dim: int) -> Tensor:
    """A vector of weights, shaped to multiply ``input`` along ``dim``."""
    values = tensor(np.asarray(weights, _precision(input)), dtype=input.dtype, device=input.device)
    return values.reshape((-1,) + (1,) * (input.dim() - dim - 1))


def _nearest(input: Tensor, dim: int, out: int, scale: float | None, exact: bool) -> Tensor:
    size = input.shape[dim]
    if out == size and scale in (None, 1.0):
        return input
    ratio = _ratio(size, out, scale, False)
    steps = np.arange(out, dtype=np.float32)
    index = np.floor((steps + np.float32(0.5)) * ratio if exact else steps * ratio)
    index = np.minimum(index.astype(np.int64), size - 1)
    times = out // size
    if out == size * times and np.array_equal(index, np.arange(out) // times):
        # A whole factor repeats each element: an index map, no gather.
        shape = list(input.shape)
        repeated = input.unsqueeze(dim + 1).expand((*shape[: dim + 1], times, *shape[dim + 1 :]))
        return own(repeated.reshape((*shape[:dim], out, *shape[dim + 1 :])), input)
    return _pick(input, dim, index)


def _narrowed(weights: Any, narrow: DType | None) -> Any:
    return weights if narrow is None else weights.astype(narrow.np).astype(weights.dtype)


def _linear(
    input: Tensor, dim: int, out: int, scale: float | None, align: bool, narrow: DType | None
) -> Tensor:
    size = input.shape[dim]
    if out == size and (align or scale in (None, 1.0)):
        return input
    position = _positions(size, out, scale, align, False, _precision(input))
    low = np.minimum(position.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    fraction = np.clip(position - low.astype(position.dtype), 0, 1)
    if size == 1:
        return _pick(input, dim, low)
    a, b = _pick(input, dim, low), _pick(input, dim, high)
    upper = _narrowed(fraction, narrow)
    return a * _along(_narrowed(1 - upper, narrow), input, dim) + b * _along(upper, input, dim)


def as_is(x: Any) -> Any:
    """The same: where nothing is rounded between steps."""
    return x


def cubic_weights(t: Any, r: Callable[[Any], Any] = as_is, a: float = -0.75) -> list[Any]:
    """Weights of the four neighbours of a point at distance ``t`` after the second (Keys, 1981);
    ``r`` rounds what each step gives.
    """

    def near(x: Any) -> Any:
        return r(r(r(r(r((a + 2) * x) - (a + 3)) * x) * x) + 1)

    def far(x: Any) -> Any:
        return r(r(r(r(r(r(a * x) - 5 * a) * x) + 8 * a) * x) - 4 * a)

    return [far(r(t + 1)), near(t), near(r(1 - t)), far(r(2 - t))]


def _cubic(
    input: Tensor, dim: int, out: int, scale: float | None, align: bool, narrow: DType | None
) -> Tensor:
    size = input.shape[dim]
    if out == size and (align or scale in (None, 1.0)):
        return input
    position = _positions(size, out, scale, align, True, _precision(input))
    base = np.floor(position)
    result: Any = None
    for k, weight in enumerate(cubic_weights(position - base)):
        index = np.clip(base.astype(np.int64) + k - 1, 0, size - 1)
        term = _pick(input, dim, index) * _along(_narrowed(weight, narrow), input, dim)
        result = term if result is None else result + term
    return result


def _antialias(
    input: Tensor, dim: int, out: int, scale: float | None, align: bool, mode: str
) -> Tensor:
    """Resampling whose filter widens when the image shrinks; one matrix per dimension."""
    size = input.shape[dim]
    ratio = float(_ratio(size, out, scale, align, _precision(input)))
    if out == size and (align or scale in (None, 1.0)):
        return input
    matrix = filter_matrix(size, out, ratio, mode, antialias=True).astype(_precision(input))
    table = tensor(matrix, dtype=input.dtype, device=input.device)
    if dim == input.dim() - 1:
        return input.matmul(table)
    return own(input.transpose(dim, -1).matmul(table).transpose(dim, -1), input)


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Deprecated name of :func:`interpolate`."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated: nearest-neighbour :func:`interpolate`."""
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated: bilinear :func:`interpolate` with aligned corners."""
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
