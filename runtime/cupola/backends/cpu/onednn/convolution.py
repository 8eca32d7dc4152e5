"""Choosing the primitive and the layouts of a convolution and of its two gradients.

What was measured (AVX2 and AVX-512, oneDNN 3.2): forward and input gradient are fastest, or within
noise of it, in channels-last with a packed weight; the weight gradient of a kernel larger than one
element is a quarter to a half faster in the layouts oneDNN picks itself; few channels in a group
have no channels-last kernel, and there the plain layout with im2col wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cupola.backends.cpu.heavy import Activation, Pads, channels_last_strides, contiguous_strides
from cupola.backends.cpu.onednn import layout
from cupola.backends.cpu.onednn.attributes import FIRST_OPERAND, Attributes, fused
from cupola.backends.cpu.onednn.library import UNIMPLEMENTED, Dims, Library, OneDNNError
from cupola.backends.cpu.onednn.operation import PRELOAD, Operation
from cupola.backends.cpu.onednn.primitive import (
    BIAS,
    CONVOLUTION_DIRECT,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Descriptor,
    Primitive,
)

LAYOUTS = {"last": channels_last_strides, "plain": contiguous_strides}


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution's shapes and numbers, and the data type to compute in."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    result: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    groups: int
    data_type: int

    def tail(self) -> tuple[object, ...]:
        """The last numbers every descriptor takes. Low padding is given.

        The high one is what the result needs.
        """
        low = [pair[0] for pair in self.padding]
        return (
            Dims(*self.stride),
            Dims(*(d - 1 if k > 1 else 0 for d, k in zip(self.dilation, self.weight[2:]))),
            Dims(*low),
            Dims(*self.high()),
        )

    def high(self) -> list[int]:
        """The high padding with which the windows end exactly at the padded input's end.

        May be negative.
        """
        return [
            (o - 1) * s + d * (k - 1) + 1 - n - low
            for o, s, d, k, n, (low, _) in zip(
                *(
                    self.result[2:],
                    self.stride,
                    self.dilation,
                    self.weight[2:],
                    self.x[2:],
                    self.padding,
                ),
                strict=True,
            )
        ]

    def check(self) -> None:
        """Raises OneDNNError where x exceeds what the windows need by a stride or more."""
        if any(high <= -s for high, s in zip(self.high(), self.stride)):
            raise OneDNNError("convolution", UNIMPLEMENTED)

    def pointwise(self) -> bool:
        """A kernel of one element: a matrix product at every position."""
        return math.prod(self.weight[2:]) == 1

    def padded(self) -> bool:
        return any(any(pair) for pair in self.padding)

    def in_place(self, *arrays: np.ndarray) -> bool:
        """Whether it is one matrix product of contiguous arrays, best done as they lie."""
        return (
            self.pointwise()
            and (max(self.stride), self.groups) == (1, 1)
            and not self.padded()
            and not any(layout.fits_channels_last(array) for array in arrays)
        )

    def strided_stem(self) -> bool:
        """A strided convolution of few channels (an image's).

        Its input gradient wants the plain layout.
        """
        return self.weight[1] < 8 and max(self.stride) > 1


def _activations(library: Library, shape: Sequence[int], kind: str, data_type: int) -> Descriptor:
    if kind == "any":
        return Descriptor.any(library, shape, data_type)
    return Descriptor.strided(library, shape, LAYOUTS[kind](shape), data_type)


def _choose(kinds: Sequence[str], build: Callable[[str], Primitive]) -> Primitive:
    """The first layout that has a kernel of its own; else the last one that can be built at all."""
    found: Primitive | None = None
    for kind in kinds:
        try:
            candidate = build(kind)
        except OneDNNError as error:
            if error.status != UNIMPLEMENTED:
                raise
            continue
        if not candidate.reference:
            return candidate
        found = candidate
    if found is None:
        raise OneDNNError("convolution", UNIMPLEMENTED)
    return found


def _forward(
    library: Library,
    geometry: Geometry,
    kind: str,
    bias: bool = False,
    residual: str | None = None,
    activation: Activation = None,
) -> Primitive:
    """The forward primitive.

    `residual` is None, "binary" (read beside the result) or "sum" (in the result).
    """
    geometry.check()
    data_type = geometry.data_type
    attributes = Attributes(library)
    arguments = [SRC, WEIGHTS, DST]
    result = _activations(library, geometry.result, kind, data_type)
    vector = Descriptor.strided(library, geometry.result[1:2], (1,), data_type) if bias else None
    if bias:
        arguments.append(BIAS)
    if residual == "sum":
        attributes.sum()
    elif residual == "binary":
        attributes.add(result)
        arguments.append(FIRST_OPERAND)
    if activation is not None:
        attributes.activation(activation, len(geometry.x))
    return Primitive(
        library,
        arguments,
        "convolution_forward",
        *(library.engine, FORWARD_TRAINING, CONVOLUTION_DIRECT),
        _activations(library, geometry.x, kind, data_type),
        Descriptor.any(library, layout.grouped(geometry.weight, geometry.groups), data_type),
        vector,
        result,
        *geometry.tail(),
        attributes,
        constants=attributes.constants,
    )


def forward(
    library: Library,
    geometry: Geometry,
    inputs: Sequence[np.ndarray],
    out: np.ndarray,
    *,
    bias: bool,
    residual: bool,
    activation: Activation,
) -> tuple[Operation, Activation]:
    """The operation for `HeavyOps.convolution`: inputs x, weight, then bias and residual if any.

    Gives also the activation that is left to do: what the primitive cannot do fast, or not as
    PyTorch does it.
    """
    target = layout.activations(library, out)
    mode = None
    if residual:
        added = layout.activations(library, inputs[-1])
        strides = channels_last_strides(out.shape)
        last = Descriptor.strided(library, out.shape, strides, geometry.data_type)
        # Reading the residual beside the result saves a pass; where it must be reordered, or lies
        # in the result already, accumulating into the result does.
        mode = "binary" if inputs[-1] is not out and added == last == target else "sum"

    kinds = ("plain",) if geometry.in_place(inputs[0], out) else ("last", "any", "plain")

    def choose(mode: str | None, activation: Activation) -> Primitive:
        return _choose(
            kinds,
            lambda kind: _forward(library, geometry, kind, bias, mode, activation),
        )

    inside = activation if fused(activation) else None
    primitive = choose(mode, inside)
    if primitive.reference and (
        mode or inside
    ):  # im2col kernels: "sum" only, and other post-ops slowly
        mode, inside = "sum" if mode else None, None
        primitive = choose(mode, inside)
    described = [
        (SRC, layout.activations(library, inputs[0])),
        (WEIGHTS, layout.weights(library, inputs[1], geometry.groups)),
    ]
    if bias:
        described.append((BIAS, layout.vector(library, inputs[2])))
    if residual:
        described.append((FIRST_OPERAND if mode == "binary" else PRELOAD, added))
    operation = Operation(library, primitive, described, (DST, target))
    return operation, None if inside else activation


def input_grad(
    library: Library, geometry: Geometry, inputs: Sequence[np.ndarray], out: np.ndarray
) -> Operation:
    """The operation for `HeavyOps.convolution_input_grad`: inputs grad_out, weight."""

    def build(kind: str) -> Primitive:
        hint = _forward(library, geometry, kind)
        attributes = Attributes(library)
        data_type = geometry.data_type
        return Primitive(
            library,
            (DIFF_DST, WEIGHTS, DIFF_SRC),
            "convolution_backward_data",
            *(library.engine, CONVOLUTION_DIRECT),
            _activations(library, geometry.x, kind, data_type),
            Descriptor.any(library, layout.grouped(geometry.weight, geometry.groups), data_type),
            _activations(library, geometry.result, kind, data_type),
            *geometry.tail(),
            *(hint.description, attributes),
        )

    plain = geometry.strided_stem() or geometry.in_place(inputs[0], out)
    primitive = build("plain") if plain else _choose(("last", "any", "plain"), build)
    described = [
        (DIFF_DST, layout.activations(library, inputs[0])),
        (WEIGHTS, layout.weights(library, inputs[1], geometry.groups)),
    ]
    return Operation(library, primitive, described, (DIFF_SRC, layout.activations(library, out)))


def weight_grad(
    library: Library, geometry: Geometry, inputs: Sequence[np.ndarray], out: np.ndarray
) -> Operation:
    """The operation for `HeavyOps.convolution_weight_grad`: inputs grad_out, x."""

    def build(kind: str) -> Primitive:
        hint = _forward(library, geometry, kind)
        attributes = Attributes(library)
        data_type = geometry.data_type
        return Primitive(
            library,
            (DIFF_DST, SRC, DIFF_WEIGHTS),
            "convolution_backward_weights",
            *(library.engine, CONVOLUTION_DIRECT),
            _activations(library, geometry.x, kind, data_type),
            Descriptor.any(library, layout.grouped(geometry.weight, geometry.groups), data_type),
            None,
            _activations(library, geometry.result, kind, data_type),
            *geometry.tail(),
            *(hint.description, attributes),
        )

    if geometry.in_place(*inputs):
        primitive = build("plain")
    else:
        pointwise = geometry.pointwise()
        primitive = _choose(("last", "any", "plain") if pointwise else ("any", "last"), build)
    described = [
        (DIFF_DST, layout.activations(library, inputs[0])),
        (SRC, layout.activations(library, inputs[1])),
    ]
    target = layout.weights(library, out, geometry.groups)
    return Operation(library, primitive, described, (DIFF_WEIGHTS, target))
