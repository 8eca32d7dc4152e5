"""The CPU backend's heavy operators: convolution and matrix multiplication on NumPy arrays.

`HeavyOps` is the interface; `onednn/` implements it with oneDNN and `fallback.py` with NumPy alone.
`heavy_ops()` gives the best one that works here. Arrays in, arrays out:
nothing in this layer knows tensors or graphs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import numpy as np

from cupola.ir import forks

Pads = Sequence[tuple[int, int]]
Activation = str | tuple[str, float] | None

# Names an epilogue may have; "leaky_relu" and "elu" come as (name, slope or alpha).
ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh"),
    "hardswish",
)


class HeavyOps(Protocol):
    """What a CPU library has to offer. Every array may have any positive strides.

    None is written but `out`.
    """

    name: str
    fused_activations: frozenset[
        str
    ]  # those that cost no pass of their own; the others are done after

    def convolution(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: Sequence[int],
        padding: Pads,
        dilation: Sequence[int],
        groups: int,
        *,
        activation: Activation = None,
        residual: np.ndarray | None = None,
        out: np.ndarray | None = None,
        channels_last: bool | None = None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        """Cross-correlation with its epilogue: activation(conv(x, weight) + bias + residual).

        x (N, C, *spatial), weight (O, C/groups, *kernel), bias (O,), residual and out (N, O,
        *out_spatial), all of x's dtype; 1 to 3 spatial dimensions; padding is one (low, high) pair
        for each, in elements, not negative. `channels_last` chooses the memory format of a fresh
        result (None: that of x). Equal `weight_key`s promise equal weight contents: the packed
        weight is kept and reused. `residual` may be `out` itself. Raises ValueError when the shapes
        do not fit. PyTorch: torch.nn.functional.conv1d, conv2d, conv3d.
        """
        ...

    def convolution_input_grad(
        self,
        grad_out: np.ndarray,
        weight: np.ndarray,
        x_shape: Sequence[int],
        stride: Sequence[int],
        padding: Pads,
        dilation: Sequence[int],
        groups: int,
        *,
        out: np.ndarray | None = None,
        channels_last: bool | None = None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        """The gradient of `convolution` for x; transposed convolution itself.

        x_shape may be larger than grad_out needs (output_padding): what no window reaches is zero.
        PyTorch: torch.nn.grad.conv2d_input, torch.nn.functional.conv_transpose2d.
        """
        ...

    def convolution_weight_grad(
        self,
        grad_out: np.ndarray,
        x: np.ndarray,
        weight_shape: Sequence[int],
        stride: Sequence[int],
        padding: Pads,
        dilation: Sequence[int],
        groups: int,
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """The gradient of `convolution` for weight, of shape weight_shape. PyTorch.

        Torch.nn.grad.conv2d_weight.
        """
        ...

    def matmul(
        self,
        a: np.ndarray,
        b: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        out: np.ndarray | None = None,
        activation: Activation = None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        """activation(a @ b + bias): a (..., M, K), b (..., K, N), the leading dimensions broadcast.

        One dtype for all; half types accumulate in float32, integers wrap as their dtype does. bias
        broadcasts to the result, (N,) being the fused case. `weight_key` is as in `convolution`,
        for b. Raises ValueError when the shapes do not fit. PyTorch: torch.matmul.
        """
        ...

    def forget(self, weight_key: Hashable) -> None:
        """Drop the packed weights kept for `weight_key`."""
        ...

    def clear(self) -> None:
        """Drop every cached primitive, packed weight and buffer."""
        ...

    def set_num_threads(self, count: int) -> None:
        """How many threads the library may use, from every Python thread, from now on."""
        ...


def check_activation(activation: Activation) -> None:
    """Raises ValueError for an epilogue that is not one of `ACTIVATIONS`."""
    name = activation if activation is None or isinstance(activation, str) else activation[0]
    if name is not None and name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: use one of {', '.join(ACTIVATIONS)}")


def output_size(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """The spatial size of a convolution's result.

    Raises ValueError where a window is larger than its input.
    """
    sizes = []
    for s, k, step, (low, high), d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = s + low + high - (d * (k - 1) + 1)
        if room < 0:
            raise ValueError(
                f"kernel size {tuple(kernel)} with dilation {tuple(dilation)} does not fit in the "
                f"padded input: size {tuple(size)}, padding {tuple(padding)}; pad more or use a "
                f"smaller kernel"
            )
        sizes.append(room // step + 1)
    return tuple(sizes)


def check_convolution(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    groups: int,
) -> tuple[int, ...]:
    """The result's shape (N, O, *out_spatial). Raises ValueError where the arguments do not fit."""
    spatial = len(x_shape) - 2
    if spatial not in (1, 2, 3) or len(weight_shape) != len(x_shape):
        raise ValueError(
            f"convolution needs x (N, C, *spatial) and weight (O, C/groups, *kernel) with 1 to 3 "
            f"spatial dimensions, got {tuple(x_shape)} and {tuple(weight_shape)}"
        )
    if not len(stride) == len(padding) == len(dilation) == spatial:
        raise ValueError(
            f"stride, padding and dilation need one entry for each of {spatial} dimensions"
        )
    if min(stride) < 1 or min(dilation) < 1 or min(min(pair) for pair in padding) < 0:
        raise ValueError(
            f"stride {tuple(stride)} and dilation {tuple(dilation)} must be positive, "
            f"padding {tuple(padding)} not negative; crop x for a negative padding"
        )
    if groups < 1 or x_shape[1] != weight_shape[1] * groups or weight_shape[0] % groups:
        raise ValueError(
            f"x with {x_shape[1]} channels, weight {tuple(weight_shape)} and groups={groups} do "
            f"not fit: weight needs shape (O, C/groups, *kernel) with O a multiple of groups"
        )
    size = output_size(x_shape[2:], weight_shape[2:], stride, padding, dilation)
    return (x_shape[0], weight_shape[0], *size)


def check_convolution_grad(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    groups: int,
) -> None:
    """Raises ValueError unless grad_shape is the result's, or smaller (x has an output_padding)."""
    shape = check_convolution(x_shape, weight_shape, stride, padding, dilation, groups)
    if (
        len(grad_shape) != len(shape)
        or tuple(grad_shape[:2]) != shape[:2]
        or any(have > full for have, full in zip(grad_shape, shape, strict=True))
    ):
        raise ValueError(
            f"grad_out has shape {tuple(grad_shape)}, the convolution's result {shape}"
        )


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


def channels_last_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of an (N, C, *spatial) array laid out as (N, *spatial, C)."""
    n, *spatial, c = contiguous_strides((shape[0], *shape[2:], shape[1]))
    return (n, c, *spatial)


def has_strides(array: np.ndarray, strides: Sequence[int]) -> bool:
    """Whether the array is laid out by these strides (elements).

    Those of axes of size 1 do not count.
    """
    item = array.itemsize
    return all(
        have == want * item or size == 1
        for size, have, want in zip(array.shape, array.strides, strides, strict=True)
    )


def is_channels_last(array: np.ndarray) -> bool:
    """Whether an (N, C, *spatial) array is in channels-last memory and not also contiguous."""
    return not array.flags.c_contiguous and has_strides(array, channels_last_strides(array.shape))


class Memory:
    """Where results come from: NumPy, or a pool that spares the faults of fresh pages.

    Attributes:
        empty: ``empty(shape, dtype)`` gives an uninitialised C-contiguous array.
    """

    empty: Callable[[tuple[int, ...], np.dtype], np.ndarray] = staticmethod(np.empty)


def new_activations(shape: Sequence[int], dtype: np.dtype, channels_last: bool) -> np.ndarray:
    """A fresh (N, C, *spatial) array in the memory format asked for."""
    if not channels_last:
        return Memory.empty(tuple(shape), dtype)
    axes = (0, len(shape) - 1, *range(1, len(shape) - 1))
    return Memory.empty((shape[0], *shape[2:], shape[1]), dtype).transpose(axes)


_lock = forks.hold(threading.Lock())
_chosen: HeavyOps | None = None


def heavy_ops() -> HeavyOps:
    """The implementation for this machine: oneDNN where it loads, NumPy otherwise.

    Chosen on the first call.
    """
    global _chosen
    if _chosen is None:
        with _lock:
            if _chosen is None:
                from cupola.backends.cpu import onednn

                if onednn.available():
                    _chosen = onednn.OneDNNOps()
                else:
                    from cupola.backends.cpu.fallback import FallbackOps

                    _chosen = FallbackOps()
    return _chosen
