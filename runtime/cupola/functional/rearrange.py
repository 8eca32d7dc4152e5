"""Copies, reversals, triangles, diagonals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.errors import UnsupportedError
from cupola.functional._convert import expand_node, own, wrap_dim
from cupola.functional._register import PUBLIC, operator
from cupola.functional._sizes import integer, ints
from cupola.functional.joining import cat, min_of, sliced
from cupola.functional.shape import _ints, transpose
from cupola.functional.strides import is_contiguous, order_of, phantom, strides
from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.program import strides_of
from cupola.ops import elementwise as ew
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.alias import replay
from cupola.tensor.history import restrided
from cupola.tensor.layout import contiguous_format, preserve_format
from cupola.tensor.reread import IMAG, JOINED, PAIRS, REAL, flat_as


@operator
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy through which gradients flow (torch.clone)."""
    out = apply(mv.copy, input)  # in the same order in memory
    if memory_format not in (None, preserve_format):
        out.node.order = order_of(memory_format, input.ndim)
    return out


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if PyTorch would call it contiguous, else a copy that is.

    Raises:
        RuntimeError: the format asks for 4 (channels_last) or 5 dimensions; or for none in
            particular (preserve_format).
    """
    wanted = contiguous_format if memory_format is None else memory_format
    if wanted is preserve_format and not is_contiguous(self):
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    order = order_of(wanted, self.ndim)
    if is_contiguous(self, wanted):
        return self
    out = apply(mv.copy, self)
    out.node.order = order
    return out


Tensor.contiguous = contiguous  # type: ignore[attr-defined]


@operator
def flip(input: Tensor, *dims: Any) -> Tensor:
    """Reverses the order along dimensions (torch.flip)."""
    axes = tuple(sorted(wrap_dim(d, input.ndim) for d in _ints(dims)))
    return apply(mv.flip, input, dims=axes if input.ndim else ())


@operator
def fliplr(input: Tensor) -> Tensor:
    """Reverses the columns (torch.fliplr)."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@operator
def flipud(input: Tensor) -> Tensor:
    """Reverses the rows (torch.flipud)."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@operator
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shifts elements along dimensions, wrapping around (torch.roll)."""
    steps = ints(shifts)
    axes = () if dims is None else ints(dims)
    if not axes:
        if len(steps) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims:0")
        return roll(input.flatten(), steps, 0).reshape(input._n.shape)
    if len(steps) != len(axes):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(axes)}"
        )
    out = input
    for s, d in zip(steps, axes, strict=True):
        d = wrap_dim(d, input.ndim)
        n = input._n.shape[d]
        k = s % n if n else 0
        if k:
            out = cat([sliced(out, d, n - k, n), sliced(out, d, 0, n - k)], d)
    return out if out is not input else clone(input)


@operator
def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Rotates by 90 degrees in a plane (torch.rot90)."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = dims
    if wrap_dim(a, input.ndim) == wrap_dim(b, input.ndim):
        raise RuntimeError(f"expected rotation dims to be different, but got {a} and {b}")
    k %= 4
    if k == 0:
        return clone(input)
    if k == 2:
        return flip(input, a, b)
    return flip(transpose(input, a, b), a if k == 1 else b)


@operator
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view with given strides over the tensor's storage (torch.as_strided)."""
    shape, steps = _ints((size,)), _ints((stride,))
    if len(shape) != len(steps):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in steps):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(steps)}"
        )
    offset = phantom(input)[2] if storage_offset is None else int(storage_offset)
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    return _over_storage(input, shape, steps, offset)


def _over_storage(x: Tensor, shape: Any, steps: Any, offset: int, read: Any = None) -> Tensor:
    """A view of what the tensor is a view of, by places in memory.

    ``read`` is (strides, offset) of the result in a row-major copy of ``x``, where the gradient
    belongs to the elements read (diagonal) and not to all that lie in their places (as_strided).

    Raises:
        RuntimeError: the view would reach beyond the memory.
    """
    root = x if x._base is None else x._base
    shared = root._share()
    storage = shared if x._storage is None else x._storage
    whole = storage.external if storage.external is not None else storage.node
    held = whole.dtype if storage.external is None else dtypes.from_numpy_dtype(whole.dtype)
    room = math.prod(whole.shape) * held.itemsize // x.dtype.itemsize
    reach = offset + sum((n - 1) * s for n, s in zip(shape, steps, strict=True)) + 1
    if 0 not in shape and reach > room:
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(steps)}, storage offset {offset} "
            f"require {reach} elements, the storage has {room}"
        )
    if storage is not shared:  # the root was given other ``data``
        return _foreign(x, shape, steps, offset)
    own = len(root._chain) - len(root._turned)
    start = 0
    if own:  # the root is a detached part of other memory
        _, have, start = phantom(root)
        count = root.numel() * root.dtype.itemsize // x.dtype.itemsize
        start = start * root.dtype.itemsize // x.dtype.itemsize
        inside = offset >= start and (0 in shape or reach <= start + count)
        if root._turned or have != strides_of(root._n.shape) or not inside:
            return _foreign(x, shape, steps, offset)
    out = upright(root)
    if not own and storage.external is None and storage.node.order is not None:
        out = out.view_by(mv.permute, dims=storage.node.order)
    for op, attrs in flat_as(out._n.shape, out.dtype, x.dtype):
        out = out.view_by(op, **attrs)
    out = out.view_by(mv.as_strided, shape=shape, strides=steps, offset=offset - start)
    node = x.node
    if x is not root and mode.grad and node.requires_grad:
        _, have, place = phantom(x)
        there, here = (shape, steps, offset), (node.shape, have, place)
        if read is not None:
            there, here = (shape, *read), (node.shape, strides_of(node.shape), 0)
            room = node.numel
        out._n = restrided(out._n, node, there, here, room)
    out._origin = out._origin or x._origin
    moving = [d for d, n in enumerate(shape) if n != 1]
    if all(steps[d] for d in moving):  # copies lie in memory in the order of the strides
        places = iter(sorted(moving, key=lambda d: -steps[d]))
        order = tuple(next(places) if d in moving else d for d in range(len(shape)))
        out._n.order = None if order == tuple(range(len(shape))) else order
    return out


def upright(x: Tensor) -> Tensor:
    """The tensor before it was turned in place (``t_``), as a view."""
    for op, attrs in x._back:
        x = x.view_by(op, **attrs)
    return x


def _foreign(x: Tensor, shape: Any, steps: Any, offset: int) -> Tensor:
    """A view of the memory of which the tensor is a part, which no chain of movements of its base
    leads to.
    """
    whole = x.detach()
    storage = whole._storage
    assert storage is not None
    chain: Any = ()
    node, array = storage.node, storage.external
    if array is not None:
        if not array.flags.c_contiguous:
            raise UnsupportedError("as_strided", "the tensor is a part of a strided NumPy array")
        node = source.buffer(array.copy(), dtypes.from_numpy_dtype(array.dtype), x.node.device)
    elif node.order is not None:
        chain += ((mv.permute, {"dims": node.order}),)
    chain += flat_as(node.shape, node.dtype, x.dtype)
    whole._chain = (*chain, (mv.as_strided, {"shape": shape, "strides": steps, "offset": offset}))
    whole._n = replay(node, whole._chain)
    if mode.grad and x.node.requires_grad:
        _, have, place = phantom(x)
        there, here = (shape, steps, offset), (x.node.shape, have, place)
        whole._n = restrided(whole._n, x.node, there, here, node.numel)
    whole._base, whole._origin = x if x._base is None else x._base, "beyond"
    whole._counted = x._version
    return whole


@operator(public=False)
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Sliding windows along one dimension, appended as a last dimension."""
    d = wrap_dim(dimension, self.ndim)
    n = self._n.shape[d] if self.ndim else 1
    size, step = integer(size), integer(step)
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if self.ndim == 0:
        return self.reshape(1)[:size]
    moved = self.movedim(d, -1) if d != self.ndim - 1 else self
    out = moved.view_by(mv.window, size=(size,), stride=(step,), dilation=(1,))
    return out.movedim(-2, d) if d != self.ndim - 1 else out


@operator
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids (torch.meshgrid)."""
    xs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if not xs:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in xs:
        if x.ndim > 1:
            raise RuntimeError(
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got a tensor of "
                f"{x.ndim} dimensions"
            )
        if x.dtype is not xs[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            'torch.meshgrid: indexing must be one of "xy" or "ij", but received: ' + indexing
        )
    xs = [x.reshape(1) if x.ndim == 0 else x for x in xs]
    if indexing == "xy" and len(xs) >= 2:
        xs = [xs[1], xs[0], *xs[2:]]
    shape = tuple(x._n.shape[0] for x in xs)
    grids = []
    for k, x in enumerate(xs):
        grids.append(x.reshape(tuple(-1 if i == k else 1 for i in range(len(xs)))).expand(shape))
    if indexing == "xy" and len(xs) >= 2:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def _band(x: Tensor, diagonal: int, keep: Any) -> Tensor:
    node = x.node
    n = node.ndim
    if n < 2:
        raise RuntimeError("tril/triu: input tensor must have at least 2 dimensions")
    zero = source.const(0, node.shape, dtypes.int64, node.device)
    row, column = mv.iota(zero, dim=n - 2), mv.iota(zero, dim=n - 1)
    inside = keep(column, row + diagonal if diagonal else row)
    return wrap(ew.where(inside, node, source.const(0, node.shape, node.dtype, node.device)))


@operator(inplace=True, out=True)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Lower triangle, zeros above (torch.tril)."""
    return _band(input, diagonal, ew.le)


@operator(inplace=True, out=True)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Upper triangle, zeros below (torch.triu)."""
    return _band(input, diagonal, ew.ge)


def _triangle_indices(keep: Any, name: str) -> Any:
    def function(
        row: int,
        col: int,
        offset: int = 0,
        *,
        dtype: Any = dtypes.int64,
        device: Any = None,
        layout: Any = None,
    ) -> Tensor:
        from cupola.tensor.create import of_array

        return of_array(np.stack(keep(row, offset, col)).astype(dtypes.asked(dtype).np), device)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Positions of a triangle of a matrix, as two rows (torch.{name})."
    return function


PUBLIC["tril_indices"] = _triangle_indices(np.tril_indices, "tril_indices")
PUBLIC["triu_indices"] = _triangle_indices(np.triu_indices, "triu_indices")


@operator
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of a diagonal, as the last dimension (torch.diagonal)."""
    _ = input.node  # a view that must not be used any more says so first
    n, offset = input.ndim, integer(offset)
    a, b = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = input._n.shape
    start = phantom(input)[2]
    length = min_of(size[a], size[b] - offset) if offset >= 0 else min_of(size[a] + offset, size[b])
    length = length if length > 0 else 0
    shape = tuple(s for i, s in enumerate(size) if i not in (a, b)) + (length,)

    def along(step: Any) -> tuple[tuple[int, ...], int]:
        """Strides and offset of the diagonal of what has these strides."""
        skip = (offset * step[b] if offset >= 0 else -offset * step[a]) if length else 0
        others = tuple(s for i, s in enumerate(step) if i not in (a, b))
        return (*others, step[a] + step[b]), skip

    steps, skip = along(strides(input))
    return _over_storage(input, shape, steps, start + skip, along(strides_of(size)))


@operator(out=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix of a diagonal (torch.diag)."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return diag_embed(input, diagonal) if input.ndim == 1 else input.diagonal(diagonal).clone()


@operator
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension on a diagonal (torch.diag_embed)."""
    offset = integer(offset)
    n = input._n.shape[-1] + (offset if offset >= 0 else -offset)
    wide = source.const(0, (n, n), dtypes.int64, input.device)
    on = (
        ew.eq(mv.iota(wide, dim=1), mv.iota(wide, dim=0) + offset)
        if offset
        else ew.eq(mv.iota(wide, dim=1), mv.iota(wide, dim=0))
    )
    padded = mv.pad(
        input.node,
        pairs=((0, 0),) * (input.ndim - 1) + ((offset if offset >= 0 else -offset, 0),),
        value=0,
    )
    shape = (*input._n.shape[:-1], n, n)
    across = offset >= 0  # the padded vector runs along columns, else along rows
    lead = input._n.shape[:-1]
    spread = mv.reshape(padded, shape=(*lead, 1, n) if across else (*lead, n, 1))
    rows = mv.expand(spread, shape=shape)
    made = wrap(
        ew.where(expand_node(on, shape), rows, source.const(0, shape, input.dtype, input.device))
    )
    total = made.ndim
    places = (wrap_dim(dim1, total), wrap_dim(dim2, total))
    return made if places == (total - 2, total - 1) else own(made.movedim((-2, -1), places), made)


@operator
def view_as_real(input: Tensor) -> Tensor:
    """A view of real and imaginary parts as a last dimension of size 2 (torch.view_as_real).

    Raises:
        RuntimeError: the tensor is real.
    """
    if not input.dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return input.view_by(PAIRS)


@operator
def view_as_complex(input: Tensor) -> Tensor:
    """A view of a last dimension of size 2 as complex numbers (torch.view_as_complex).

    Raises:
        RuntimeError: the tensor is not of floating point dtype, or its pairs do not lie side by
            side in memory.
    """
    if input.dtype not in (dtypes.float16, dtypes.float32, dtypes.float64):
        raise RuntimeError(
            "view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of {input.dtype}"
        )
    _, steps, offset = phantom(input)
    if not input.ndim:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input._n.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if steps[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % 2 for s in steps[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    return input.view_by(JOINED)


@operator(method=False)
def real(input: Tensor) -> Tensor:
    """A view of the real part; of a real tensor the tensor itself (torch.real)."""
    return input.view_by(REAL) if input.dtype.is_complex else input


@operator(method=False)
def imag(input: Tensor) -> Tensor:
    """A view of the imaginary part of a complex tensor (torch.imag).

    Raises:
        RuntimeError: the tensor is real.
    """
    if not input.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return input.view_by(IMAG)


@operator(method=False)
def numel(input: Tensor) -> int:
    """Number of elements (torch.numel)."""
    return input.numel()


def _set_real(self: Tensor, value: Tensor) -> None:
    real(self).copy_(value)  # type: ignore[attr-defined]


def _set_imag(self: Tensor, value: Tensor) -> None:
    imag(self).copy_(value)  # type: ignore[attr-defined]


Tensor.real = property(real, _set_real)  # type: ignore[attr-defined]
Tensor.imag = property(imag, _set_imag)  # type: ignore[attr-defined]
