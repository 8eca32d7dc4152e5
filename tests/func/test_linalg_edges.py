"""torch.linalg at its edges: stacks, empty matrices, singular ones, drivers; types of errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from func.test_vmap import agree, flat, values

STACK, TALL, WIDE = values(2, 3, 4, 4), values(2, 5, 3, seed=1), values(2, 3, 5, seed=2)
EMPTY, NONE, FLAT = np.zeros((2, 0, 0), "f4"), np.zeros((0, 3, 3), "f4"), np.zeros((3, 0), "f4")
SINGULAR = np.ones((3, 3), "f4")


def _spd(x):
    return x @ x.mT + 2


VALUES = {
    "inv of a stack": lambda m, s, t, w, e, n, f, z: m.linalg.inv(s),
    "inv of nothing": lambda m, s, t, w, e, n, f, z: (m.linalg.inv(e), m.linalg.inv(n)),
    "inv_ex": lambda m, s, t, w, e, n, f, z: m.linalg.inv_ex(z)[1],
    "det": lambda m, s, t, w, e, n, f, z: [m.linalg.det(v) for v in (s, e, n, z)],
    "slogdet": lambda m, s, t, w, e, n, f, z: [tuple(m.linalg.slogdet(v)) for v in (s, e, n, z)],
    "solve": lambda m, s, t, w, e, n, f, z: m.linalg.solve(s, s[..., :2]),
    "solve of vectors": lambda m, s, t, w, e, n, f, z: m.linalg.solve(s, s[..., 0]),
    "solve broadcast": lambda m, s, t, w, e, n, f, z: m.linalg.solve(s, s[0, 0, :, :2]),
    "solve from the right": lambda m, s, t, w, e, n, f, z: m.linalg.solve(s, s, left=False),
    "solve_ex": lambda m, s, t, w, e, n, f, z: m.linalg.solve_ex(z, z)[1],
    "triangular": lambda m, s, t, w, e, n, f, z: [
        m.linalg.solve_triangular(s + 4 * m.eye(4), s, upper=u, left=k, unitriangular=d)
        for u in (True, False)
        for k in (True, False)
        for d in (True, False)
    ],
    "cholesky": lambda m, s, t, w, e, n, f, z: [
        m.linalg.cholesky(_spd(s) + m.eye(4), upper=u) for u in (True, False)
    ],
    "cholesky of nothing": lambda m, s, t, w, e, n, f, z: m.linalg.cholesky(e),
    "cholesky_ex": lambda m, s, t, w, e, n, f, z: m.linalg.cholesky_ex(-m.eye(3))[1],
    "qr": lambda m, s, t, w, e, n, f, z: [
        v.abs() for x in (t, w) for v in m.linalg.qr(x, "reduced")
    ],
    "qr r": lambda m, s, t, w, e, n, f, z: [v.abs() for v in m.linalg.qr(t, mode="r")],
    "qr of nothing": lambda m, s, t, w, e, n, f, z: [tuple(m.linalg.qr(v)) for v in (e, n, f)],
    "svd": lambda m, s, t, w, e, n, f, z: [
        v.abs() for x in (t, w) for v in m.linalg.svd(x, full_matrices=False)
    ],
    "svd of nothing": lambda m, s, t, w, e, n, f, z: [tuple(m.linalg.svd(v)) for v in (e, n, f)],
    "svdvals": lambda m, s, t, w, e, n, f, z: [m.linalg.svdvals(v) for v in (t, w, e, n, f)],
    "eigh": lambda m, s, t, w, e, n, f, z: [m.linalg.eigh(_spd(s), UPLO=u)[0] for u in ("L", "U")],
    "eigvalsh": lambda m, s, t, w, e, n, f, z: [m.linalg.eigvalsh(v) for v in (_spd(s), e, n)],
    "lstsq": lambda m, s, t, w, e, n, f, z: [
        m.linalg.lstsq(t, t[..., :2], driver=d).solution for d in (None, "gelsy", "gels", "gelsd")
    ],
    "lstsq wide": lambda m, s, t, w, e, n, f, z: m.linalg.lstsq(w, w[..., :2]).solution,
    "lstsq rank": lambda m, s, t, w, e, n, f, z: [
        m.linalg.lstsq(z, z, driver=d, rcond=1e-4).rank for d in ("gelsy", "gelsd", "gelss")
    ],
    "lstsq residuals": lambda m, s, t, w, e, n, f, z: (
        m.linalg.lstsq(t, t.flip(-2)[..., :2], driver="gelsd").residuals
    ),
    "pinv": lambda m, s, t, w, e, n, f, z: [m.linalg.pinv(v) for v in (t, w, z, e, n, f)],
    "pinv tolerance": lambda m, s, t, w, e, n, f, z: m.linalg.pinv(t, rtol=0.5),
    "rank": lambda m, s, t, w, e, n, f, z: [m.linalg.matrix_rank(v) for v in (s, t, z, e, n, f)],
    "rank hermitian": lambda m, s, t, w, e, n, f, z: m.linalg.matrix_rank(z, hermitian=True),
    "cond": lambda m, s, t, w, e, n, f, z: [m.linalg.cond(s, p) for p in (None, "fro", 1, -1, 2)],
    "power": lambda m, s, t, w, e, n, f, z: [
        m.linalg.matrix_power(v, k) for v in (s, e, n) for k in (0, 1, 3)
    ],
    "norms": lambda m, s, t, w, e, n, f, z: [
        m.linalg.matrix_norm(t, p) for p in ("fro", "nuc", 1, -1, 2, -2, float("inf"))
    ],
    "vector norms": lambda m, s, t, w, e, n, f, z: [
        m.linalg.vector_norm(t, p, dim=d, keepdim=k)
        for p in (0, 1, 2, 3.5, float("inf"), -float("inf"))
        for d in (None, 1, (0, 2))
        for k in (True, False)
    ],
    "norms of nothing": lambda m, s, t, w, e, n, f, z: [
        m.linalg.vector_norm(e),
        m.linalg.matrix_norm(e),
        m.linalg.norm(f),
    ],
    "multi_dot": lambda m, s, t, w, e, n, f, z: m.linalg.multi_dot([t[0], w[0], t[0], w[0][:, 0]]),
    "lu": lambda m, s, t, w, e, n, f, z: [tuple(m.linalg.lu(v)) for v in (s, t, w, e, n)],
    "lu_factor": lambda m, s, t, w, e, n, f, z: tuple(m.linalg.lu_factor(s)),
    "lu_solve": lambda m, s, t, w, e, n, f, z: m.linalg.lu_solve(*m.linalg.lu_factor(s), s),
    "tensorinv": lambda m, s, t, w, e, n, f, z: m.linalg.tensorinv(
        s.reshape(-1)[:64].reshape(2, 4, 8), ind=2
    ),
    "vander": lambda m, s, t, w, e, n, f, z: m.linalg.vander(t[..., 0], N=4),
    "householder": lambda m, s, t, w, e, n, f, z: m.linalg.householder_product(t, t[..., 0, :]),
    "ldl": lambda m, s, t, w, e, n, f, z: m.linalg.ldl_solve(
        *m.linalg.ldl_factor(_spd(s) + m.eye(4)), s
    ),
    "eig": lambda m, s, t, w, e, n, f, z: m.linalg.eigvals(_spd(s)).real.sort().values,
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name):
    """The same values on both sides."""
    agree(VALUES[name], STACK, TALL, WIDE, EMPTY, NONE, FLAT, SINGULAR, tolerance=2e-3)


ERRORS = {
    "inv": lambda m, x, z: m.linalg.inv(x),
    "singular inv": lambda m, x, z: m.linalg.inv(z),
    "singular solve": lambda m, x, z: m.linalg.solve(z, z),
    "one dimension": lambda m, x, z: m.linalg.det(z[0]),
    "cholesky": lambda m, x, z: m.linalg.cholesky(-m.eye(3)),
    "integers": lambda m, x, z: m.linalg.inv(z.long()),
    "sizes": lambda m, x, z: m.linalg.solve(m.eye(3), m.ones(4, 2)),
    "qr mode": lambda m, x, z: m.linalg.qr(z, mode="other"),
    "UPLO": lambda m, x, z: m.linalg.eigh(z, UPLO="X"),
    "driver": lambda m, x, z: m.linalg.lstsq(z, z, driver="other"),
    "svd driver": lambda m, x, z: m.linalg.svd(z, driver="gesvd"),
    "norm order": lambda m, x, z: m.linalg.matrix_norm(z, 3),
    "norm name": lambda m, x, z: m.linalg.norm(z, "other"),
    "norm of nothing": lambda m, x, z: m.linalg.vector_norm(m.ones(0), float("inf")),
    "power": lambda m, x, z: m.linalg.matrix_power(x, 2),
    "negative power": lambda m, x, z: m.linalg.matrix_power(z, -1),
    "multi_dot of one": lambda m, x, z: m.linalg.multi_dot([z]),
    "multi_dot sizes": lambda m, x, z: m.linalg.multi_dot([z, x]),
    "cross": lambda m, x, z: m.linalg.cross(x, x, dim=0),
    "lu_solve": lambda m, x, z: m.linalg.lu_solve(z, m.ones(3).int(), x),
    "tensorsolve": lambda m, x, z: m.linalg.tensorsolve(x, z),
    "triangular": lambda m, x, z: m.linalg.solve_triangular(x, z, upper=True),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    """The same type of error."""
    found = []
    for m in (torch, cupola):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            [v.numpy() for v in flat(ERRORS[name](m, m.tensor(TALL[0]), m.tensor(SINGULAR)))]
        found.append(caught.type.__name__.lstrip("_"))
    assert found[0] == found[1]
