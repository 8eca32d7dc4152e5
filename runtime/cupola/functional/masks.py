"""Where a tensor is not 0, and what a mask selects, fills or scatters."""

from __future__ import annotations

from typing import Any

from cupola import dtypes, engine
from cupola.functional._convert import (
    broadcast_shapes,
    cast_node,
    expand_node,
    one_dtype,
)
from cupola.functional._register import PUBLIC, deliver, operator
from cupola.functional.strides import row_major
from cupola.ir import source
from cupola.ops import elementwise as ew
from cupola.ops import index as ix
from cupola.ops import movement as mv
from cupola.tensor import Tensor, wrap


def nonzero(input: Tensor, *, out: Any = None, as_tuple: bool = False) -> Any:
    """Positions of elements that are not 0, as rows or as one tensor a dimension (torch.nonzero).

    The number of positions decides the result's shape, so pending work runs here.
    """
    node = input.node
    count = int(engine.to_numpy(ix.count_nonzero(node)))
    found = wrap(ix.nonzero(node, count=count))
    if not isinstance(out, Tensor | None):
        raise TypeError(f"nonzero(): argument 'out' must be Tensor, not {type(out).__name__}")
    if as_tuple and out is not None:
        raise RuntimeError("nonzero does not support the out kwarg when as_tuple is True")
    if as_tuple:
        if input.ndim == 0:
            return (wrap(source.const(0, (count,), dtypes.int64, input.device)),)
        return tuple(wrap(mv.reshape(c.node, shape=(count,))) for c in found.unbind(1))
    return found if out is None else deliver(found, out, exact=True)


PUBLIC["nonzero"] = Tensor.nonzero = nonzero


@operator
def argwhere(input: Tensor) -> Tensor:
    """Positions of elements that are not 0, as rows (torch.argwhere)."""
    return nonzero(input)


@operator(out=True, apart=True)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds (torch.masked_select)."""
    if mask.dtype is not dtypes.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast_shapes(input._n.shape, mask._n.shape) or (1,)
    return input.expand(shape)[mask.expand(shape)]


def _check_scalar(is_complex: bool, dtype: Any) -> None:
    """Raises RuntimeError for a complex number that has to become a real one."""
    if is_complex and not dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


@operator(inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where the mask holds (torch.masked_fill)."""
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype.name}"
        )
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        _check_scalar(value.dtype.is_complex, input.dtype)
        v = cast_node(value.node, input.dtype)
    else:
        _check_scalar(isinstance(value, complex), input.dtype)
        v = source.const(source.rounded(value, input.dtype), (), input.dtype, input.device)
    shape = broadcast_shapes(input._n.shape, mask._n.shape)
    filled = ew.where(
        expand_node(mask.node, shape), expand_node(v, shape), expand_node(input.node, shape)
    )
    return row_major(wrap(filled))


@operator(inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source_: Tensor) -> Tensor:
    """Elements of ``source`` in order where the mask holds (torch.masked_scatter).

    Raises:
        RuntimeError: the mask is not bool, or the source has too few elements.
    """
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}"
        )
    one_dtype("masked_scatter", input, source_)
    shape = broadcast_shapes(input._n.shape, mask._n.shape)
    wide = mask.expand(shape)
    if source_.numel() < wide.numel() and int(wide.sum()) > source_.numel():
        raise RuntimeError("masked_scatter: source has fewer elements than the mask has ones")
    taken = wide.reshape(-1).to(dtypes.int64).cumsum(0).sub(1).clamp(min=0).reshape(shape)
    picked = wrap(ix.index_rows(mv.reshape(source_.node, shape=(source_.numel(),)), taken.node))
    return row_major(wrap(ew.where(wide.node, picked.node, expand_node(input.node, shape))))
