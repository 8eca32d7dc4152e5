"""Matrix products through cuBLASLt: a layout that it can read is passed on without a copy."""

from __future__ import annotations

from math import prod
from typing import Any

from cupola.backends.cuda.cublaslt import EPILOGUES, KINDS, Operand, Product, Unavailable
from cupola.backends.cuda.device import current, require
from cupola.backends.cuda.flags import flags


def _layout(x: Any) -> tuple[int, int] | None:
    """(operation, leading dimension) of the last two dimensions, or None: they need a copy.

    To the column-major library a row-major array is its own transpose: operation 0 reads that,
    operation 1 the transpose of a column-major array.
    """
    rows, columns = x.shape[-2:]
    size = x.dtype.itemsize
    s0, s1 = x.strides[-2] // size, x.strides[-1] // size
    if (s1 == 1 or columns == 1) and (s0 >= columns or rows == 1):
        return 0, max(s0 if rows > 1 else columns, 1)
    if (s0 == 1 or rows == 1) and (s1 >= rows or columns == 1):
        return 1, max(s1 if columns > 1 else rows, 1)
    return None


def _batch(x: Any) -> int | None:
    """The one stride, in elements, of all leading dimensions taken together, or None."""
    stride, span = 0, 1
    for n, s in zip(reversed(x.shape[:-2]), reversed(x.strides[:-2])):
        if n == 1:
            continue
        if span == 1:
            stride = s
        elif s != stride * span:
            return None
        span *= n
    return int(stride // x.dtype.itemsize)


def _operand(operation: int, lead: int, rows: int, columns: int, stride: int) -> Operand:
    """A row-major (rows, columns) operand as the library sees it."""
    if operation == 0:
        return Operand(0, columns, rows, lead, stride)
    return Operand(1, rows, columns, lead, stride)


# An operand whose leading dimensions have no common stride, as the heads of an attention have, is
# copied if it is small; else the first dimension is taken one by one, if it is short.
_COPIED = 4 << 20
_SLICES = 8


class _Plan:
    """What is to be done for operands of given shapes and strides.

    Attributes:
        slices: how many products along the first dimension there are; 0: one for all.
        steps: bytes from one of them to the next: b, a, result.
    """

    __slots__ = ("copy_a", "copy_b", "product", "shape", "slices", "steps", "trivial")

    def __init__(
        self, a: Any, b: Any, align: int, bias: bool, activation: str, residual: bool
    ) -> None:
        xp = require()
        m, k = a.shape[-2:]
        n = b.shape[-1]
        self.shape = (*a.shape[:-1], n)
        self.copy_a = _layout(a) is None or _batch(a) is None
        self.copy_b = _layout(b) is None or _batch(b) is None
        self.product: Product | None = None
        self.slices = 0
        self.steps = (0, 0, 0)
        self.trivial = 0 in (*self.shape, k)
        if self.trivial:
            return
        if self._sliced(a, b):
            size = a.dtype.itemsize
            self.slices = a.shape[0]
            self.steps = (b.strides[0], a.strides[0], size * m * n * prod(self.shape[1:-2]))
            self.copy_a = self.copy_b = False
            align = min(align, *(s & -s for s in self.steps if s))
            a, b = a[0], b[0]
        a = xp.ascontiguousarray(a) if self.copy_a else a
        b = xp.ascontiguousarray(b) if self.copy_b else b
        (ta, lda), (tb, ldb) = _layout(a), _layout(b)  # type: ignore[misc]
        sa, sb = _batch(a) or 0, _batch(b) or 0
        count = prod(a.shape[:-2])
        if count > 1 and sb == 0 and ta == 0 and sa == m * lda:
            m, count = m * count, 1  # one matrix for all: a single tall product
        # The library is column-major: it computes the transpose, with the operands exchanged.
        self.product = Product(
            a.dtype.name, _operand(tb, ldb, k, n, sb), _operand(ta, lda, m, k, sa), n, m, count,
            align, flags.matmul_tf32, bias, activation, residual,
        )  # fmt: skip

    def _sliced(self, a: Any, b: Any) -> bool:
        if not 1 < a.shape[0] <= _SLICES or a.ndim < 4:
            return False
        copied = self.copy_a * a.nbytes + self.copy_b * b.nbytes
        ready = all(_layout(x) is not None and _batch(x[0]) is not None for x in (a, b))
        return copied >= _COPIED and ready


_plans: dict[Any, _Plan | None] = {}


def matmul(a: Any, b: Any, bias: Any = None, activation: str = "", residual: Any = None) -> Any:
    """activation(a (..., M, K) @ b (..., K, N) + bias (N,) + residual (..., M, N)), equal leading
    dimensions.

    Half types accumulate in float32; float32 uses TF32 only where ``flags.matmul_tf32`` is set.
    activation: ``relu``, ``gelu_tanh`` or none. The result is C-contiguous.
    """
    xp = require()
    residual = None if residual is None else xp.ascontiguousarray(residual)
    low = a.data.ptr | b.data.ptr
    for extra in (bias, residual):
        low |= extra.data.ptr if extra is not None else 0
    low &= 255
    key = (
        a.shape, a.strides, b.shape, b.strides, a.dtype.num, low & -low, bias is None, activation,
        residual is None, flags.matmul_tf32, current(),
    )  # fmt: skip
    try:
        plan = _plans[key]
    except KeyError:
        if len(_plans) >= 4096:
            _plans.clear()
        align = (low & -low) or 256
        rest = bias is not None, activation, residual is not None
        plan = _plans[key] = _planned(a, b, align, *rest)
    if plan is None:
        return _other(xp, a, b, bias, activation, residual)
    if plan.product is None:
        return _finish(xp.zeros(plan.shape, a.dtype), bias, activation, residual)
    out = xp.empty(plan.shape, a.dtype)
    a = xp.ascontiguousarray(a) if plan.copy_a else a
    b = xp.ascontiguousarray(b) if plan.copy_b else b
    addresses = (b.data.ptr, a.data.ptr, out.data.ptr)
    offset = bias.data.ptr if bias is not None else 0
    added = residual.data.ptr if residual is not None else 0
    plan.product(*addresses, offset, added)
    for i in range(1, plan.slices):
        beside = added and added + i * plan.steps[2]
        plan.product(*(p + i * step for p, step in zip(addresses, plan.steps)), offset, beside)
    return out


def _planned(
    a: Any, b: Any, align: int, bias: bool, activation: str, residual: bool
) -> _Plan | None:
    if a.dtype.name not in KINDS or activation not in EPILOGUES:
        return None
    try:
        return _Plan(a, b, align, bias, activation, residual)
    except Unavailable:
        return None


def _other(xp: Any, a: Any, b: Any, bias: Any, activation: str, residual: Any) -> Any:
    """Integers, bools and what cuBLASLt does not take: CuPy's own product."""
    if a.dtype == xp.bool_:
        return xp.matmul(a.astype(xp.int32), b.astype(xp.int32)) != 0
    return _finish(xp.matmul(a, b).astype(a.dtype, copy=False), bias, activation, residual)


def _finish(y: Any, bias: Any, activation: str, residual: Any) -> Any:
    from cupola.backends.cuda.epilogue import finish

    return finish(y, bias, residual, activation, -1)
