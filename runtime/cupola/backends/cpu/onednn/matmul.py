"""Describing a broadcast, strided matrix product to oneDNN: few dimensions, few copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cupola.backends.cpu.heavy import Activation, contiguous_strides
from cupola.backends.cpu.onednn.attributes import Attributes, fused
from cupola.backends.cpu.onednn.layout import overlaps
from cupola.backends.cpu.onednn.library import UNIMPLEMENTED, Library, OneDNNError
from cupola.backends.cpu.onednn.operation import Operation
from cupola.backends.cpu.onednn.primitive import (
    BIAS,
    DATA_TYPES,
    DST,
    SRC,
    WEIGHTS,
    Descriptor,
    Primitive,
)

MAX_BATCH_DIMS = 10


@dataclass(slots=True)
class _Axes:
    """The batch axes of a product, outermost first, with everyone's strides in elements."""

    sizes: list[int]
    a: list[int]
    b: list[int]
    out: list[int]


@dataclass(slots=True)
class _Operand:
    """One array as oneDNN sees it: shape and strides (elements)."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def descriptor(self, library: Library, data_type: int) -> Descriptor:
        return Descriptor.strided(library, self.shape, self.strides, data_type)


def _batch(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> _Axes:
    """The batch axes longer than 1, neighbours merged where all three arrays allow it.

    Broadcast means stride 0.
    """

    def strides(array: np.ndarray) -> list[int]:
        known = [
            0 if size == 1 else stride // array.itemsize
            for size, stride in zip(array.shape[:-2], array.strides[:-2], strict=True)
        ]
        return [0] * (out.ndim - array.ndim) + known

    axes = _Axes([], [], [], [])
    lists = (axes.a, axes.b, axes.out)
    for size, *steps in zip(out.shape[:-2], strides(a), strides(b), strides(out), strict=True):
        if size == 1:
            continue
        if axes.sizes and all(
            have[-1] == step * size for have, step in zip(lists, steps, strict=True)
        ):
            axes.sizes[-1] *= size
            for have, step in zip(lists, steps, strict=True):
                have[-1] = step
        else:
            axes.sizes.append(size)
            for have, step in zip(lists, steps, strict=True):
                have.append(step)
    return axes


def _matrix(array: np.ndarray) -> tuple[int, int]:
    """The strides of the last two axes.

    An axis of size 1 gets the one that makes the matrix look dense.
    """
    rows, columns = array.shape[-2:]
    row, column = (stride // array.itemsize for stride in array.strides[-2:])
    if columns == 1:
        column = 1 if rows == 1 or row != 1 else rows
    if rows == 1:
        row = columns if column == 1 else 1
    return row, column


def _dense(rows: int, columns: int, row: int, column: int) -> bool:
    """Whether a GEMM can read the matrix in place: one axis dense, the other not overlapping it."""
    return (column == 1 and row >= columns) or (row == 1 and column >= rows)


def regular(array: np.ndarray) -> bool:
    """Whether oneDNN can read these matrices in place.

    Their batch axes may be broadcast (stride 0).
    """
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        return False
    rows, columns = array.shape[-2:]
    return _dense(rows, columns, *_matrix(array)) and not overlaps(array, broadcast=True)


def build(
    library: Library,
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    activation: Activation,
    packed: bool,
    data_type: int,
) -> tuple[Operation, Activation]:
    """The operation for `HeavyOps.matmul` on `regular` arrays: inputs a, b, then bias (N,) if any.

    `packed` lets the primitive choose b's layout. Gives also the activation that is left to do.
    Raises OneDNNError where it cannot be described.
    """
    axes = _batch(a, b, out)
    m, n, k = a.shape[-2], b.shape[-1], a.shape[-1]
    (a_row, a_column), (out_row, out_column) = _matrix(a), _matrix(out)
    # Where b does not vary along the innermost batch axis, that axis is only more rows of one
    # product.
    while axes.sizes and axes.b[-1] == 0:
        size, a_step, out_step = axes.sizes[-1], axes.a[-1], axes.out[-1]
        if m == 1:
            rows, a_next, out_next = size, a_step, out_step
        elif a_step == a_row * m and out_step == out_row * m:
            rows, a_next, out_next = size * m, a_row, out_row
        else:
            break
        if not (_dense(rows, k, a_next, a_column) and _dense(rows, n, out_next, out_column)):
            break
        m, a_row, out_row = rows, a_next, out_next
        for values in (axes.sizes, axes.a, axes.b, axes.out):
            values.pop()
    if len(axes.sizes) > MAX_BATCH_DIMS:
        raise OneDNNError("matmul", UNIMPLEMENTED)

    def operand(steps: list[int], shape: tuple[int, int], strides: tuple[int, int]) -> _Operand:
        # A broadcast axis has size 1, and the stride it would have in a dense array.
        sizes = tuple(size if step else 1 for size, step in zip(axes.sizes, steps, strict=True))
        dense = contiguous_strides((*sizes, *shape))
        known = (step or default for step, default in zip(steps, dense, strict=False))
        return _Operand((*sizes, *shape), (*known, *strides))

    operands = [
        (SRC, operand(axes.a, (m, k), (a_row, a_column))),
        (WEIGHTS, operand(axes.b, (k, n), _matrix(b))),
    ]
    if bias is not None:
        ones = (1,) * (len(axes.sizes) + 1)
        operands.append((BIAS, _Operand((*ones, n), (*(n for _ in ones), 1))))
    result = operand(axes.out, (m, n), (out_row, out_column))

    def primitive_with(activation: Activation, weights: Descriptor | None) -> Primitive:
        return _primitive(library, operands, result, activation, weights, data_type)

    inside = activation if fused(activation) else None
    weights = Descriptor.any(library, operands[1][1].shape, data_type) if packed else None
    primitive = primitive_with(inside, weights)
    if inside and "ref" in primitive.implementation:
        inside = None
        primitive = primitive_with(inside, weights)
    if packed and "gemm" in primitive.implementation:
        # This one reads plain matrices only. Rows that are no power of two apart do not compete for
        # the same sets of the cache: 10 to 20 % faster than dense ones.
        weights = _padded_rows(operands[1][1]).descriptor(library, data_type)
        primitive = primitive_with(inside, weights)
    code = DATA_TYPES[a.dtype]
    inputs = [(number, each.descriptor(library, code)) for number, each in operands]
    operation = Operation(library, primitive, inputs, (DST, result.descriptor(library, code)))
    return operation, None if inside else activation


def _padded_rows(matrix: _Operand) -> _Operand:
    """The same shape in row-major order, each row a few cache lines longer than it needs to be."""
    *batch, rows, columns = matrix.shape
    strides = contiguous_strides((*batch, rows, -(-columns // 16) * 16 + 16))
    return _Operand(matrix.shape, strides)


def _primitive(
    library: Library,
    operands: list[tuple[int, _Operand]],
    result: _Operand,
    activation: Activation,
    weights: Descriptor | None,
    data_type: int,
) -> Primitive:
    attributes = Attributes(library)
    if activation is not None:
        attributes.activation(activation, len(result.shape))
    by_number = {number: each.descriptor(library, data_type) for number, each in operands}
    if weights is not None:
        by_number[WEIGHTS] = weights
    return Primitive(
        library,
        (*by_number, DST),
        "matmul",
        library.engine,
        by_number[SRC],
        by_number[WEIGHTS],
        by_number.get(BIAS),
        result.descriptor(library, data_type),
        attributes,
        constants=attributes.constants,
    )
