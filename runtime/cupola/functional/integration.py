"""Numerical integration and differentiation along a dimension."""

from __future__ import annotations

from typing import Any

from cupola.functional._convert import wrap_dim
from cupola.functional._register import PUBLIC, operator, settled
from cupola.functional.joining import cat, sliced
from cupola.tensor import Tensor


def _pairs(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """All but the first and all but the last element along a dimension."""
    n = x._n.shape[dim]
    return sliced(x, dim, min(1, n), n), sliced(x, dim, 0, max(n - 1, 0))


def _widths(y: Tensor, x: Tensor, dim: int) -> Tensor:
    if x.ndim == 1:
        if x._n.shape[0] != y._n.shape[dim]:
            raise RuntimeError(
                "There must be one `x` value for each sample point: got "
                f"{x._n.shape[0]} for {y._n.shape[dim]}"
            )
        after, before = _pairs(x, 0)
        return after.sub(before).reshape((-1,) + (1,) * (y.ndim - dim - 1))
    wide = x if x.ndim >= y.ndim else x.reshape((1,) * (y.ndim - x.ndim) + tuple(x._n.shape))
    after, before = _pairs(wide, dim + wide.ndim - y.ndim)
    return after.sub(before)


def _areas(y: Tensor, x: Any, dx: Any, dim: int, name: str) -> Tensor:
    if x is not None and dx is not None:
        raise RuntimeError(f"{name}: give either x or dx, not both")
    after, before = _pairs(y, dim)
    if x is None:
        return after.add(before).mul((1.0 if dx is None else dx) / 2.0)
    if y.dtype.name == "bool" or x.dtype.name == "bool":
        raise RuntimeError(f"{name}: received a bool input for `x` or `y`")
    return after.add(before).mul(_widths(y, x, dim)).div(2.0)


def trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Integral by the trapezoidal rule along a dimension (torch.trapezoid)."""
    d = wrap_dim(dim, y.ndim)
    if x is None and y._n.shape[d] == 0 or x is not None and y._n.shape[d] == 0:
        return y.sum(d).mul(0.0)
    if x is None:
        total = y.sum(d).mul(2).sub(y.select(d, 0)).sub(y.select(d, -1))
        return total.mul((1.0 if dx is None else dx) / 2.0)
    return _areas(y, x, dx, d, "trapezoid").sum(d)


def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Running integral by the trapezoidal rule (torch.cumulative_trapezoid)."""
    d = wrap_dim(dim, y.ndim)
    return _areas(y, x, dx, d, "cumulative_trapezoid").cumsum(d)


PUBLIC["trapezoid"] = PUBLIC["trapz"] = trapezoid
PUBLIC["cumulative_trapezoid"] = cumulative_trapezoid


def _spacings(input: Tensor, spacing: Any, dims: tuple[int, ...]) -> list[Any]:
    if isinstance(spacing, (list, tuple)):
        if len(spacing) != len(dims):
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and "
                f"dim arguments to have the same length, but got {len(spacing)} spacings for "
                f"{len(dims)} dimensions"
            )
        return list(spacing)
    return [spacing if spacing is not None else 1] * len(dims)


def _slope(x: Tensor, d: int, spacing: Any, edge_order: int) -> Tensor:
    n = x._n.shape[d]
    part = [sliced(x, d, k, n - 2 + k) for k in range(3)]
    row = [sliced(x, d, k if k >= 0 else n + k, (k if k >= 0 else n + k) + 1) for k in (0, 1, -2)]
    last = sliced(x, d, n - 1, n)
    if isinstance(spacing, Tensor):
        at = spacing.reshape((-1,) + (1,) * (x.ndim - d - 1))
        ad = 0
        left = settled(sliced(at, ad, 1, n - 1).sub(sliced(at, ad, 0, n - 2)))
        right = settled(sliced(at, ad, 2, n).sub(sliced(at, ad, 1, n - 1)))
        both = settled(left.add(right))
        a = settled(right.neg().div(settled(left.mul(both))))
        b = settled(settled(right.sub(left)).div(settled(left.mul(right))))
        c = settled(left.div(settled(right.mul(both))))
        inner = settled(settled(part[0].mul(a)).add(settled(part[1].mul(b))))
        inner = inner.add(settled(part[2].mul(c)))
        first = settled(row[1].sub(row[0]))
        first = first.div(settled(sliced(at, ad, 1, 2).sub(sliced(at, ad, 0, 1))))
        end = settled(last.sub(row[2]))
        end = end.div(settled(sliced(at, ad, n - 1, n).sub(sliced(at, ad, n - 2, n - 1))))
        if edge_order == 2:
            first, end = _curved_edges(x, d, at)
    else:
        inner = settled(part[2].sub(part[0])).div(2.0 * spacing)
        first = settled(row[1].sub(row[0])).div(spacing)
        end = settled(last.sub(row[2])).div(spacing)
        if edge_order == 2:
            third, before = sliced(x, d, 2, 3), sliced(x, d, n - 3, n - 2)
            two = settled(settled(row[0].mul(-1.5)).add(row[1].mul(2.0)))
            first = settled(two.sub(third.mul(0.5))).div(spacing)
            two = settled(before.mul(0.5).sub(row[2].mul(2.0)))
            end = settled(two.add(settled(last.mul(1.5)))).div(spacing)
    return cat([first, inner, end], d)


def _curved_edges(x: Tensor, d: int, at: Tensor) -> tuple[Tensor, Tensor]:
    """Second-order one-sided slopes at both ends of an uneven grid."""
    n = x._n.shape[d]

    def one(i: int, j: int, k: int) -> Tensor:
        p = [sliced(at, 0, m, m + 1) for m in (i, j, k)]
        v = [sliced(x, d, m, m + 1) for m in (i, j, k)]
        near, next_ = settled(p[1].sub(p[0])), settled(p[2].sub(p[1]))
        both = settled(near.add(next_))
        top = settled(near.mul(2.0).add(next_))
        a = settled(top.div(settled(near.mul(both)))).neg()
        b = settled(both.div(settled(near.mul(next_))))
        c = settled(near.div(settled(next_.mul(both)))).neg()
        terms = [settled(u.mul(w)) for u, w in zip((a, b, c), v, strict=True)]
        if i > j:  # PyTorch adds from left to right
            terms.reverse()
        return settled(terms[0].add(terms[1])).add(terms[2])

    return one(0, 1, 2), one(n - 1, n - 2, n - 3)


@operator(method=False)
def gradient(
    input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Slopes by central differences, one tensor a dimension (torch.gradient)."""
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if dim is None:
        dims = tuple(range(input.ndim))
    else:
        dims = tuple(wrap_dim(d, input.ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    if len(set(dims)) != len(dims):
        raise RuntimeError("torch.gradient expected each dimension at most once")
    for d in dims:
        if input._n.shape[d] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
    steps = _spacings(input, spacing, dims)
    if any(isinstance(s, Tensor) and s.device != input.device for s in steps):
        raise RuntimeError("torch.gradient expected each tensor to be on the same device")
    whole = input if input.dtype.category >= 2 else input.to(_default())
    return tuple(_slope(whole, d, s, edge_order) for d, s in zip(dims, steps, strict=True))


def _default() -> Any:
    from cupola import dtypes

    return dtypes.get_default_dtype()
