"""Samples of reductions, sorting and prefix operations."""

from cases import B, Case, F, I

_DIMS = [
    ("", {}),
    (".0", {"dim": 0}),
    (".-1", {"dim": -1}),
    (".keep", {"dim": 1, "keepdim": True}),
    (".two", {"dim": (0, 2)}),
]
CASES = [
    *[
        Case(n + s, lambda m, x, n=n, k=k: getattr(m, n)(x, **k), (F(3, 4, 5),))
        for n in ("sum", "mean", "amax", "amin", "var", "std")
        for s, k in _DIMS
    ],
    *[
        Case(n + s, lambda m, x, n=n, k=k: getattr(m, n)(x, **k), (F(3, 4, 5),))
        for n in ("prod",)
        for s, k in _DIMS[:4]
    ],
    *[
        Case(n + s, lambda m, x, n=n, k=k: getattr(m, n)(x, **k), (F(3, 4, 5),), grad=False)
        for n in ("argmax", "argmin")
        for s, k in _DIMS[:4]
    ],
    *[
        Case(n + ".dim", lambda m, x, n=n: tuple(getattr(m, n)(x, 1)), (F(3, 4, 5),))
        for n in ("max", "min", "median")
    ],
    *[
        Case(n + s, lambda m, x, n=n, k=k: getattr(m, n)(x, **k), (B(3, 4, 5),), grad=False)
        for n in ("any", "all", "count_nonzero")
        for s, k in _DIMS[:3]
    ],
    Case("sum.int", lambda m, x: m.sum(x, 1), (I(3, 4),), grad=False),
    Case("sum.bool", lambda m, x: x.sum(), (B(3, 4),), grad=False),
    Case("max", lambda m, x: m.max(x), (F(3, 4),)),
    Case("logsumexp", lambda m, x: m.logsumexp(x, 1), (F(3, 4),)),
    Case("norm", lambda m, x: x.norm() + x.norm(p=1) + x.norm(dim=1).sum(), (F(3, 4),)),
    Case("var_mean", lambda m, x: tuple(m.var_mean(x, (0, 2), correction=0)), (F(3, 4, 5),)),
    Case("large_sum", lambda m, x: x.sum(), (F(300, 400),)),
    Case("large_columns", lambda m, x: x.sum(0), (F(300, 401),)),
    Case("large_middle", lambda m, x: x.mean((0, 2)), (F(7, 33, 129),)),
    Case("sort", lambda m, x: tuple(m.sort(x, 1)), (F(3, 7),)),
    Case("sort.descending", lambda m, x: tuple(m.sort(x, 0, True)), (F(3, 7),)),
    Case("topk", lambda m, x: tuple(m.topk(x, 3)), (F(3, 7),)),
    Case("topk.smallest", lambda m, x: tuple(x.topk(2, 0, largest=False)), (F(5, 3),)),
    Case("kthvalue", lambda m, x: tuple(m.kthvalue(x, 2, 1)), (F(3, 7),)),
    Case("cumsum", lambda m, x: m.cumsum(x, 1), (F(3, 7),)),
    Case("logcumsumexp", lambda m, x: m.logcumsumexp(x, 1), (F(3, 7),)),
    Case("cumprod", lambda m, x: m.cumprod(x, 1), (F(3, 5),)),
    Case("cummax", lambda m, x: tuple(m.cummax(x, 1)), (F(3, 7),)),
    Case("quantile", lambda m, x: m.quantile(x, 0.3, 1), (F(3, 7),)),
    Case(
        "unique",
        lambda m, x: m.unique(x, return_inverse=True, return_counts=True),
        (I(30),),
        grad=False,
    ),
    Case("bincount", lambda m, x: m.bincount(x), (I(30, low=0, high=6),), grad=False),
    Case(
        "searchsorted",
        lambda m, x: m.searchsorted(m.sort(x)[0], x),
        (F(9, grad=False),),
        grad=False,
    ),
    Case("diff", lambda m, x: m.diff(x, 1, 0), (F(5, 3),)),
    Case(
        "softmax_by_hand",
        lambda m, x: (x - x.amax(1, True)).exp() / (x - x.amax(1, True)).exp().sum(1, True),
        (F(6, 9),),
    ),
    Case(
        "layer_norm_by_hand",
        lambda m, x: (
            (x - x.mean(-1, True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        ),
        (F(6, 9),),
        tolerance=3e-5,
    ),
]
