"""Samples of special functions."""

from cases import Case, F

_BESSEL = (
    "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_k0 modified_bessel_k1 "
    "scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0"
).split()
_POLYNOMIALS = [
    *[f"{s}chebyshev_polynomial_{k}" for s in ("", "shifted_") for k in "tuvw"],
    *("hermite_polynomial_h", "hermite_polynomial_he"),
    *("laguerre_polynomial_l", "legendre_polynomial_p"),
]
_WINDOWS = "bartlett blackman cosine exponential gaussian hamming hann kaiser nuttall".split()
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
    *[
        Case(
            f"special.{n}",
            lambda m, x, n=n: getattr(m.special, n)(x),
            (F(4, 5, low=0.1, high=9.0, grad=False),),
            grad=False,
        )
        for n in _BESSEL
    ],
    Case(
        "special.zeta",
        lambda m, x, q: m.special.zeta(x, q),
        (F(7, low=1.1, high=4, grad=False), F(7, low=0.1, high=4, grad=False)),
        grad=False,
    ),
    *[
        Case(
            f"special.{n}",
            lambda m, x, n=n: getattr(m.special, n)(x[:, None], m.arange(-1, 12)),
            (F(9, low=-1.5, high=1.5, grad=False),),
            grad=False,
            tolerance=1e-4,
        )
        for n in _POLYNOMIALS
    ],
    Case("mvlgamma", lambda m, x: m.mvlgamma(x, 3) + x.mvlgamma(2), (F(5, low=2, high=4),)),
    Case(
        "igamma",
        lambda m, a, x: m.igamma(a, x) + a.igammac(x) * 2,
        (F(5, low=0.5, high=3, grad=False), F(5, low=0.2, high=3)),
    ),
    *[
        Case(
            f"signal.windows.{n}",
            lambda m, n=n: [getattr(m.signal.windows, n)(9, sym=s) for s in (True, False)],
            (),
            grad=False,
        )
        for n in _WINDOWS
    ],
    Case(
        "signal.windows.general_cosine",
        lambda m: (
            m.signal.windows.general_cosine(7, a=[0.5, 0.3, 0.2])
            + m.signal.windows.general_hamming(7, alpha=0.6, sym=False)
        ),
        (),
        grad=False,
    ),
]
