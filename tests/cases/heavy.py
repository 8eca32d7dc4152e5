"""Samples of convolutions in one to three dimensions, and of products of groups."""

from cases import Case, F

CASES = [
    Case("conv1d", lambda m, x, w: m.nn.functional.conv1d(x, w), (F(2, 3, 9), F(4, 3, 3))),
    Case(
        "conv2d.strided",
        lambda m, x, w, b: m.nn.functional.conv2d(x, w, b, stride=2, padding=(1, 2)),
        (F(2, 3, 9, 8), F(4, 3, 3, 3), F(4)),
        tolerance=1e-4,
    ),
    Case(
        "conv2d.grouped",
        lambda m, x, w: m.nn.functional.conv2d(x, w, dilation=2, groups=2),
        (F(2, 4, 9, 8), F(6, 2, 3, 2)),
        tolerance=1e-4,
    ),
    Case(
        "conv3d",
        lambda m, x, w: m.nn.functional.conv3d(x, w, padding=1),
        (F(1, 2, 4, 5, 6), F(3, 2, 3, 2, 3)),
        tolerance=1e-4,
    ),
    Case(
        "conv_transpose2d",
        lambda m, x, w: m.nn.functional.conv_transpose2d(x, w, stride=2, output_padding=1),
        (F(2, 3, 4, 5), F(3, 2, 3, 3)),
        tolerance=1e-4,
    ),
    Case(
        "grouped_mm",
        lambda m, x, w: m.nn.functional.grouped_mm(x, w, offs=m.tensor([2, 2, 7], dtype=m.int32)),
        (F(7, 4), F(3, 4, 8)),
        tolerance=1e-4,
    ),
]
