"""Pseudo-inverses, and factorizations that PyTorch keeps packed: Householder
reflections and L D L^H; on the host, as ops/linalg.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.ir.node import Node
from cupola.ops.custom import host_function
from cupola.ops.elementwise import neg
from cupola.ops.linalg import adjoint, identity, on_host
from cupola.ops.matmul import matmul

# --- pseudo-inverse


def _pinv_back(g: Node, y: Node, a: Node, atol: Node, rtol: Node, hermitian: bool) -> Node:
    m, n = a.shape[-2:]
    p, ph, gh = y, adjoint(y), adjoint(g)
    out = neg(matmul(matmul(ph, g), ph))
    residual_m = identity(a, m) - matmul(a, p)
    residual_n = identity(a, n) - matmul(p, a)
    out = out + matmul(matmul(residual_m, gh), matmul(p, ph))
    return out + matmul(matmul(matmul(ph, p), gh), residual_n)


def _pinv(a: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    if hermitian:  # reads the lower triangle only
        s, u = np.linalg.eigh(a)
        vh = np.swapaxes(u.conj(), -1, -2)
    else:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
    size = np.abs(s)
    top = size.max(-1, keepdims=True) if s.shape[-1] else np.zeros((*s.shape[:-1], 1), s.dtype)
    keep = size > np.maximum(atol, rtol * top)
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0)
    out = np.swapaxes(vh.conj(), -1, -2) @ (inverse[..., None] * np.swapaxes(u.conj(), -1, -2))
    return out.astype(a.dtype)


# Singular values up to max(atol, rtol times the largest) count as 0; the bounds are (..., 1).
pinv = host_function(
    "pinv",
    on_host(_pinv),
    lambda a, atol, rtol, hermitian: ((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype),
    (_pinv_back, None, None),
)


# --- reflections


def _reflections(a: Any) -> Any:
    """Rows of LAPACK's packed QR, then one row with the factors of the reflections."""
    m, n = a.shape[-2:]
    out = np.zeros((*a.shape[:-2], m + 1, n), a.dtype)
    if a.size:
        h, tau = np.linalg.qr(a, mode="raw")
        out[..., :m, :] = np.swapaxes(h, -1, -2)
        out[..., m, : tau.shape[-1]] = tau
    return out


reflections = host_function(
    "reflections",
    on_host(_reflections),
    lambda a: ((*a.shape[:-2], a.shape[-2] + 1, a.shape[-1]), a.dtype),
)

# --- symmetric and Hermitian indefinite matrices


def _lapack(name: str, hermitian: bool, a: Any) -> Any:
    from scipy.linalg import get_lapack_funcs

    kind = "he" if hermitian and a.dtype.kind == "c" else "sy"
    return get_lapack_funcs(kind + name, (a,))


def _ldl(a: Any, hermitian: bool) -> Any:
    """Rows of the packed factors (lower triangle), then one row with the pivots."""
    n = a.shape[-1]
    out = np.zeros((*a.shape[:-2], n + 1, n), a.dtype)
    for which in np.ndindex(a.shape[:-2]):
        if n:
            packed, pivots, _ = _lapack("trf", hermitian, a)(a[which], lower=1)
            out[which][:n], out[which][n] = np.tril(packed), pivots
    return out


ldl = host_function(
    "ldl",
    on_host(_ldl),
    lambda a, hermitian: ((*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), a.dtype),
)


def _ldl_solve(a: Any, pivots: Any, b: Any, hermitian: bool) -> Any:
    out = np.empty_like(b)
    for which in np.ndindex(b.shape[:-2]):
        if b[which].size:
            solve = _lapack("trs", hermitian, a)
            out[which] = solve(a[which], pivots[which], b[which], lower=1)[0]
    return out


ldl_solve = host_function(
    "ldl_solve", on_host(_ldl_solve), lambda a, pivots, b, hermitian: (b.shape, b.dtype)
)
