"""`HeavyOps` by oneDNN: float32 and the half types here, everything else by the NumPy fallback."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from cupola.backends.cpu.blas import set_blas_threads
from cupola.backends.cpu.fallback import FallbackOps, activate
from cupola.backends.cpu.heavy import (
    Activation,
    Pads,
    check_activation,
    check_convolution,
    check_convolution_grad,
    is_channels_last,
    new_activations,
)
from cupola.backends.cpu.onednn import convolution, layout, matmul
from cupola.backends.cpu.onednn.attributes import FUSED
from cupola.backends.cpu.onednn.library import UNIMPLEMENTED, OneDNNError, load
from cupola.backends.cpu.onednn.operation import Operation
from cupola.backends.cpu.onednn.plan import Plan, Store
from cupola.backends.cpu.onednn.primitive import DATA_TYPES, F32
from cupola.backends.cpu.onednn.workspace import Threads, address

# Multiply-adds up to which np.matmul, one-threaded there, ends before oneDNN has begun: without and
# with an epilogue.
_SMALL, _SMALL_FUSED = 1 << 16, 1 << 12

# (data type to compute in, inputs, array like the result) -> operation, activation left to do
Made = tuple[Operation, Activation]
Make = Callable[[int, Sequence[np.ndarray], np.ndarray], Made]


def _key(array: np.ndarray | None) -> Hashable:
    return None if array is None else (array.shape, array.strides, array.dtype)


def _visited(
    x: np.ndarray, weight_shape: tuple[int, ...], stride: Sequence[int], padding: Pads
) -> tuple[np.ndarray, Sequence[int]]:
    """The elements of x that a strided convolution with a kernel of one element reads, at stride 1.

    Its weight gradient is then a dense product. (oneDNN 3.2's own way of striding there, jit_1x1 on
    AVX2, reads uninitialised memory where the channels do not fill a vector.)
    """
    strided = max(stride, default=1) > 1 and math.prod(weight_shape[2:]) == 1
    if not strided or len(stride) != x.ndim - 2 or any(any(pair) for pair in padding):
        return x, stride
    view = x[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]
    dense = new_activations(view.shape, x.dtype, is_channels_last(x))
    np.copyto(dense, view)
    return dense, (1,) * len(stride)


class OneDNNOps:
    """`HeavyOps` by oneDNN; the protocol has the operators' contracts. Safe in many threads.

    `plans` bounds how many compiled operations are kept, `packed_bytes` the packed weights.
    Raises OSError where oneDNN cannot be loaded: ask `available()` first.
    """

    name = "onednn"
    fused_activations = FUSED

    def __init__(self, plans: int = 1024, packed_bytes: int = 2 << 30) -> None:
        self._library = load()
        self._fallback = FallbackOps()
        self._store = Store(self._library, plans, packed_bytes)

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
        numbers = (tuple(stride), tuple(padding), tuple(dilation), groups)
        if residual is not None and out is not None and np.may_share_memory(residual, out):
            same = address(residual) == address(out) and residual.strides == out.strides
            residual = out if same else residual.copy()
        key = (
            *("forward", _key(x), _key(weight), _key(bias), _key(residual), _key(out)),
            *(numbers, activation, residual is out, channels_last),
        )
        inputs = [array for array in (x, weight, bias, residual) if array is not None]

        def build() -> Plan | None:
            check_activation(activation)
            shape = check_convolution(x.shape, weight.shape, *numbers)
            if bias is not None and bias.shape != shape[1:2]:
                raise ValueError(f"bias has shape {bias.shape}, the convolution needs {shape[1:2]}")
            if residual is not None and residual.shape != shape:
                raise ValueError(f"residual has shape {residual.shape}, the result {shape}")
            last = is_channels_last(x) if channels_last is None else channels_last

            def make(data_type: int, used: Sequence[np.ndarray], target: np.ndarray) -> Made:
                geometry = convolution.Geometry(x.shape, weight.shape, shape, *numbers, data_type)
                return convolution.forward(
                    *(self._library, geometry, used, target),
                    bias=bias is not None,
                    residual=residual is not None,
                    activation=activation,
                )

            return self._plan(make, inputs, shape, last, out, 1)

        plan = self._store.plan(key, build)
        if plan is not None:
            return self._store.run(plan, inputs, out, weight_key)
        return self._fallback.convolution(
            *(x, weight, bias, *numbers),
            activation=activation,
            residual=residual,
            out=out,
            channels_last=channels_last,
        )

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
        numbers = (tuple(stride), tuple(padding), tuple(dilation), groups)
        shape = tuple(x_shape)
        key = ("input", _key(grad_out), _key(weight), _key(out), shape, numbers, channels_last)
        inputs = (grad_out, weight)

        def build() -> Plan | None:
            check_convolution_grad(grad_out.shape, shape, weight.shape, *numbers)
            last = is_channels_last(grad_out) if channels_last is None else channels_last

            def make(data_type: int, used: Sequence[np.ndarray], target: np.ndarray) -> Made:
                geometry = convolution.Geometry(
                    shape, weight.shape, grad_out.shape, *numbers, data_type
                )
                return convolution.input_grad(self._library, geometry, used, target), None

            return self._plan(make, inputs, shape, last, out, 1)

        plan = self._store.plan(key, build)
        if plan is not None:
            return self._store.run(plan, inputs, out, weight_key)
        return self._fallback.convolution_input_grad(
            *(grad_out, weight, shape, *numbers), out=out, channels_last=channels_last
        )

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
        shape = tuple(weight_shape)
        x, stride = _visited(x, shape, stride, padding)
        numbers = (tuple(stride), tuple(padding), tuple(dilation), groups)
        key = ("weight", _key(grad_out), _key(x), _key(out), shape, numbers)
        inputs = (grad_out, x)

        def build() -> Plan | None:
            check_convolution_grad(grad_out.shape, x.shape, shape, *numbers)

            def make(data_type: int, used: Sequence[np.ndarray], target: np.ndarray) -> Made:
                geometry = convolution.Geometry(x.shape, shape, grad_out.shape, *numbers, data_type)
                return convolution.weight_grad(self._library, geometry, used, target), None

            return self._plan(make, inputs, shape, False, out, None)

        plan = self._store.plan(key, build)
        if plan is not None:
            return self._store.run(plan, inputs, out)
        return self._fallback.convolution_weight_grad(grad_out, x, shape, *numbers, out=out)

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
        if bias is not None and bias.ndim != 1:
            # Only a row vector is part of the primitive; another bias is added afterwards.
            result = self.matmul(a, b, out=out, weight_key=weight_key)
            np.add(result, bias, out=result, casting="unsafe")
            if activation is not None:
                activate(result, activation)
            return result
        key = ("matmul", _key(a), _key(b), _key(bias), _key(out), activation, weight_key is None)
        inputs = (a, b) if bias is None else (a, b, bias)

        def build() -> Plan | None:
            if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
                raise ValueError(
                    f"matmul needs (..., M, K) and (..., K, N), got {a.shape} and {b.shape}"
                )
            check_activation(activation)
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            shape = (*batch, a.shape[-2], b.shape[-1])
            if bias is not None and bias.shape != shape[-1:]:
                raise ValueError(f"bias has shape {bias.shape}, the product needs {shape[-1:]}")
            small = _SMALL if bias is None and activation is None else _SMALL_FUSED
            if a.dtype == np.float32 and math.prod(shape) * a.shape[-1] <= small:
                return None

            def make(data_type: int, used: Sequence[np.ndarray], target: np.ndarray) -> Made:
                vector = used[2] if bias is not None else None
                return matmul.build(
                    *(self._library, used[0], used[1], vector, target, activation),
                    packed=weight_key is not None,
                    data_type=data_type,
                )

            return self._plan(make, inputs, shape, False, out, 1, regular=matmul.regular)

        plan = self._store.plan(key, build)
        if plan is not None:
            return self._store.run(plan, inputs, out, weight_key)
        return self._fallback.matmul(a, b, bias, out=out, activation=activation)

    def forget(self, weight_key: Hashable) -> None:
        self._store.forget(weight_key)

    def clear(self) -> None:
        self._store.clear()

    def set_num_threads(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"the number of threads must be positive, got {count}")
        Threads.count = count
        Threads.generation += 1
        set_blas_threads(count)

    def _plan(
        self,
        make: Make,
        inputs: Sequence[np.ndarray],
        shape: tuple[int, ...],
        channels_last: bool,
        out: np.ndarray | None,
        weight: int | None,
        regular: Callable[[np.ndarray], bool] = layout.regular,
    ) -> Plan | None:
        """The plan for a call that has been checked, or None where the fallback has to do it."""
        if out is not None and out.shape != shape:
            raise ValueError(f"out has shape {out.shape}, the result {shape}")
        known = [*inputs] if out is None else [*inputs, out]
        if any(array.dtype not in DATA_TYPES or array.size == 0 for array in known) or 0 in shape:
            return None
        if out is not None and (not regular(out) or layout.overlaps(out)):
            return None
        used = [array if regular(array) else np.ascontiguousarray(array) for array in inputs[:2]]
        used += [
            array if layout.regular(array) else np.ascontiguousarray(array) for array in inputs[2:]
        ]
        copies = tuple(new is not old for new, old in zip(used, inputs, strict=True))
        dtype = inputs[0].dtype
        target = new_activations(shape, dtype, channels_last) if out is None else out
        operation: Operation | None = None
        left: Activation = None
        # Half types natively where the CPU has kernels for them, else widened by the reorders.
        for data_type in dict.fromkeys((DATA_TYPES[dtype], F32)):
            try:
                operation, left = make(data_type, used, target)
            except OneDNNError as error:
                if error.status != UNIMPLEMENTED:
                    raise
                continue
            if not operation.primitive.reference:
                break
        if operation is None or "ref" in operation.primitive.implementation:
            return None
        packed = None
        if weight is not None:
            target_layout = operation.packed_layout(weight)
            if target_layout is not None:
                number = self._store.layout_number(_key(used[weight]), target_layout)
                packed = (weight, number)
        copying = copies if any(copies) else None
        return Plan(operation, copying, shape, dtype, channels_last, packed, left)
