"""Samples of factorizations and solvers."""

from cases import Case, F


def _spd(m, x):
    return x @ x.mT + m.eye(x.shape[-1])


def _well(m, x):
    return x + 4 * m.eye(x.shape[-2], x.shape[-1])


def _lines(m, x):
    q, r = m.linalg.qr(x)
    return q @ q.mT, r.abs()


def _singular(m, x):
    u, s, vh = m.linalg.svd(x, full_matrices=False)
    return u.abs(), s, vh.abs()


def _complete(m, x):
    q, r = m.linalg.qr(x, "complete")
    return q @ q.mT, q @ r


CASES = [
    Case("linalg.inv", lambda m, x: m.linalg.inv(_well(m, x)), (F(2, 3, 3),)),
    Case("linalg.solve", lambda m, x, y: m.linalg.solve(_well(m, x), y), (F(2, 3, 3), F(3, 2))),
    Case("linalg.solve.vector", lambda m, x, y: m.linalg.solve(_well(m, x), y), (F(3, 3), F(3))),
    Case(
        "linalg.solve.right",
        lambda m, x, y: m.linalg.solve(_well(m, x), y, left=False),
        (F(3, 3), F(2, 3)),
    ),
    Case(
        "linalg.solve_triangular",
        lambda m, x, y: m.linalg.solve_triangular(_well(m, x).triu(), y, upper=True),
        (F(3, 3), F(3, 2)),
    ),
    Case(
        "linalg.solve_triangular.unit",
        lambda m, x, y: m.linalg.solve_triangular(x, y, upper=False, unitriangular=True),
        (F(3, 3), F(3, 2)),
    ),
    Case("linalg.det", lambda m, x: m.linalg.det(_well(m, x)), (F(2, 3, 3),)),
    Case("linalg.slogdet", lambda m, x: tuple(m.linalg.slogdet(_well(m, x))), (F(2, 3, 3),)),
    Case("logdet", lambda m, x: m.logdet(_spd(m, x)), (F(3, 3),)),
    Case("linalg.cholesky", lambda m, x: m.linalg.cholesky(_spd(m, x)), (F(2, 3, 3),)),
    Case(
        "linalg.cholesky_ex",
        lambda m, x: tuple(m.linalg.cholesky_ex(_spd(m, x), upper=True)),
        (F(3, 3),),
    ),
    Case(
        "cholesky_solve",
        lambda m, x, y: m.cholesky_solve(y, m.linalg.cholesky(_spd(m, x))),
        (F(3, 3), F(3, 2)),
    ),
    Case(
        "cholesky_inverse",
        lambda m, x: m.cholesky_inverse(m.linalg.cholesky(_spd(m, x))),
        (F(3, 3),),
        tolerance=1e-4,
    ),
    Case("linalg.lu", lambda m, x: tuple(m.linalg.lu(_well(m, x))), (F(2, 3, 3),)),
    Case("linalg.lu.tall", lambda m, x: tuple(m.linalg.lu(x)), (F(4, 3),), tolerance=1e-4),
    Case("linalg.lu.wide", lambda m, x: tuple(m.linalg.lu(x)), (F(3, 5),), tolerance=1e-4),
    Case("linalg.lu_factor", lambda m, x: tuple(m.linalg.lu_factor(x)), (F(3, 3),), tolerance=1e-4),
    Case(
        "linalg.lu_solve",
        lambda m, x, y: m.linalg.lu_solve(*m.linalg.lu_factor(_well(m, x)), y),
        (F(3, 3), F(3, 2)),
    ),
    Case("linalg.qr", _lines, (F(4, 3),), tolerance=1e-4),
    Case("linalg.qr.wide", _lines, (F(3, 4),), tolerance=1e-4),
    Case("linalg.qr.complete", _complete, (F(4, 2),), grad=False),
    Case("linalg.svd", _singular, (F(4, 3),), tolerance=1e-4),
    Case("linalg.svd.wide", _singular, (F(2, 4),), tolerance=1e-4),
    Case("linalg.svdvals", lambda m, x: m.linalg.svdvals(x), (F(2, 4, 3),)),
    Case(
        "linalg.eigh",
        lambda m, x: [p.abs() for p in m.linalg.eigh(_spd(m, x))],
        (F(3, 3),),
        tolerance=1e-4,
    ),
    Case("linalg.eigvalsh", lambda m, x: m.linalg.eigvalsh(_spd(m, x)), (F(3, 3),)),
    Case(
        "linalg.eig",
        lambda m, x: m.linalg.eig(_spd(m, x))[0].abs().sort()[0],
        (F(3, 3),),
        tolerance=1e-4,
    ),
    Case("linalg.pinv", lambda m, x: m.linalg.pinv(x), (F(4, 3),), tolerance=1e-4),
    Case(
        "linalg.lstsq",
        lambda m, x, y: m.linalg.lstsq(x, y).solution,
        (F(5, 3), F(5, 2)),
        tolerance=1e-4,
    ),
    Case("linalg.matrix_exp", lambda m, x: m.linalg.matrix_exp(x * 0.3), (F(3, 3),)),
    Case("linalg.matrix_power", lambda m, x: m.linalg.matrix_power(x, 3), (F(3, 3),)),
    Case("linalg.matrix_rank", lambda m, x: m.linalg.matrix_rank(x), (F(4, 3),), grad=False),
    *[
        Case(f"linalg.matrix_norm.{p}", lambda m, x, p=p: m.linalg.matrix_norm(x, p), (F(2, 4, 3),))
        for p in ("fro", "nuc", 1, -1, 2, -2, float("inf"))
    ],
    Case("linalg.norm", lambda m, x: m.linalg.norm(x) + m.linalg.norm(x, dim=1).sum(), (F(4, 3),)),
    Case("linalg.vector_norm", lambda m, x: m.linalg.vector_norm(x, 3, 1), (F(4, 3),)),
    Case(
        "linalg.multi_dot",
        lambda m, x, y, z: m.linalg.multi_dot([x, y, z]),
        (F(2, 5), F(5, 3), F(3, 4)),
    ),
    Case("linalg.cond", lambda m, x: m.linalg.cond(_well(m, x)), (F(3, 3),)),
    Case("linalg.vander", lambda m, x: m.linalg.vander(x), (F(4),), tolerance=1e-4),
    Case("svd.old", lambda m, x: m.svd(x)[1], (F(4, 3),)),
    Case(
        "linalg.cross",
        lambda m, x, y: m.linalg.cross(x, y) + m.linalg.vecdot(x, y)[:, None],
        (F(4, 3), F(4, 3)),
    ),
]

CASES += [
    Case(
        "linalg.pinv.hermitian", lambda m, x: m.linalg.pinv(_spd(m, x), hermitian=True), (F(3, 3),)
    ),
    Case("linalg.pinv.atol", lambda m, x: m.linalg.pinv(x, atol=0.1, rtol=0.0), (F(4, 3),)),
    Case(
        "linalg.lstsq.gelsd",
        lambda m, x, y: list(m.linalg.lstsq(x, y, driver="gelsd"))[:2],
        (F(5, 3), F(5, 2)),
        tolerance=1e-4,
    ),
    Case(
        "linalg.householder_product",
        lambda m, x: m.linalg.householder_product(*m.geqrf(x.detach())) * x.sum(),
        (F(2, 4, 3),),
        tolerance=1e-4,
    ),
    Case(
        "linalg.householder_product.grad",
        lambda m, x, t: m.linalg.householder_product(x, t),
        (F(4, 3), F(3)),
        tolerance=1e-4,
    ),
    *[
        Case(
            f"ormqr.{left}.{transpose}",
            lambda m, x, t, y, a=left, b=transpose: m.ormqr(x, t, y, left=a, transpose=b),
            (F(4, 3), F(3), F(4, 4)),
            tolerance=1e-4,
        )
        for left in (True, False)
        for transpose in (True, False)
    ],
    Case("geqrf", lambda m, x: list(m.geqrf(x)), (F(4, 3),), grad=False, tolerance=1e-4),
    Case(
        "linalg.ldl_solve",
        lambda m, x, y: m.linalg.ldl_solve(*m.linalg.ldl_factor(x + x.mT), y),
        (F(3, 3, grad=False), F(3, 2, grad=False)),
        grad=False,
        tolerance=1e-4,
    ),
]
