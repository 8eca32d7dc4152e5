"""The kernels that the CUDA dialect is tested with: every mode, stage kind, reduction and element
type.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codegen.cuda_samples import Builder, Sample
from cupola import dtypes as dt

F, D, I64 = dt.float32, dt.float64, dt.int64


def rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """C-contiguous strides."""
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def random(shape, d: dt.dtype = F, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    if d is dt.bool:
        return g.random(shape) < 0.5
    if d.category == 1:
        return g.integers(0 if not d.is_signed else -50, 100, shape).astype(d.np)
    return g.standard_normal(shape).astype(d.np)


def gelu(n: int = 1003, d: dt.dtype = F, offset: int = 0) -> Sample:
    """gelu(x * a + b) + c, the erf form; ``offset`` elements into the input, so that it is
    misaligned.
    """
    b = Builder((n,))
    x, y = b.buffer(random(n + offset, d)), b.buffer(np.zeros(n, d.np))
    c = b.buffer(random(n, d, 1))
    b.scalars += [(F, 1.25), (F, -0.5)]
    ax, ac, ay = b.access(x, (1,), offset), b.access(c, (1,)), b.access(y, (1,))
    w = F if d is not D else D
    s = b.stage("point")
    u = s("add", w, s("mul", w, s.load(ax), s("scalar", w, extra=0)), s("scalar", w, extra=1))
    e = s("erf", w, s("mul", w, u, s("const", w, extra=2**-0.5)))
    half = s("mul", w, u, s("const", w, extra=0.5))
    t = s("mul", w, half, s("add", w, e, s("const", w, extra=1.0)))
    s.store(ay, s("add", w, t, s.load(ac)))
    s.end()
    return b.sample(f"gelu_{d.name}_{n}_{offset}", 5e-6 if d is F else 1e-5)


def broadcast(shape=(6, 5, 8), d: dt.dtype = F) -> Sample:
    """x transposed + a row + a column, in three loops."""
    b = Builder(shape)
    p, q, r = shape
    x, row, col, y = (
        b.buffer(random((q, p, r), d)), b.buffer(random(r, d, 1)), b.buffer(random((p, 1), d, 2)),
        b.buffer(np.zeros(shape, d.np)),
    )  # fmt: skip
    s = b.stage("point")
    w = F if d in (dt.float16, dt.bfloat16) else d
    t = s("add", w, s.load(b.access(x, (r, p * r, 1))), s.load(b.access(row, (0, 0, 1))))
    s.store(b.access(y, rows(shape)), s("mul", w, t, s.load(b.access(col, (1, 0, 0)))))
    s.end()
    return b.sample(f"broadcast_{d.name}_{p}_{q}_{r}")


def padded(d: dt.dtype = F) -> Sample:
    """A two-dimensional pad with fill 7, then a flip of the last dimension."""
    b = Builder((3, 9, 12))
    x, y = b.buffer(random((3, 6, 8), d)), b.buffer(np.zeros((3, 9, 12), d.np))
    guards = ((-2, 6, (0, 1, 0)), (9, 8, (0, 0, -1)))
    ax = b.access(x, (48, 8, -1), -16 + 9, guards, fill=7)
    s = b.stage("point")
    s.store(b.access(y, (108, 12, 1)), s.load(ax))
    s.end()
    return b.sample(f"pad_{d.name}")


def row_guard() -> Sample:
    """A pad of whole rows: vectors stay possible."""
    b = Builder((7, 16))
    x, y = b.buffer(random((4, 16))), b.buffer(np.zeros((7, 16), np.float32))
    ax = b.access(x, (16, 1), -16, ((-1, 4, (1, 0)),), fill=-1.5)
    s = b.stage("point")
    s.store(b.access(y, (16, 1)), s("neg", F, s.load(ax)))
    s.end()
    return b.sample("row_guard")


def gather() -> Sample:
    """table[index[i], j] + j, with the index wrapped by the kernel; the row number also through
    loop and meta.
    """
    b = Builder((11, 12))
    table, index = b.buffer(random((9, 12))), b.buffer(random(11, I64) % 9 - 4)
    y = b.buffer(np.zeros((11, 12), np.float32))
    b.integers += [9, 3]
    s = b.stage("point")
    k = s.load(b.access(index, (1, 0)))
    wrapped = s("add", I64, k, s("meta", I64, extra=0))
    k = s("where", I64, s("lt", dt.bool, k, s("const", I64, extra=0)), wrapped, k)
    v = s.load(b.access(table, (0, 1), indirect=(12,)), k)
    j = s("mul", I64, s("loop", I64, extra=1), s("meta", I64, extra=1))
    s.store(b.access(y, (12, 1)), s("add", F, v, s("cast", F, j)))
    s.end()
    return b.sample("gather")


def unary(op: str, d: dt.dtype = F) -> Sample:
    b = Builder((70,))
    data = np.linspace(-3, 3, 70)
    if op in ("log", "log2", "log10", "sqrt", "lgamma", "tgamma"):
        data = np.abs(data) + 0.1
    elif op in ("asin", "acos", "atanh"):
        data = data / 3.1
    elif op in ("acosh",):
        data = np.abs(data) + 1.01
    elif op == "log1p":
        data = np.abs(data) - 0.9
    x, y = b.buffer(data.astype(d.np)), b.buffer(np.zeros(70, d.np))
    s = b.stage("point")
    s.store(b.access(y, (1,)), s(op, d, s.load(b.access(x, (1,)))))
    s.end()
    # Near a zero of the function the last bits of the float32 argument weigh most.
    return b.sample(f"{op}_{d.name}", 2e-5)


def machine(d: dt.dtype) -> Sample:
    """The arithmetic, comparison, bit and cast operations of a type, several outputs."""
    b = Builder((40,))
    x, z = b.buffer(random(40, d)), b.buffer(random(40, d, 1))
    s = b.stage("point")
    u, v = s.load(b.access(x, (1,))), s.load(b.access(z, (1,)))
    w = s.code[u].dtype

    def out(value: int, kind: dt.dtype) -> None:
        n = b.buffer(np.zeros(40, kind.np))
        s.store(b.access(n, (1,)), value)

    for op in ("add", "sub", "mul", "max", "min"):
        out(s(op, w, u, v), d)
    for op in ("eq", "ne", "lt", "le", "gt", "ge"):
        out(s(op, dt.bool, u, v), dt.bool)
    out(s("where", w, s("lt", dt.bool, u, v), v, u), d)
    out(s("fma", w, u, v, u), d)
    out(s("cast", dt.bool, u), dt.bool)
    out(s("cast", D, u), D)
    out(s("cast", dt.uint8, u), dt.uint8)
    out(s("cast", dt.int32, u), dt.int32)
    if d.is_signed:
        out(s("abs", w, u), d)
        out(s("neg", w, u), d)
    if d.is_floating_point:
        for op in ("div", "pow", "atan2", "copysign", "hypot", "fmod"):
            left = s("abs", w, u) if op == "pow" else u
            out(s(op, w, left, v), d)
        for op in ("floor", "ceil", "trunc", "round"):
            out(s(op, w, u), d)
        out(s("isnan", dt.bool, u), dt.bool)
    else:
        three = s("const", w, extra=3)
        out(s("idiv", w, u, three), d)
        out(s("imod", w, u, three), d)
        for op in ("and", "or", "xor"):
            out(s(op, w, u, v), d)
        out(s("not", w, u), d)
        out(s("shl", w, u, three), d)
        out(s("shr", w, u, three), d)
    s.end()
    return b.sample(f"machine_{d.name}", 1e-5)


def logic() -> Sample:
    b = Builder((33,))
    x, z = b.buffer(random(33, dt.bool)), b.buffer(random(33, dt.bool, 1))
    y = b.buffer(np.zeros(33, bool))
    s = b.stage("point")
    u, v = s.load(b.access(x, (1,))), s.load(b.access(z, (1,)))
    t = s("or", dt.bool, s("and", dt.bool, u, s("not", dt.bool, v)), s("xor", dt.bool, u, v))
    s.store(b.access(y, (1,)), t)
    s.end()
    return b.sample("logic")


def bits() -> Sample:
    b = Builder((16,))
    x, y = b.buffer(random(16)), b.buffer(np.zeros(16, np.int32))
    s = b.stage("point")
    s.store(b.access(y, (1,)), s("bitcast", dt.int32, s.load(b.access(x, (1,)))))
    s.end()
    return b.sample("bitcast")


def complex_product(d: dt.dtype = dt.complex64) -> Sample:
    b = Builder((21,))
    x = b.buffer((random(21) + 1j * random(21, seed=1)).astype(d.np))
    z = b.buffer((random(21, seed=2) + 1j * random(21, seed=3)).astype(d.np))
    y, m = b.buffer(np.zeros(21, d.np)), b.buffer(np.zeros(21, np.dtype(d.to_real().np)))
    s = b.stage("point")
    u, v = s.load(b.access(x, (1,))), s.load(b.access(z, (1,)))
    t = s("sub", d, s("mul", d, u, v), s("neg", d, s("const", d, extra=1 + 2j)))
    s.store(b.access(y, (1,)), t)
    s.store(b.access(m, (1,)), s("abs", d.to_real(), t))
    s.end()
    return b.sample(f"complex_{d.name}")


def softmax(n: int = 5, m: int = 40, d: dt.dtype = F, stride: int = 1) -> Sample:
    """Over the last dimension, or with ``stride`` > 1 over the first: three stages."""
    b = Builder((n,), (m,))
    shape, strides = ((n, m), (m, 1)) if stride == 1 else ((m, n), (1, n))
    x, y = b.buffer(random(shape, d)), b.buffer(np.zeros(shape, d.np))
    ax, ay = b.access(x, strides), b.access(y, strides)
    s = b.stage("reduce")
    s.reduce("max", s.load(ax))
    s.end()
    s = b.stage("reduce")
    s.reduce("sum", s("exp", F, s("sub", F, s.load(ax), s("carry", F, extra=0))))
    s.end()
    s = b.stage("map")
    e = s("exp", F, s("sub", F, s.load(ax), s("carry", F, extra=0)))
    s.store(ay, s("div", F, e, s("carry", F, extra=1)))
    s.end()
    return b.sample(f"softmax_{d.name}_{n}_{m}_{stride}")


def layer_norm(n: int = 6, m: int = 48, d: dt.dtype = F) -> Sample:
    """Mean, variance, then scale and shift; mean and rstd also stored by a point stage."""
    b = Builder((n,), (m,))
    x, w, bias = b.buffer(random((n, m), d)), b.buffer(random(m, d, 1)), b.buffer(random(m, d, 2))
    y, r = b.buffer(np.zeros((n, m), d.np)), b.buffer(np.zeros(n, np.float32))
    b.scalars += [(F, 1.0 / m), (F, 1e-5)]
    ax = b.access(x, (m, 1))
    s = b.stage("reduce")
    s.reduce("sum", s.load(ax))
    s.end()

    def centred(s) -> int:
        mean = s("mul", F, s("carry", F, extra=0), s("scalar", F, extra=0))
        return s("sub", F, s.load(ax), mean)

    def rstd(s) -> int:
        var = s("mul", F, s("carry", F, extra=1), s("scalar", F, extra=0))
        one = s("const", F, extra=1.0)
        return s("div", F, one, s("sqrt", F, s("add", F, var, s("scalar", F, extra=1))))

    s = b.stage("reduce")
    c = centred(s)
    s.reduce("sum", s("mul", F, c, c))
    s.end()
    s = b.stage("point")
    s.store(b.access(r, (1, 0)), rstd(s))
    s.end()
    s = b.stage("map")
    t = s("mul", F, centred(s), rstd(s))
    t = s("add", F, s("mul", F, t, s.load(b.access(w, (0, 1)))), s.load(b.access(bias, (0, 1))))
    s.store(b.access(y, (m, 1)), t)
    s.end()
    return b.sample(f"layer_norm_{d.name}_{n}_{m}", 2e-5)


def reduction(
    op: str, outer=(7,), inner=(30,), strides=(30, 1), d: dt.dtype = F, nan: bool = False
) -> Sample:
    """One reduction with an epilogue that reads a further buffer, except for arg reductions."""
    b = Builder(outer, inner)
    loops = (*outer, *inner)
    reach = 1 + sum(s * (n - 1) for s, n in zip(strides, loops))
    data = random(reach, d)
    if op == "prod" and d.is_floating_point:
        data = (1 + 0.05 * data.astype(np.float64)).astype(d.np)
    elif op == "prod":
        data = (data % 3 + 1).astype(d.np)
    elif d.is_floating_point and op.startswith("arg"):
        data = np.round(data.astype(np.float64) * 2).astype(d.np)  # ties: the first one wins
    if nan:
        data[[reach // 3, reach // 2]] = np.nan
    arg = op.startswith("arg")
    result = I64 if arg else d
    x, y = b.buffer(data), b.buffer(np.zeros(outer, result.np))
    ax = b.access(x, strides)
    ay = b.access(y, rows(outer) + (0,) * len(inner))
    s = b.stage("reduce")
    v = s.load(ax)
    if arg:
        index = s("loop", I64, extra=len(outer))
        for k in range(1, len(inner)):
            b.integers.append(inner[k])
            index = s("mul", I64, index, s("meta", I64, extra=k - 1))
            index = s("add", I64, index, s("loop", I64, extra=len(outer) + k))
        s.reduce(op, v, index)
    else:
        s.reduce(op, v)
    w = s.code[v].dtype
    s.end()
    s = b.stage("point")
    c = s("carry", I64 if arg else w, extra=0)
    if not arg:
        bias = b.buffer(random(outer, d, 3))
        c = s("add", w, c, s.load(b.access(bias, rows(outer) + (0,) * len(inner))))
    s.store(ay, c)
    s.end()
    label = "x".join(map(str, (*outer, 0, *inner)))
    return b.sample(f"{op}_{d.name}_{label}_{strides[-1]}{'_nan' if nan else ''}", 2e-5)


def moments(n: int = 64, c: int = 12, last: bool = True) -> Sample:
    """Sum and sum of squares of each channel (two carries), channels last or first."""
    b = Builder((c,), (2, n))
    strides = (1, n * c, c) if last else (n, n * c, 1)
    x, y = b.buffer(random(2 * n * c)), b.buffer(np.zeros((2, c), np.float32))
    s = b.stage("reduce")
    v = s.load(b.access(x, strides))
    s.reduce("sum", v)
    s.reduce("sum", s("mul", F, v, v))
    s.end()
    s = b.stage("point")
    s.store(b.access(y, (1, 0, 0)), s("carry", F, extra=0))
    s.store(b.access(y, (1, 0, 0), c), s("carry", F, extra=1))
    s.end()
    return b.sample(f"moments_{n}_{c}_{last}", 2e-5)


def pool() -> Sample:
    """Maximum over 3x3 windows with stride 2 and padding 1: guards along inner loops, tiny inner
    range.
    """
    b = Builder((4, 6, 6), (3, 3))
    x, y = b.buffer(random((4, 11, 11))), b.buffer(np.zeros((4, 6, 6), np.float32))
    guards = ((-1, 11, (0, 2, 0, 1, 0)), (-1, 11, (0, 0, 2, 0, 1)))
    ax = b.access(x, (121, 22, 2, 11, 1), -12, guards, fill=-np.inf)
    s = b.stage("reduce")
    s.reduce("max", s.load(ax))
    s.end()
    s = b.stage("point")
    s.store(b.access(y, (36, 6, 1, 0, 0)), s("carry", F, extra=0))
    s.end()
    return b.sample("pool")


def scalar_result() -> Sample:
    """No outer loop at all."""
    b = Builder((), (500,))
    x, y = b.buffer(random(500)), b.buffer(np.zeros(1, np.float32))
    s = b.stage("reduce")
    s.reduce("sum", s.load(b.access(x, (1,))))
    s.end()
    s = b.stage("point")
    s.store(b.access(y, (0,)), s("carry", F, extra=0))
    s.end()
    return b.sample("scalar_result")


def reread() -> Sample:
    """A map stage stores what a later reduce stage reads in another order."""
    b = Builder((3,), (64,))
    x, t, y = (
        b.buffer(random((3, 64))),
        b.buffer(np.zeros((3, 64), np.float32)),
        b.buffer(np.zeros(3, np.float32)),
    )
    s = b.stage("map")
    s.store(b.access(t, (64, 1)), s("exp", F, s.load(b.access(x, (64, 1)))))
    s.end()
    s = b.stage("reduce")
    flipped = s.load(b.access(t, (64, -1), 63))
    s.reduce("sum", s("mul", F, flipped, s.load(b.access(x, (64, 1)))))
    s.end()
    s = b.stage("point")
    s.store(b.access(y, (1, 0)), s("carry", F, extra=0))
    s.end()
    return b.sample("reread")


SMALL_TYPES = (dt.uint8, dt.int8, dt.int16, dt.uint16, dt.int32, dt.uint32, dt.int64, dt.uint64)
HALVES = (dt.float16, dt.bfloat16)
UNARY = (
    "exp expm1 log log1p log2 log10 exp2 sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh erf erfc lgamma tgamma sqrt floor ceil trunc round"
).split()


def samples() -> list[Callable[[], Sample]]:
    """All kernels, as functions without arguments."""
    found: list[Callable[[], Sample]] = [
        gelu, lambda: gelu(1000, D), lambda: gelu(1001, F, 1), lambda: gelu(1000, F, 4), broadcast,
        lambda: broadcast((4, 3, 7)), lambda: broadcast((3, 4, 16), dt.int64), padded,
        lambda: padded(dt.int8), row_guard, gather, logic, bits, complex_product,
        lambda: complex_product(dt.complex128), softmax, lambda: softmax(3, 3000),
        lambda: softmax(40, 9),
        lambda: softmax(36, 50, F, 2), lambda: softmax(4, 64, dt.bfloat16), layer_norm,
        lambda: layer_norm(3, 47), lambda: layer_norm(2, 128, dt.float16), moments,
        lambda: moments(50, 6, False), pool, scalar_result, reread,
    ]  # fmt: skip
    found += [lambda d=d: gelu(1010, d) for d in HALVES]
    found += [lambda d=d: broadcast((3, 4, 16), d) for d in HALVES]
    found += [lambda d=d: machine(d) for d in (*SMALL_TYPES, F, D, *HALVES)]
    for op in ("sum", "prod", "max", "min", "argmax", "argmin"):
        found.append(lambda op=op: reduction(op))
        found.append(lambda op=op: reduction(op, (5,), (6, 4), (24, 4, 1)))
        found.append(lambda op=op: reduction(op, (40,), (30,), (1, 40)))
        found.append(lambda op=op: reduction(op, (3, 4), (9,), (36, 1, 4), dt.int32))
    for op in ("max", "min", "argmax", "argmin"):
        found.append(lambda op=op: reduction(op, (1,), (300,), (0, 1), nan=True))
        found.append(lambda op=op: reduction(op, (2,), (64,), (64, 1), dt.float16))
    found.append(lambda: reduction("sum", (2,), (64,), (64, 1), dt.bfloat16))
    found.append(lambda: reduction("sum", (4,), (33,), (33, 1), dt.int64))
    found.append(lambda: reduction("sum", (4,), (33,), (33, 1), D))
    return found


def all_samples() -> list[Sample]:
    return [f() for f in samples()] + [unary(op, d) for op in UNARY for d in (F, D)]
