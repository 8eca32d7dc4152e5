"""Samples of copies of views, integration, statistics, arrangements and number parts."""

from cases import Case, F, I

_COPIES = {
    "alias_copy": lambda m, x: m.alias_copy(x),
    "as_strided_copy": lambda m, x: m.as_strided_copy(x, (2, 3), (1, 4), 1),
    "detach_copy": lambda m, x: m.detach_copy(x.detach()) + x,
    "diagonal_copy": lambda m, x: m.diagonal_copy(x, 1),
    "expand_copy": lambda m, x: m.expand_copy(x, (2, 4, 6)),
    "narrow_copy": lambda m, x: m.narrow_copy(x.detach(), 1, 2, 3) + x[:, 2:5],
    "permute_copy": lambda m, x: m.permute_copy(x, (1, 0)),
    "select_copy": lambda m, x: m.select_copy(x, 1, 2),
    "slice_copy": lambda m, x: m.slice_copy(x, 1, 1, 5, 2),
    "split_copy": lambda m, x: m.split_copy(x, 4, 1),
    "split_with_sizes_copy": lambda m, x: m.split_with_sizes_copy(x, [1, 5], 1),
    "squeeze_copy": lambda m, x: m.squeeze_copy(x),
    "t_copy": lambda m, x: m.t_copy(x),
    "transpose_copy": lambda m, x: m.transpose_copy(x, 0, 1),
    "unbind_copy": lambda m, x: m.unbind_copy(x, 1),
    "unfold_copy": lambda m, x: m.unfold_copy(x, 1, 3, 2),
    "unsqueeze_copy": lambda m, x: m.unsqueeze_copy(x, 1),
    "view_copy": lambda m, x: m.view_copy(x, (3, 8)),
    "unsafe_chunk": lambda m, x: m.unsafe_chunk(x, 2, 1),
    "unsafe_split": lambda m, x: m.unsafe_split(x, 4, 1),
    "hsplit": lambda m, x: m.hsplit(x, 2),
    "vsplit": lambda m, x: m.vsplit(x, [1, 3]),
    "sum_to_size": lambda m, x: x.sum_to_size(1, 6),
    "diagflat": lambda m, x: m.diagflat(x[0], 1),
    "trapezoid": lambda m, x: m.trapezoid(x, dx=0.5, dim=1),
    "cumulative_trapezoid": lambda m, x: m.cumulative_trapezoid(x, dim=0),
    "gradient": lambda m, x: m.gradient(x, spacing=0.5, edge_order=2),
    "cov": lambda m, x: m.cov(x),
    "corrcoef": lambda m, x: m.corrcoef(x),
    "renorm": lambda m, x: m.renorm(x, 2, 0, 1.5),
    "quantile": lambda m, x: m.quantile(x, m.tensor([0.1, 0.6]), 1),
    "nanquantile": lambda m, x: m.nanquantile(x, 0.3, 1, keepdim=True),
    "nanmedian": lambda m, x: m.nanmedian(x, 1)[0],
    "frexp": lambda m, x: m.frexp(x)[0],
    "zero_": lambda m, x: m.zero_(x.clone()) + x,
    "resize_as_": lambda m, x: m.resize_as_(x.detach().clone(), m.zeros(2, 3)) * x.sum(),
    "empty_permuted": lambda m, x: (
        m.empty_permuted((2, 3), (1, 0)).new_empty_strided((4, 6), (1, 4)).zero_() + x
    ),
    "diag_embed.below": lambda m, x: m.diag_embed(x, -2),
    "logsumexp.scalar": lambda m, x: m.logsumexp(x.sum() * 100, 0),
    "diff.none": lambda m, x: m.diff(x, 0, 1, x),
    "tensordot.ones": lambda m, x: m.tensordot(x[:, :1], x, ([0, 1], [0, 1])),
    "resolve_conj": lambda m, x: m.resolve_conj(x).resolve_neg() * 2,
    "slice_scatter": lambda m, x: m.slice_scatter(x, x[:, :2] * 3, 1, 1, 3),
    "select_scatter": lambda m, x: m.select_scatter(x, x[0] * 3, 0, 1),
}
CASES = (
    [Case(n, f, (F(4, 6),)) for n, f in _COPIES.items()]
    + [
        Case(f"{n}.int", lambda m, x, y, n=n: getattr(m, n)(x, y), (I(3, 4), I(4)), grad=False)
        for n in ("gcd", "lcm")
    ]
    + [
        Case("dsplit", lambda m, x: m.dsplit(x, 2), (F(2, 3, 4),)),
        Case("ldexp", lambda m, x, i: m.ldexp(x, i), (F(3, 4), I(4, low=0, high=4))),
        Case("logaddexp2", lambda m, x, y: m.logaddexp2(x, y), (F(3, 4), F(4))),
        Case("lcm.scalar", lambda m, x, y: m.lcm(x, y), (I(), I()), grad=False),
        Case("frexp.scalar", lambda m, x: m.frexp(x)[0], (F(),)),
        Case("signbit", lambda m, x: m.signbit(x), (F(3, 4),), grad=False),
        Case("frexp.exponent", lambda m, x: m.frexp(x)[1], (F(3, 4),), grad=False),
        Case("diagonal_scatter", lambda m, x, y: m.diagonal_scatter(x, y), (F(3, 4), F(3))),
        Case(
            "as_strided_scatter",
            lambda m, x, y: m.as_strided_scatter(x, y, (2, 2), (1, 4), 1),
            (F(3, 4), F(2, 2)),
            grad=False,
        ),
        Case("trapezoid.grid", lambda m, y, x: m.trapezoid(y, x), (F(3, 5), F(5))),
        Case(
            "gradient.grid",
            lambda m, x: m.gradient(x, spacing=(m.tensor([0.0, 1.0, 1.5, 3.0, 5.0]),), dim=1),
            (F(3, 5),),
        ),
        Case("block_diag", lambda m, x, y: m.block_diag(x, y), (F(2, 3), F(3, 1))),
        Case("cartesian_prod", lambda m, x, y: m.cartesian_prod(x, y), (F(3), F(2))),
        Case("combinations", lambda m, x: m.combinations(x, 2), (F(4),)),
        Case(
            "unravel_index",
            lambda m, i: m.unravel_index(i, (3, 4)),
            (I(5, low=0, high=12),),
            grad=False,
        ),
        Case("put", lambda m, x, v: x.put(m.tensor([1, -2]), v), (F(3, 4), F(2))),
        Case(
            "index_reduce",
            lambda m, x, v: x.index_reduce(0, m.tensor([1, 0, 1]), v, "amax"),
            (F(3, 4), F(3, 4)),
        ),
        Case("nonzero_static", lambda m, x: m.nonzero_static(x, size=9), (I(3, 4),), grad=False),
        Case("mode", lambda m, x: m.mode(x, 1), (I(3, 8, low=0, high=3),), grad=False),
        Case("histogram", lambda m, x: m.histogram(x, 4)[0], (F(3, 8),), grad=False),
        Case("histogramdd", lambda m, x: m.histogramdd(x, [3, 2])[0], (F(9, 2),), grad=False),
    ]
)
