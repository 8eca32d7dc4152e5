"""Samples of special functions."""

from cases import Case, F

_ONE = "i0 i0e i1 i1e ndtr log_ndtr expm1 erfcx digamma gammaln entr".split()
CASES = [
    Case(f"special.{n}", lambda m, x, n=n: getattr(m.special, n)(x), (F(3, 5, low=0.2, high=3.0),))
    for n in _ONE
] + [
    Case(
        "special.log_ndtr.far",
        lambda m, x: m.special.log_ndtr(x),
        (F(9, low=-12, high=2),),
        tolerance=1e-3,
    ),
    Case(
        "special.ndtri", lambda m, x: m.special.ndtri(x), (F(5, low=0.1, high=0.9),), tolerance=1e-4
    ),
    Case("special.xlog1py", lambda m, x, y: m.special.xlog1py(x, y), (F(5), F(5, low=0.1, high=2))),
    Case(
        "special.polygamma",
        lambda m, x: m.special.polygamma(1, x),
        (F(5, low=0.5, high=3),),
        tolerance=1e-4,
    ),
    Case(
        "special.multigammaln", lambda m, x: m.special.multigammaln(x, 2), (F(5, low=1.5, high=3),)
    ),
    *[
        Case(
            f"special.{n}",
            lambda m, a, x, n=n: getattr(m.special, n)(a, x),
            (F(5, low=0.5, high=3, grad=False), F(5, low=0.2, high=3)),
        )
        for n in ("gammainc", "gammaincc")
    ],
]
