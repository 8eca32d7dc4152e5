"""Samples of what depends on how numbers are represented: bits, neighbours, complex numbers."""

from cases import Case, F, I


def write_through_strides(m, x):
    """A write through overlapping strides' base, read back whole."""
    y = x.clone()
    y.as_strided((2, 2), (5, 1), 3).mul_(3)
    return y


CASES = [
    Case(
        "shift.left",
        lambda m, x, y: m.bitwise_left_shift(x, y),
        (I(4), I(4, low=0, high=5)),
        grad=False,
    ),
    Case(
        "shift.right",
        lambda m, x, y: m.bitwise_right_shift(x, y),
        (I(4), I(4, low=0, high=3)),
        grad=False,
    ),
    Case("nextafter", lambda m, x, y: m.nextafter(x, y), (F(3, 4), F(3, 4)), grad=False),
    Case("view.bits", lambda m, x: x.view(m.int32), (F(3, 4),), grad=False),
    Case("cummin", lambda m, x: m.cummin(x, 1), (F(3, 4),)),
    Case("as_strided.write", write_through_strides, (F(4, 5),)),
    Case(
        "complex.product",
        lambda m, x, y: m.real(m.conj(m.complex(x, y)) * m.complex(y, x + 1)),
        (F(3, 4), F(3, 4)),
    ),
    Case("complex.imag", lambda m, x, y: m.imag(m.complex(x, y) ** 2), (F(3, 4), F(3, 4))),
    Case(
        "complex.sgn",
        lambda m, x, y: m.real(m.sgn(m.complex(x, y))),
        (F(3, 4), F(3, 4)),
        grad=False,
    ),
]
