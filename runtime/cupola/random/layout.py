"""Where draws go: torch fills a tensor in the order of its memory, not of its indices.

Strides count elements, as ``Tensor.stride()`` does; None stands for a contiguous tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def is_contiguous(shape: Sequence[int], strides: Sequence[int] | None) -> bool:
    """Whether row-major order is memory order (Tensor.is_contiguous)."""
    if strides is None or 0 in shape:
        return True
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def inner_first(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Dimensions from innermost to outermost in memory, as TensorIterator walks them.

    Dimensions of equal stride go by size; a dimension of stride 0 is compared with none.
    """
    order = list(range(len(shape)))[::-1]
    for start in range(1, len(order)):
        # An insertion sort, because a stride of 0 leaves the order partial and sorted() would
        # then settle it in another way.
        moving = start
        for at in range(start - 1, -1, -1):
            a, b = order[at], order[moving]
            if strides[a] == 0 or strides[b] == 0:
                continue
            if strides[a] < strides[b]:
                break
            if strides[a] > strides[b] or shape[a] > shape[b]:
                order[at], order[moving] = b, a
                moving = at
    return order


def in_layout(
    values: np.ndarray, shape: Sequence[int], strides: Sequence[int] | None
) -> np.ndarray:
    """Arrange ``values``, in the order drawn, as the tensor that they fill; copies nothing.

    Shapes: values (prod(shape),) -> shape.
    """
    shape = tuple(shape)
    if strides is None or is_contiguous(shape, strides):
        return values.reshape(shape)
    order = inner_first(shape, strides)[::-1]
    memory = values.reshape([shape[dim] for dim in order])
    return memory.transpose(np.argsort(order))


def like_strides(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Strides of ``torch.empty_like``: those given if they leave no gaps, else closed up."""
    order = inner_first(shape, strides)
    dense = [0] * len(shape)
    step = 1
    for dim in order:
        dense[dim] = step
        step *= max(shape[dim], 1)
    gapless = all(size == 1 or dense[dim] == strides[dim] for dim, size in enumerate(shape))
    return tuple(strides) if gapless else tuple(dense)
