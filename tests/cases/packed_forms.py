"""Samples of functions that torch offers beside torch.nn.functional, and of histograms."""

from cases import Case, F, I

CASES = [
    Case(
        "native_layer_norm",
        lambda m, x, w, b: m.native_layer_norm(x, [4], w, b, 1e-5),
        (F(3, 4), F(4), F(4)),
        tolerance=1e-4,
    ),
    Case(
        "native_group_norm",
        lambda m, x, w, b: m.native_group_norm(x, w, b, 2, 6, 5, 3, 1e-5),
        (F(2, 6, 5), F(6), F(6)),
        tolerance=1e-4,
    ),
    Case(
        "native_batch_norm",
        lambda m, x, w, b: m.native_batch_norm(x, w, b, m.zeros(3), m.ones(3), True, 0.1, 1e-5),
        (F(4, 3, 5), F(3), F(3)),
        tolerance=1e-4,
    ),
    Case(
        "grid_sampler",
        lambda m, x, g: m.grid_sampler(x, g, 0, 1, False) + m.grid_sampler_2d(x, g, 1, 0, True),
        (F(2, 3, 4, 5), F(2, 3, 2, 2, low=-1, high=1)),
        tolerance=1e-4,
    ),
    Case(
        "grid_sampler_3d",
        lambda m, x, g: m.grid_sampler_3d(x, g, 0, 0, False),
        (F(1, 2, 3, 4, 5), F(1, 2, 2, 2, 3, low=-1, high=1)),
        tolerance=1e-4,
    ),
    Case(
        "hash_tensor",
        lambda m, x, i: (
            m.hash_tensor(x).view(m.int64),
            m.hash_tensor(i, 1, keepdim=True).view(m.int64),
        ),
        (F(3, 4), I(3, 4)),
        grad=False,
    ),
    Case("histogram", lambda m, x: list(m.histogram(x, 5)), (F(40),), grad=False),
    Case(
        "histogramdd",
        lambda m, x, w: [*m.histogramdd(x, [3, 2], weight=w, density=True)],
        (F(40, 2), F(40, low=0)),
        grad=False,
    ),
    Case("nuclear_norm", lambda m, x: m.nuclear_norm(x, dim=(0, 2), keepdim=True), (F(4, 2, 3),)),
    *[
        Case(
            f"fft.{n}",
            lambda m, x, n=n: getattr(m.fft, n)(x, norm="ortho").abs(),
            (F(4, 5),),
            tolerance=1e-4,
        )
        for n in ("hfft2", "hfftn", "ihfft2", "ihfftn")
    ],
]

CASES += [
    Case("hypot", lambda m, x, y: m.hypot(x, y) + m.complex(x, y).abs(), (F(5), F(5))),
    Case("vdot", lambda m, x, y: m.vdot(m.complex(x, y), m.complex(y, x)).abs(), (F(5), F(5))),
    Case(
        "__rpow__.negative",
        lambda m, x, y: x**y,
        (I(9, low=-3, high=3), I(9, low=-3, high=3)),
        grad=False,
    ),
    Case(
        "avg_pool2d.integers",
        lambda m, x: m.nn.functional.avg_pool2d(x, 2),
        (I(1, 2, 4, 4),),
        grad=False,
    ),
]

CASES.append(Case("chalf", lambda m, x: x.chalf().to(m.complex64).abs(), (F(5),), tolerance=1e-2))

CASES += [
    *[
        Case(
            f"segment_reduce.{n}",
            lambda m, x, n=n: m.segment_reduce(
                x, n, lengths=m.tensor([2, 0, 3, 1]), axis=0, initial=1 if n == "mean" else None
            ).clamp(-9, 9),
            (F(6, 3),),
        )
        for n in ("max", "min", "mean", "sum", "prod")
    ],
    Case(
        "vander",
        lambda m, x: m.vander(x) + m.vander(x, 4, increasing=True),
        (F(4),),
        grad=False,  # PyTorch's own backward raises
    ),
    Case("frobenius_norm", lambda m, x: m.frobenius_norm(x, dim=(0, 1)), (F(4, 3),)),
    Case(
        "norm_except_dim",
        lambda m, x: m.norm_except_dim(x, 2, 1),
        (F(4, 3, 2),),
    ),
    Case(
        "convolution",
        lambda m, x, w, b: m.convolution(x, w, b, [2], [1], [1], False, [0], 1),
        (F(2, 3, 9), F(4, 3, 3), F(4)),
        tolerance=1e-4,
    ),
    Case(
        "max_pool1d_with_indices",
        lambda m, x: (*m.max_pool1d_with_indices(x, [2]), *m.adaptive_max_pool1d(x, 3)),
        (F(2, 3, 8),),
    ),
    Case("native_dropout", lambda m, x: m.native_dropout(x, 0.0, True)[0], (F(4, 3),)),
    Case(
        "lobpcg",
        lambda m, x: m.lobpcg(x @ x.mT + 3 * m.eye(9), k=2, niter=500)[0],
        (F(9, 9, grad=False),),
        grad=False,
        tolerance=1e-2,
    ),
]

CASES += [
    Case(
        "conv_transpose1d.complex",
        lambda m, x, y, w: m.nn.functional.conv_transpose1d(m.complex(x, y), m.complex(w, w)).abs(),
        (F(1, 2, 5), F(1, 2, 5), F(2, 3, 2)),
        tolerance=1e-4,
    ),
    Case(
        "conv1d.complex",
        lambda m, x, y, w: m.nn.functional.conv1d(m.complex(x, y), m.complex(w, w)).abs(),
        (F(1, 2, 5), F(1, 2, 5), F(3, 2, 2)),
        tolerance=1e-4,
    ),
    Case("svd_lowrank", lambda m, x: m.svd_lowrank(x, 4)[1], (F(6, 4),), tolerance=1e-4),
]
