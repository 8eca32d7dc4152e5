"""Views by another contract: always a copy (``*_copy``), a copy with a part replaced
(``*_scatter``), or pieces that count as fresh tensors (``unsafe_*``); splitting by direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.functional._convert import wrap_dim
from cupola.functional._register import operator, write_into
from cupola.functional.indexing import _slice_bounds
from cupola.functional.joining import chunk, narrow, select, sliced, split, tensor_split, unbind
from cupola.functional.rearrange import as_strided, diagonal
from cupola.functional.shape import permute, squeeze, t, transpose, unsqueeze
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply


def _copied(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_copied(r) for r in result)
    out = apply(mv.copy, result)
    out._n.order = None  # whatever it was a view of
    return out


def _copy_of(name: str, view: Callable[..., Any]) -> None:
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        return _copied(view(input, *args, **kwargs))

    function.__name__ = function.__qualname__ = f"{name}_copy"
    function.__doc__ = f"A copy of what ``{name}`` views (torch.{name}_copy)."
    operator(function, method=False, out=True)


def _slice(input: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    at = (slice(None),) * (dim % max(input.ndim, 1))
    return input[(*at, slice(start, end, step))]


_VIEWS: dict[str, Callable[..., Any]] = {
    "alias": lambda x: x,
    "as_strided": as_strided,
    "detach": lambda x: x.detach(),
    "diagonal": diagonal,
    "expand": lambda x, size, implicit=False: x.expand(size),
    "permute": permute,
    "select": select,
    "slice": _slice,
    "split": split,
    "split_with_sizes": split,
    "squeeze": squeeze,
    "t": t,
    "transpose": transpose,
    "unbind": unbind,
    "unfold": lambda x, dimension, size, step: x.unfold(dimension, size, step),
    "unsqueeze": unsqueeze,
    "view": lambda x, *args, **kwargs: x.view(*args, **kwargs),
}
for _name, _view in _VIEWS.items():
    _copy_of(_name, _view)


@operator(out=True)
def narrow_copy(self: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """A copy of what ``narrow`` views.

    Raises:
        RuntimeError: there is no such dimension, or the range leaves it.
    """
    if dim >= self.ndim:
        raise RuntimeError(f"narrow_copy(): expected dim to be below {self.ndim}, got {dim}")
    made: Tensor = _copied(narrow(self, dim, start, length))
    return made


@operator
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with ``src`` at one position of ``dim`` (torch.select_scatter)."""
    out = input.clone()
    write_into(out.select(dim, index), src.to(out.dtype))
    return out


@operator(out=True)
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy with ``src`` in a slice of ``dim`` (torch.slice_scatter)."""
    out = input.clone()
    d = wrap_dim(dim, input.ndim)
    a, b, s = _slice_bounds(slice(start, end, step), input._n.shape[d])
    write_into(sliced(out, d, a, b, s), src.to(out.dtype))
    return out


@operator
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy with ``src`` on a diagonal (torch.diagonal_scatter)."""
    out = input.clone()
    place = diagonal(out, offset, dim1, dim2)
    _same_size(place, src, "diagonal_scatter")
    write_into(place, src)
    return out


@operator
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy with ``src`` where ``as_strided`` would view (torch.as_strided_scatter)."""
    out = input.clone()
    place = as_strided(out, size, stride, storage_offset)
    _same_size(place, src, "as_strided_scatter")
    write_into(place, src)
    return out


def _same_size(place: Tensor, src: Tensor, name: str) -> None:
    if place._n.shape != src._n.shape:
        raise RuntimeError(
            f"{name}(): expected src to have the size of the part that it replaces, "
            f"{list(place.shape)}, but got {list(src.shape)}"
        )


@operator
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """chunk whose pieces may be changed without harm to the others (torch.unsafe_chunk)."""
    pieces: tuple[Tensor, ...] = _copied(chunk(input, chunks, dim))
    return pieces


@operator(aliases=("unsafe_split_with_sizes",))
def unsafe_split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """split whose pieces may be changed without harm to the others (torch.unsafe_split)."""
    pieces: tuple[Tensor, ...] = _copied(split(tensor, split_size_or_sections, dim))
    return pieces


def _direction(name: str, least: int, dim: int) -> None:
    def function(input: Tensor, *indices_or_sections: Any, **named: Any) -> tuple[Tensor, ...]:
        given = named["indices_or_sections"] if named else indices_or_sections
        if not named and len(given) == 1:
            given = given[0]
        if input.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension"
                f"{'s' * (least > 1)}, but got a tensor with {input.ndim} dimensions!"
            )
        d = 0 if name == "hsplit" and input.ndim == 1 else dim
        n = input._n.shape[d]
        if isinstance(given, int) and (given <= 0 or n % given):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {d}, but the size of the "
                f"dimension {n} is not divisible by the split_size {given}!"
            )
        return tensor_split(input, given, d)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Views along dimension {dim} (torch.{name})."
    operator(function)


_direction("hsplit", 1, 1)
_direction("vsplit", 2, 0)
_direction("dsplit", 3, 2)
