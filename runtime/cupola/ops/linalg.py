"""Matrix factorizations and solvers: NumPy and SciPy on the host, gradients in closed form.

Every primitive has one result. A factorization of several parts stacks them as rows of one matrix,
so that one call computes them all and slices of it are free. Gradient formulas: Giles (2008),
"Collected matrix derivative results"; Townsend (2016), "Differentiating the singular value
decomposition"; Walter and Lehmann (2011) for QR.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops._build import like
from cupola.ops.custom import host_function
from cupola.ops.elementwise import cast, conj_of, eq, neg, real
from cupola.ops.elementwise import complex as to_complex
from cupola.ops.matmul import matmul, transposed
from cupola.ops.movement import cat, expand, like_shape, reshape
from cupola.ops.movement import slice as box


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that NumPy or SciPy computes, wherever the arrays live."""

    def reference(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        if xp is np:
            return function(*arrays, **attrs)
        return xp.asarray(function(*(xp.asnumpy(a) for a in arrays), **attrs))

    return reference


def stacked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Applies a function of matrices to every matrix of a stack; results are cast to the first
    one's dtype.
    """

    def over(*arrays: Any, **attrs: Any) -> Any:
        lead = arrays[0].shape[:-2]
        flat = [a.reshape(math.prod(lead), *a.shape[-2:]) for a in arrays]
        parts = [np.asarray(function(*ms, **attrs)) for ms in zip(*flat, strict=True)]
        if not parts:
            sample = function(*(np.ones(a.shape[-2:], a.dtype) for a in arrays), **attrs)
            return np.zeros((*lead, *np.shape(sample)), arrays[0].dtype)
        return np.stack(parts).reshape(*lead, *parts[0].shape).astype(arrays[0].dtype, copy=False)

    return over


def adjoint(x: Node) -> Node:
    """Conjugate transpose of the last two dimensions."""
    return transposed(conj_of(x))


def rows(x: Node, start: int, stop: int) -> Node:
    """Rows ``start`` to ``stop`` of a matrix."""
    n = x.ndim
    return box(
        x,
        starts=(0,) * (n - 2) + (start, 0),
        stops=(*x.shape[:-2], stop, x.shape[-1]),
        steps=(1,) * n,
    )


def columns(x: Node, start: int, stop: int) -> Node:
    """Columns ``start`` to ``stop`` of a matrix."""
    n = x.ndim
    return box(x, starts=(0,) * (n - 1) + (start,), stops=(*x.shape[:-1], stop), steps=(1,) * n)


def across(v: Node, shape: tuple[int, ...]) -> Node:
    """A row (..., 1, n), or a column (..., n, 1), repeated to a matrix."""
    return expand(v, shape=shape)


triangle = Primitive(
    "triangle",
    "library",
    lambda x, diagonal, upper: (x.shape, x.dtype),
    lambda xp, x, diagonal, upper: (xp.triu if upper else xp.tril)(x, diagonal),
    (lambda g, y, x, diagonal, upper: triangle(g, diagonal=diagonal, upper=upper),),
).register()


def diagonal_part(x: Node) -> Node:
    """The matrix without what lies off its diagonal."""
    return triangle(triangle(x, diagonal=0, upper=True), diagonal=0, upper=False)


def off_diagonal(x: Node) -> Node:
    """The matrix with zeros on its diagonal."""
    return triangle(x, diagonal=1, upper=True) + triangle(x, diagonal=-1, upper=False)


def identity(x: Node, n: int) -> Node:
    """Unit matrices for a stack like ``x``."""
    return diagonal_part(like_shape(x, (*x.shape[:-2], n, n), 1))


def times_row(x: Node, row: Node) -> Node:
    """Scales the columns of a matrix by a row (..., 1, n)."""
    return x * across(row, x.shape)


def diagonal_of_row(row: Node) -> Node:
    """The diagonal matrix of a row (..., 1, n)."""
    n = row.shape[-1]
    return diagonal_part(across(row, (*row.shape[:-2], n, n)))


def square_matrix(name: str) -> Callable[..., Any]:
    """The shape rule of an operator on square matrices."""

    def infer(a: Node, *_: Node, **__: Any) -> Any:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise RuntimeError(
                f"linalg.{name}: A must be batches of square matrices, but they are "
                f"{a.shape[-2] if a.ndim > 1 else 1} by {a.shape[-1] if a.ndim else 1} matrices"
            )
        return a.shape, a.dtype

    return infer


def _like_second(a: Node, b: Node, **_: Any) -> Any:
    return b.shape, b.dtype


# --- inverse and solve


def _inverse(a: Any) -> Any:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        from cupola.errors import LinAlgError

        raise LinAlgError(
            "linalg.inv: The diagonal element is zero, the inversion could not be completed "
            "because the input matrix "
            "is singular."
        ) from None


inverse = host_function(
    "inverse",
    on_host(_inverse),
    square_matrix("inv"),
    (lambda g, y, a: neg(matmul(matmul(adjoint(y), g), adjoint(y))),),
)


def _inverse_or(a: Any, fill: float) -> Any:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        out = np.full_like(a, fill)
        for place in np.ndindex(a.shape[:-2]):
            with contextlib.suppress(np.linalg.LinAlgError):
                out[place] = np.linalg.inv(a[place])
        return out


# What gradients of determinants are made of: a singular matrix is no error there.
inverse_or = host_function(
    "inverse_or",
    on_host(_inverse_or),
    lambda a, fill: (a.shape, a.dtype),
    (lambda g, y, a, fill: neg(matmul(matmul(adjoint(y), g), adjoint(y))),),
)


def _solve(a: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        from cupola.errors import LinAlgError

        raise LinAlgError(
            "torch.linalg.solve: The solver failed because the input matrix is singular."
        ) from None


solve = host_function(
    "solve",
    on_host(_solve),
    _like_second,
    (
        lambda g, y, a, b: neg(matmul(solve(adjoint(a), g), adjoint(y))),
        lambda g, y, a, b: solve(adjoint(a), g),
    ),
)


def _triangular(a: Any, b: Any, upper: bool, unit: bool) -> Any:
    from scipy.linalg import solve_triangular as scipy_solve

    def one(m: Any, v: Any) -> Any:
        try:
            return scipy_solve(m, v, lower=not upper, unit_diagonal=unit, check_finite=False)
        except np.linalg.LinAlgError:  # PyTorch divides by the zero
            return np.full(v.shape, np.inf, v.dtype)

    if not b.size:
        return np.zeros_like(b)
    flat = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
    parts = np.stack([one(m, v) for m, v in flat])
    return parts.reshape(b.shape).astype(b.dtype, copy=False)


def _triangular_matrix_back(g: Node, y: Node, a: Node, b: Node, upper: bool, unit: bool) -> Node:
    gb = solve_triangular(adjoint(a), g, upper=not upper, unit=unit)
    ga = neg(matmul(gb, adjoint(y)))
    return triangle(ga, diagonal=(1 if upper else -1) if unit else 0, upper=upper)


solve_triangular = host_function(
    "solve_triangular",
    on_host(_triangular),
    _like_second,
    (
        _triangular_matrix_back,
        lambda g, y, a, b, upper, unit: solve_triangular(adjoint(a), g, upper=not upper, unit=unit),
    ),
)


def _cholesky_solve(factor: Any, b: Any, upper: bool) -> Any:
    lower = np.conj(np.swapaxes(factor, -1, -2)) if upper else factor
    first = _triangular(lower, b, False, False)
    return _triangular(np.conj(np.swapaxes(lower, -1, -2)), first, True, False)


def _cholesky_factor_back(g: Node, y: Node, factor: Node, b: Node, upper: bool) -> Node:
    """Of A = L L^H as a whole: like PyTorch's, it does not leave out the other triangle."""
    half = matmul(cholesky_solve(factor, g, upper=upper), adjoint(y))
    both = half + adjoint(half)
    return neg(matmul(factor, both) if upper else matmul(both, factor))


cholesky_solve = host_function(
    "cholesky_solve",
    on_host(_cholesky_solve),
    _like_second,
    (
        _cholesky_factor_back,
        lambda g, y, factor, b, upper: cholesky_solve(factor, g, upper=upper),
    ),
)

# --- Cholesky


def _cholesky(a: Any, check: bool) -> Any:
    try:
        out = np.linalg.cholesky(a)
        if not check or not np.isnan(out).any():  # NumPy lets NaN pass as a pivot
            return out
        raise np.linalg.LinAlgError
    except np.linalg.LinAlgError:
        if not check:
            return np.full_like(a, np.nan)
        from cupola.errors import LinAlgError

        raise LinAlgError(
            "linalg.cholesky: The factorization could not be completed because the input is not "
            "positive-definite "
            "(a leading minor is not positive-definite)."
        ) from None


def _cholesky_back(g: Node, y: Node, a: Node, check: bool) -> Node:
    p = triangle(matmul(adjoint(y), g), diagonal=0, upper=False)
    p = (p + adjoint(p - diagonal_part(p))) * 0.5
    left = solve_triangular(adjoint(y), p, upper=True, unit=False)  # L^-H P
    return adjoint(solve_triangular(adjoint(y), adjoint(left), upper=True, unit=False))


cholesky = host_function(
    "cholesky", on_host(_cholesky), square_matrix("cholesky"), (_cholesky_back,)
)

# --- LU


def _lu(a: Any) -> Any:
    from scipy.linalg import lu_factor

    return stacked(lambda m: lu_factor(m, check_finite=False)[0])(a)


def _pivots(a: Any) -> Any:
    from scipy.linalg import lu_factor

    pivots = stacked(lambda m: lu_factor(m, check_finite=False)[1].reshape(1, -1))(a)
    return (pivots.real.astype(np.int32) + 1).reshape(*a.shape[:-2], min(a.shape[-2:]))


def _permutation(pivots: Any, size: int) -> Any:
    lead = pivots.shape[:-1]
    out = np.broadcast_to(np.arange(size, dtype=np.int64), (*lead, size)).copy()
    for which in np.ndindex(lead):
        order = out[which]
        for i, p in enumerate(pivots[which]):
            order[i], order[p - 1] = order[p - 1], order[i]
    return out


lu_pivots = host_function(
    "lu_pivots",
    on_host(_pivots),
    lambda a: ((*a.shape[:-2], min(a.shape[-2:])), dtypes.int32),
)
# perm[i] is the row of A that lies in row i of L @ U.
lu_permutation = host_function(
    "lu_permutation", on_host(_permutation), lambda p, size: ((*p.shape[:-1], size), dtypes.int64)
)


def permutation_matrix(perm: Node, like_node: Node) -> Node:
    """P with P[perm[i], i] = 1, so that A = P @ L @ U, in the dtype of ``like_node``."""
    n = perm.shape[-1]
    shape = (*perm.shape[:-1], n, n)
    wanted = expand(reshape(perm, shape=(*perm.shape[:-1], 1, n)), shape=shape)
    from cupola.ops.movement import iota

    here = iota(like_shape(wanted, shape), dim=len(shape) - 2)
    return cast(eq(here, wanted), dtype=like_node.dtype)


def unit_lower(lu: Node) -> Node:
    """L of a packed factorization: (m, k) with ones on the diagonal."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    below = triangle(columns(lu, 0, k), diagonal=-1, upper=False)
    return below + diagonal_part(like_shape(lu, (*lu.shape[:-2], m, k), 1))


def upper_part(lu: Node) -> Node:
    """U of a packed factorization: (k, n)."""
    return triangle(rows(lu, 0, min(lu.shape[-2:])), diagonal=0, upper=True)


def _lu_back(g: Node, y: Node, a: Node) -> Node:
    m, n = a.shape[-2:]
    k = min(m, n)
    p = permutation_matrix(lu_permutation(lu_pivots(a), size=m), a)
    l1 = unit_lower(rows(columns(y, 0, k), 0, k))
    u1 = upper_part(rows(columns(y, 0, k), 0, k))
    g1 = rows(columns(g, 0, k), 0, k)
    lower_g = triangle(g1, diagonal=-1, upper=False)
    upper_g = triangle(g1, diagonal=0, upper=True)
    inside_l, inside_u = matmul(adjoint(l1), lower_g), matmul(upper_g, adjoint(u1))
    extra = None
    if m > k:  # A2 = L2 U1
        g2, l2 = rows(g, k, m), rows(y, k, m)
        extra = adjoint(solve_triangular(u1, adjoint(g2), upper=True, unit=False))
        extra = adjoint(_solve_upper_adjoint(u1, g2))
        inside_u = inside_u - matmul(adjoint(l2), g2)
    elif n > k:  # A2 = L1 U2
        g2, u2 = columns(g, k, n), columns(y, k, n)
        extra = solve_triangular(adjoint(l1), g2, upper=True, unit=True)
        inside_l = inside_l - matmul(g2, adjoint(u2))
    inner = triangle(inside_l, diagonal=-1, upper=False) + triangle(
        inside_u, diagonal=0, upper=True
    )
    left = solve_triangular(adjoint(l1), inner, upper=True, unit=True)
    whole = adjoint(_solve_upper_adjoint(u1, left))
    if extra is not None:
        whole = cat(whole, extra, dim=a.ndim - 2 if m > k else a.ndim - 1)
    return matmul(p, whole)


def _solve_upper_adjoint(u: Node, x: Node) -> Node:
    """(x U^-H)^H = U^-1 x^H."""
    return solve_triangular(u, adjoint(x), upper=True, unit=False)


lu = host_function("lu", on_host(_lu), lambda a: (a.shape, a.dtype), (_lu_back,))

# --- QR


def _qr(a: Any) -> Any:
    q, r = np.linalg.qr(a, mode="reduced")
    return np.concatenate([q, np.swapaxes(r.conj(), -1, -2)], axis=-2)


def _qr_infer(a: Node) -> Any:
    m, n = a.shape[-2:]
    return (*a.shape[:-2], m + n, min(m, n)), a.dtype


def _qr_back(g: Node, y: Node, a: Node) -> Node:
    m, n = a.shape[-2:]
    k = min(m, n)
    q, r = rows(y, 0, m), adjoint(rows(y, m, m + n))
    gq, gr = rows(g, 0, m), adjoint(rows(g, m, m + n))
    tail = None
    if m < n:  # the columns beyond the square part only depend on Q
        tail_r = columns(gr, k, n)
        tail = matmul(q, tail_r)
        gq = gq + matmul(columns(a, k, n), adjoint(tail_r))
        r, gr = columns(r, 0, k), columns(gr, 0, k)
    upper = triangle(matmul(gr, adjoint(r)) - matmul(adjoint(q), gq), diagonal=0, upper=True)
    both = upper + adjoint(upper)
    both = both - diagonal_part(both) * 0.5
    whole = adjoint(_solve_upper_adjoint(r, gq + matmul(q, both)))
    return whole if tail is None else cat(whole, tail, dim=a.ndim - 1)


# Rows of Q (m), then rows of R^H (n).
qr = host_function("qr", on_host(_qr), _qr_infer, (_qr_back,))

# --- eigenvalues


def _eigh(a: Any, upper: bool) -> Any:
    w, v = np.linalg.eigh(a, "U" if upper else "L")
    return np.concatenate([v, w[..., None, :].astype(a.dtype)], axis=-2)


def _pack_one(a: Node, **_: Any) -> Any:
    square_matrix("eigh")(a)
    return (*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), a.dtype


def _gaps(w: Node) -> Node:
    """E with E[i, j] = w[j] - w[i] and ones on the diagonal, for a row of values."""
    n = w.shape[-1]
    shape = (*w.shape[:-2], n, n)
    gap = across(w, shape) - across(transposed(w), shape)
    return off_diagonal(gap) + diagonal_part(like(gap, 1))


def _eigh_back(g: Node, y: Node, a: Node, upper: bool) -> Node:
    n = a.shape[-1]
    v, w = rows(y, 0, n), rows(y, n, n + 1)
    # The Hermitian part alone: only such changes of A are meant.
    mixed = off_diagonal(_skew(matmul(adjoint(v), rows(g, 0, n))) * 0.5) / conj_of(_gaps(w))
    inner = mixed + diagonal_of_row(rows(g, n, n + 1))
    return matmul(matmul(v, inner), adjoint(v))


# Rows of V (n), then the row of eigenvalues; the other triangle is not read, yet the gradient is
# that of the whole matrix, as in PyTorch.
eigh = host_function("eigh", on_host(_eigh), _pack_one, (_eigh_back,))


def _values_back(g: Node, y: Node, a: Node, upper: bool) -> Node:
    v = rows(eigh(a, upper=upper), 0, a.shape[-1])
    scale = g if g.dtype is v.dtype else to_complex(g, like(g, 0))
    return matmul(times_row(v, scale), adjoint(v))


# Eigenvalues alone, as a row (..., 1, n): their gradient stays finite where eigenvalues repeat.
eigvalsh = host_function(
    "eigvalsh",
    on_host(lambda a, upper: np.linalg.eigvalsh(a, "U" if upper else "L")[..., None, :]),
    lambda a, upper: (square_matrix("eigvalsh")(a)[0][:-2] + (1, a.shape[-1]), a.dtype.to_real()),
    (_values_back,),
)


def _eig(a: Any) -> Any:
    kind = (
        np.complex128 if a.dtype.itemsize // (2 if a.dtype.kind == "c" else 1) > 4 else np.complex64
    )
    w, v = np.linalg.eig(a)
    return np.concatenate([v, w[..., None, :]], axis=-2).astype(kind)


def _eig_back(g: Node, y: Node, a: Node) -> Node:
    n = a.shape[-1]
    v, w = rows(y, 0, n), rows(y, n, n + 1)
    gv, gw = rows(g, 0, n), rows(g, n, n + 1)
    vg = matmul(adjoint(v), gv)
    re = diagonal_part(real(vg))
    mixed = off_diagonal(vg - matmul(matmul(adjoint(v), v), to_complex(re, like(re, 0))))
    inner = mixed / conj_of(_gaps(w)) + diagonal_of_row(gw)
    out = solve(adjoint(v), matmul(inner, adjoint(v)))
    return out if a.dtype.is_complex else real(out)


# As eigh, complex.
eig = host_function(
    "eig", on_host(_eig), lambda a: (_pack_one(a)[0], a.dtype.to_complex()), (_eig_back,)
)

# --- singular values


def _svd(a: Any) -> Any:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.concatenate(
        [u, np.swapaxes(vh.conj(), -1, -2), s[..., None, :].astype(a.dtype)], axis=-2
    )


def _svd_infer(a: Node) -> Any:
    m, n = a.shape[-2:]
    return (*a.shape[:-2], m + n + 1, min(m, n)), a.dtype


def _skew(x: Node) -> Node:
    return x - adjoint(x)


def _svd_back(g: Node, y: Node, a: Node) -> Node:
    m, n = a.shape[-2:]
    k = min(m, n)
    u, v, s = rows(y, 0, m), rows(y, m, m + n), rows(y, m + n, m + n + 1)
    gu, gv, gs = rows(g, 0, m), rows(g, m, m + n), rows(g, m + n, m + n + 1)
    down = transposed(s)
    gaps = _gaps(s * s)
    ug, vg = _skew(matmul(adjoint(u), gu)), _skew(matmul(adjoint(v), gv))
    square = (*a.shape[:-2], k, k)
    if a.dtype.is_complex:  # singular values are real, whatever their row's dtype
        gs = to_complex(real(gs), like(real(gs), 0))
    inner = off_diagonal(ug) / gaps * across(s, square)
    inner = inner + across(down, square) * (off_diagonal(vg) / gaps) + diagonal_of_row(gs)
    if a.dtype.is_complex:
        inner = inner + diagonal_part(ug) / across(s * 2.0, square)
    out = matmul(matmul(u, inner), adjoint(v))
    inverse_s = like(s, 1) / s
    if m > k:
        gu_s = times_row(gu, inverse_s)
        out = out + matmul(gu_s - matmul(u, matmul(adjoint(u), gu_s)), adjoint(v))
    if n > k:
        gv_s = times_row(gv, inverse_s)
        out = out + matmul(u, adjoint(gv_s - matmul(v, matmul(adjoint(v), gv_s))))
    return out


# Rows of U (m), rows of V (n), the row of singular values.
svd = host_function("svd", on_host(_svd), _svd_infer, (_svd_back,))


def _svdvals_back(g: Node, y: Node, a: Node) -> Node:
    m, n = a.shape[-2:]
    both = svd(a)
    scale = g if g.dtype is a.dtype else to_complex(g, like(g, 0))
    return matmul(times_row(rows(both, 0, m), scale), adjoint(rows(both, m, m + n)))


svdvals = host_function(
    "svdvals",
    on_host(lambda a: np.linalg.svd(a, compute_uv=False)[..., None, :]),
    lambda a: ((*a.shape[:-2], 1, min(a.shape[-2:])), a.dtype.to_real()),
    (_svdvals_back,),
)
