"""Reductions (torch's "Reduction Ops")."""

from __future__ import annotations

import builtins
import functools
import math
from typing import Any, NamedTuple

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.functional._convert import cast_node, wrap_dim, wrap_dims
from cupola.functional._register import PUBLIC, deliver, first_tensor, operator, settled
from cupola.functional._results import printed
from cupola.functional.comparison import logical_or, truth
from cupola.functional.pointwise import maximum, minimum, sqrt
from cupola.functional.selection import where
from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import elementwise as ew
from cupola.ops import index as ix
from cupola.ops import movement as mv
from cupola.ops import reduce as rd
from cupola.tensor import Tensor, wrap
from cupola.tensor.composite import as_one
from cupola.tensor.history import lost


class ValuesIndices(tuple[Tensor, Tensor]):
    """A pair ``(values, indices)`` with those names."""

    def __new__(cls, values: Tensor, indices: Tensor) -> ValuesIndices:
        return super().__new__(cls, (values, indices))

    def __reduce__(self) -> tuple[Any, ...]:
        return named, (self.kind, *self)

    @property
    def values(self) -> Tensor:
        return self[0]

    @property
    def indices(self) -> Tensor:
        return self[1]

    def __repr__(self) -> str:
        return f"torch.return_types.{self.kind}(\nvalues={self[0]!r},\nindices={self[1]!r})"

    kind = "max"
    _fields = ("values", "indices")


@functools.cache
def _kind(kind: str) -> type[ValuesIndices]:
    return type(kind, (ValuesIndices,), {"kind": kind})


def named(kind: str, values: Tensor, indices: Tensor) -> ValuesIndices:
    """A values and indices pair that prints as torch's ``return_types.kind``."""
    return _kind(kind)(values, indices)


def _fold(primitive: Primitive, x: Node, dims: tuple[int, ...], keepdim: bool) -> Node:
    """Reduces over ``dims`` (sorted) and drops them unless kept; nothing to do for sizes of 1 is
    left to the engine.
    """
    y = primitive(x, dims=dims) if dims else source.ALIAS(x)
    if keepdim or not dims:
        return y
    return mv.reshape(y, shape=tuple(n for i, n in enumerate(x.shape) if i not in dims))


def _sum_type(x: Tensor, dtype: DType | None) -> Node:
    node = x.node
    if dtype is not None:
        return cast_node(node, dtype)
    return cast_node(node, dtypes.int64) if node.dtype.category < 2 else node


@operator(out=True, adopt=True)
def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Sum over all or some dimensions; integers sum as int64 (torch.sum)."""
    dim, keepdim = _axis(dim, axis, keepdim, keepdims)
    node = _sum_type(input, dtype)
    return wrap(_fold(rd.sum, node, wrap_dims(dim, node.ndim), keepdim))


def _axis(dim: Any, axis: Any, keepdim: bool, keepdims: bool | None) -> tuple[Any, bool]:
    return (axis if dim is None else dim), (keepdim if keepdims is None else keepdims)


@operator(out=True, refusal=NotImplementedError)
def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Sum that counts NaN as 0 (torch.nansum)."""
    x = where(input.isnan(), 0, input) if input.dtype.category >= 2 else input
    return sum(x, dim, keepdim, dtype=dtype)


def _count(x: Node, dims: tuple[int, ...]) -> int:
    n = 1
    for d in dims:
        n *= x.shape[d]
    return n


@operator(out=True)
def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    axis: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Mean over all or some dimensions (torch.mean).

    Raises:
        RuntimeError: integer input without ``dtype``.
    """
    dim, keepdim = _axis(dim, axis, keepdim, keepdims)
    node = input.node if dtype is None else cast_node(input.node, dtype)
    if node.dtype.category < 2:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point "
            "or complex dtype. Got: "
            f"{_title(node.dtype)}"
        )
    dims = wrap_dims(dim, node.ndim)
    count = _count(node, dims)
    total = _fold(rd.sum, node, dims, keepdim)
    return (
        wrap(total * (1.0 / count if count else math.nan))
        if _exact(count)
        else wrap(total / float(count or math.nan))
    )


def _exact(n: int) -> bool:
    """Whether multiplying by 1 / n equals dividing by n: powers of two."""
    return n > 0 and n & (n - 1) == 0


def _title(d: DType) -> str:
    from cupola.functional._register import scalar_name

    return scalar_name(d)


@operator(out=True, refusal=NotImplementedError)
def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Mean of what is not NaN (torch.nanmean)."""
    count = input.isnan().logical_not().sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype).div(count)


@operator(out=True, adopt=True)
def prod(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Product over all elements or one dimension (torch.prod)."""
    node = _sum_type(input, dtype)
    return wrap(_fold(rd.prod, node, wrap_dims(dim, node.ndim), keepdim))


def _no_empty(x: Tensor, dims: tuple[int, ...], name: str) -> None:
    if builtins.any(x._n.shape[d] == 0 for d in dims):
        if x.ndim and len(dims) == 1:
            raise IndexError(f"{name}(): Expected reduction dim {dims[0]} to have non-zero size.")
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
            "Specify the reduction dim "
            "with the 'dim' argument."
        )


@operator(out=True)
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Maximum; equal maxima share the gradient (torch.amax)."""
    dims = wrap_dims(dim, input.ndim)
    _no_empty(input, dims, "amax")
    return wrap(_fold(rd.amax, input.node, dims, keepdim))


@operator(out=True)
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Minimum; equal minima share the gradient (torch.amin)."""
    dims = wrap_dims(dim, input.ndim)
    _no_empty(input, dims, "amin")
    return wrap(_fold(rd.amin, input.node, dims, keepdim))


@printed("aminmax")
class _AMinMax(NamedTuple):
    min: Tensor
    max: Tensor


@operator(out=True, exact=True)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> _AMinMax:
    """Minimum and maximum (torch.aminmax)."""
    return _AMinMax(
        amin(input, () if dim is None else dim, keepdim),
        amax(input, () if dim is None else dim, keepdim),
    )


def _arg(primitive: Primitive, input: Tensor, dim: int | None, keepdim: bool, name: str) -> Tensor:
    node = input.node
    dims = (
        tuple(range(node.ndim))
        if dim is None
        else ((wrap_dim(dim, node.ndim),) if node.ndim else ())
    )
    if input.numel() == 0:
        if dim is None:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        _no_empty(input, dims, name)
    if not dims:
        from cupola.ir import source

        return wrap(source.const(0, (), dtypes.int64, node.device))
    found = primitive(node, dims=dims)
    if dim is None:
        return wrap(found if keepdim else mv.reshape(found, shape=()))
    return wrap(
        found
        if keepdim
        else mv.reshape(found, shape=node.shape[: dims[0]] + node.shape[dims[0] + 1 :])
    )


@operator(out=True, exact=True)
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Position of the first maximum, in the flattened tensor or along one dimension
    (torch.argmax).
    """
    return _arg(rd.argmax, input, dim, keepdim, "argmax")


@operator(out=True, exact=True)
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Position of the first minimum (torch.argmin)."""
    return _arg(rd.argmin, input, dim, keepdim, "argmin")


def _extreme(input: Tensor, args: tuple[Any, ...], kw: dict[str, Any], name: str) -> Any:
    """max and min take nothing, another tensor, or a dimension."""
    out = kw.pop("out", None)
    other = kw.pop("other", None)
    dim = kw.pop("dim", kw.pop("axis", None))
    keepdim = kw.pop("keepdim", False)
    first_tensor(name, input)
    if args:
        if isinstance(args[0], Tensor):
            other = args[0]
        else:
            dim = args[0]
            keepdim = args[1] if len(args) > 1 else keepdim
    if other is not None:
        result: Any = (maximum if name == "max" else minimum)(input, other)
    elif dim is None:
        if input.numel() == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        result = (amax if name == "max" else amin)(input)
    else:
        d = wrap_dim(dim, input.ndim)
        if input.ndim == 0:
            result = named(name, input.clone(), argmax(input))
        else:
            _no_empty(input, (d,), name)
            at = _arg(rd.argmax if name == "max" else rd.argmin, input, d, True, name)
            values = wrap(ix.gather(input.node, at.node, dim=d))
            result = named(
                name, values if keepdim else values.squeeze(d), at if keepdim else at.squeeze(d)
            )
    return result if out is None else deliver(result, out)


def max(input: Tensor, *args: Any, **kw: Any) -> Any:
    """Maximum of all elements; along a dimension with its positions; or of two tensors
    (torch.max).
    """
    return _extreme(input, args, kw, "max")


def min(input: Tensor, *args: Any, **kw: Any) -> Any:
    """Minimum of all elements; along a dimension with its positions; or of two tensors
    (torch.min).
    """
    return _extreme(input, args, kw, "min")


for _name, _function in (("max", max), ("min", min)):
    PUBLIC[_name] = _function
    setattr(Tensor, _name, _function)


@operator(out=True, exact=True)
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether some element is true (torch.any)."""
    node = truth(input)
    dims = wrap_dims(dim, node.ndim)
    return _like_bool(_or_and(rd.amax, node, dims, keepdim, False), input)


@operator(out=True, exact=True)
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether every element is true (torch.all)."""
    node = truth(input)
    dims = wrap_dims(dim, node.ndim)
    return _like_bool(_or_and(rd.amin, node, dims, keepdim, True), input)


def _or_and(
    primitive: Primitive, x: Node, dims: tuple[int, ...], keepdim: bool, empty: bool
) -> Node:
    if 0 in [x.shape[d] for d in dims]:
        from cupola.ir import source

        shape = tuple(1 if i in dims else n for i, n in enumerate(x.shape))
        y = source.const(empty, shape, dtypes.bool, x.device)
        return (
            y
            if keepdim
            else mv.reshape(y, shape=tuple(n for i, n in enumerate(x.shape) if i not in dims))
        )
    return _fold(primitive, x, dims, keepdim)


def _like_bool(node: Node, input: Tensor) -> Tensor:
    return wrap(ew.cast(node, dtype=dtypes.uint8)) if input.dtype is dtypes.uint8 else wrap(node)


@operator
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """Number of elements that are not 0 (torch.count_nonzero)."""
    return sum(wrap(truth(input)), dim)


# --- moments


def _moments(
    input: Tensor, dim: Any, unbiased: Any, correction: Any, keepdim: bool, name: str
) -> tuple[Tensor, Tensor]:
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if input.dtype.category < 2:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    node = input.node
    dims = wrap_dims(dim, node.ndim)
    n = _count(node, dims)
    m = mean(input, dims if dims else None, True) if dims else input
    d = input.sub(m)
    square = d.mul(d) if not input.dtype.is_complex else d.mul(d.conj()).real
    left = n - correction
    total = sum(square, dims if dims else None, keepdim) if dims else square
    if left <= 0:
        v = total.mul(math.nan) if left == 0 or n == 0 else total.div(0.0)
    else:
        v = total.div(left)
    return v, (
        m
        if keepdim or not dims
        else m.reshape(tuple(s for i, s in enumerate(node.shape) if i not in dims))
    )


@operator(out=True)
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    """Variance; ``correction`` (1 by default) is subtracted from the number of elements
    (torch.var).
    """
    return _moments(input, dim, unbiased, correction, keepdim, "var")[0]


@operator(out=True)
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> Tensor:
    """Standard deviation (torch.std)."""
    return root(_moments(input, dim, unbiased, correction, keepdim, "std")[0])


@operator
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean (torch.var_mean)."""
    return _moments(input, dim, unbiased, correction, keepdim, "var_mean")


@operator
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean (torch.std_mean)."""
    v, m = _moments(input, dim, unbiased, correction, keepdim, "std_mean")
    return root(v), m


@operator(out=True)
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow (torch.logsumexp)."""
    if input.dtype.category < 2:
        input = input.to(dtypes.get_default_dtype())
    dims = wrap_dims(dim, input.ndim)
    if not dims and not input.dtype.is_complex:
        return input.clone()
    if input.numel() == 0:
        return sum(input.exp(), dim, keepdim).log()
    top = amax(input.real if input.dtype.is_complex else input, dims, True).detach()
    top = where(top.abs().eq(math.inf), 0.0, top)
    total = sum(settled(settled(input.sub(top)).exp()), dims, True)
    out = settled(settled(total).log()).add(top)
    return (
        out
        if keepdim
        else out.reshape(tuple(n for i, n in enumerate(input._n.shape) if i not in dims))
    )


@operator(out=True)
def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    """p-norm of the elements (torch.norm; 'fro' is the 2-norm)."""
    x = input if dtype is None else input.to(dtype)
    if p is None or p == "fro":
        p = 2
    if p == "nuc":
        from cupola.functional.decomposition import nuclear_norm

        return nuclear_norm(x, dim, keepdim)
    return vector_norm(x, p, dim, keepdim)


def vector_norm(
    x: Tensor,
    ord: Any = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Any = None,
) -> Tensor:
    """Vector norm over dimensions (torch.linalg.vector_norm)."""
    if dtype is not None:
        x = x.to(dtype)
    if x.dtype.category < 2:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{_title(x.dtype)}"
        )
    a = x.abs() if x.dtype.is_complex or ord not in (2, 2.0) else x
    if ord == math.inf and 0 in [x._n.shape[d] for d in wrap_dims(dim, x.ndim)]:
        raise RuntimeError(
            "linalg.vector_norm cannot compute the inf norm on an empty tensor because the "
            "operation does not have an identity"
        )
    if ord == math.inf:
        result = amax(a, () if dim is None else dim, keepdim)
    elif ord == -math.inf:
        result = amin(a, () if dim is None else dim, keepdim)
    elif ord == 0:
        result = sum(a.ne(0).to(a.dtype), dim, keepdim)
        if a.requires_grad and mode.grad:  # a gradient that reaches nothing
            result = wrap(lost(result.node))
    elif ord == 1:
        result = sum(a, dim, keepdim)
    elif ord == 2:
        result = _euclidean(a, dim, keepdim)
    else:
        result = _powered(a, ord, dim, keepdim)
    return result if out is None else deliver(result, out)


def _powered(a: Tensor, p: Any, dim: Any, keepdim: bool) -> Tensor:
    """The p-norm of numbers that are not negative; gradients of zeros, and where the norm is 0, are
    0, as in PyTorch.
    """
    if not a.requires_grad:
        return sum(a.pow(p), dim, keepdim).pow(1.0 / p)
    nil = a.eq(0)
    total = sum(where(nil, 0.0, where(nil, 1.0, a).pow(p)), dim, keepdim)
    if p > 0:
        zero = total.eq(0)
    else:  # one zero, to a negative power, makes the norm zero
        zero = sum(nil.to(a.dtype), dim, keepdim).ne(0)
    return where(zero, 0.0, where(zero, 1.0, total).pow(1.0 / p))


def _euclidean(a: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """The 2-norm; at 0 its gradient is 0, as in PyTorch."""
    return root(sum(a.mul(a), dim, keepdim))


@as_one("root")
def root(square: Tensor) -> Tensor:
    """The square root of a sum of squares: at 0 its gradient is 0, as PyTorch has it for norms and
    standard deviations.
    """
    zero = square.eq(0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, square)))


@operator
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """p-norm of the difference (torch.dist)."""
    return vector_norm(input.sub(other), p)


__all__ = ["all", "amax", "any", "argmax", "logical_or", "max", "mean", "min", "sum", "var"]
