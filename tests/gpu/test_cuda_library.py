"""Library calls of the CUDA backend against NumPy and, for convolutions, float64 sums over taps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cupola.backends.cuda import available, flags

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]

TYPES = ("float32", "float64", "float16", "bfloat16")
CLOSE = {"float32": 2e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2}


def dtype_of(name: str) -> np.dtype:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def random(shape, name: str, seed: int):
    import cupy

    return cupy.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype_of(name)))


def error(got, want) -> float:
    """Relative error in the Euclidean norm."""
    import cupy

    got = cupy.asnumpy(got).astype(np.float64)
    assert got.shape == want.shape
    return float(np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30))


def wide(x) -> np.ndarray:
    import cupy

    return cupy.asnumpy(x).astype(np.float64)


@pytest.mark.parametrize("name", (*TYPES, "complex64"))
def test_matmul_layouts(name: str) -> None:
    import cupy

    from cupola.backends.cuda.gemm import matmul

    close = CLOSE.get(name, 2e-5)
    kind = "float32" if name == "complex64" else name

    def make(*shape, seed=0):
        x = random(shape, kind, seed)
        return x if name != "complex64" else (x + 1j * random(shape, kind, seed + 9)).astype(name)

    def check(a, b) -> None:
        wa, wb = cupy.asnumpy(a), cupy.asnumpy(b)
        wide_type = np.complex128 if name == "complex64" else np.float64
        want = np.matmul(wa.astype(wide_type), wb.astype(wide_type))
        got = matmul(a, b)
        assert got.flags.c_contiguous and got.dtype == a.dtype
        norm = np.linalg.norm(cupy.asnumpy(got).astype(wide_type) - want) / np.linalg.norm(want)
        assert norm < close

    a, b = make(33, 17), make(17, 29, seed=1)
    check(a, b)
    check(make(17, 33).T, b)
    check(a, make(29, 17, seed=2).T)
    check(make(17, 33).T, make(29, 17).T)
    check(a[:, ::2], b[::2])
    check(make(40, 34)[3:36, 5:22], b)
    check(make(1, 17), b)
    check(make(33, 1), make(1, 29))
    check(make(5, 33, 17), make(5, 17, 29))
    check(make(2, 3, 33, 17), make(2, 3, 29, 17).swapaxes(-1, -2))
    check(make(3, 2, 33, 17).swapaxes(0, 1), make(2, 3, 17, 29))
    check(make(5, 33, 17), cupy.broadcast_to(b, (5, 17, 29)))
    check(cupy.broadcast_to(a, (5, 33, 17)), make(5, 17, 29))
    check(make(17, 5, 33).transpose(1, 2, 0), make(5, 17, 29))


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("activation", ("", "relu", "gelu_tanh"))
def test_matmul_epilogue(name: str, activation: str) -> None:
    from cupola.backends.cuda.gemm import matmul

    a, b, bias = random((4, 40, 24), name, 1), random((4, 24, 32), name, 2), random(32, name, 3)
    want = wide(a) @ wide(b) + wide(bias)
    if activation == "relu":
        want = np.maximum(want, 0)
    elif activation:
        want = 0.5 * want * (1 + np.tanh((2 / np.pi) ** 0.5 * (want + 0.044715 * want**3)))
    close = max(CLOSE[name], 1e-3 if activation == "gelu_tanh" else 0)
    for bias_now in (bias, random(32, name, 3)):  # another address for the same plan
        assert error(matmul(a, b, bias_now, activation), want) < close


def test_matmul_is_captured() -> None:
    import cupy

    from cupola.backends.cuda.gemm import matmul

    a, b = random((64, 32), "float32", 1), random((32, 48), "float32", 2)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        matmul(a, b)
        stream.begin_capture()
        y = matmul(a, b)
        graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
    assert error(y, wide(a) @ wide(b)) < CLOSE["float32"]


def test_matmul_edges() -> None:
    import cupy

    from cupola.backends.cuda.gemm import matmul

    assert matmul(cupy.ones((3, 0)), cupy.ones((0, 4))).get().tolist() == [[0.0] * 4] * 3
    assert matmul(cupy.ones((0, 3)), cupy.ones((3, 4))).shape == (0, 4)
    i = cupy.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(matmul(i, i.T).get(), i.get() @ i.get().T)
    assert matmul(i, i.T).dtype == np.int64


def test_matmul_tf32_flag() -> None:
    from cupola.backends.cuda.gemm import matmul

    a, b = random((512, 512), "float32", 0), random((512, 512), "float32", 1)
    want = wide(a) @ wide(b)
    assert error(matmul(a, b), want) < 1e-6
    flags.matmul_tf32 = True
    try:
        assert 1e-5 < error(matmul(a, b), want) < 1e-3
    finally:
        flags.matmul_tf32 = False


# x shape, w shape, stride, padding, dilation, groups
CASES = [
    ((2, 8, 9, 11), (12, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((2, 8, 12, 12), (16, 8, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 3, 32, 32), (8, 3, 7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
    ((2, 8, 9, 9), (8, 8, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 8, 9, 9), (8, 4, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    ((2, 6, 9, 9), (6, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 6),
    ((2, 4, 13, 13), (5, 4, 3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2), 1),
    ((2, 4, 9, 9), (5, 4, 2, 4), (1, 1), ((0, 1), (1, 2)), (1, 1), 1),
    ((2, 4, 9, 9), (5, 4, 3, 3), (1, 1), ((-1, 1), (0, -2)), (1, 1), 1),
    ((2, 4, 20), (6, 4, 5), (2,), ((2, 2),), (1,), 1),
    ((2, 4, 20), (6, 2, 3), (1,), ((1, 0),), (2,), 2),
    ((1, 3, 5, 6, 7), (4, 3, 3, 3, 3), (1, 1, 1), ((1, 1), (1, 1), (1, 1)), (1, 1, 1), 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 4, 8, 8), (4, 4, 3, 3), (3, 3), ((0, 0), (0, 0)), (1, 1), 1),
]


def oracle(case, x, w, g):
    """Result and both gradients in float64 by the primitives' references on the host."""
    from cupola.ops import conv

    window = dict(zip(("stride", "padding", "dilation", "groups"), case[2:]))
    y = conv.convolution.reference(np, x, w, **window)
    g = g(y.shape)
    dx = conv.convolution_input_grad.reference(np, wide(g), w, x_shape=x.shape, **window)
    dw = conv.convolution_weight_grad.reference(np, wide(g), x, w_shape=w.shape, **window)
    return y, g, dx, dw, window


@pytest.mark.parametrize("unfold", (False, True), ids=("cudnn", "im2col"))
@pytest.mark.parametrize("last", (False, True), ids=("nchw", "nhwc"))
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("number", range(len(CASES)))
def test_convolution(number: int, name: str, last: bool, unfold: bool, monkeypatch) -> None:
    from cupola.backends.cuda import convolution as c

    case = CASES[number]
    if any(min(p) < 0 for p in case[3]):
        positive = tuple((max(0, lo), max(0, hi)) for lo, hi in case[3])
        crop = tuple(
            slice(max(0, -lo), n - max(0, -hi)) for n, (lo, hi) in zip(case[0][2:], case[3])
        )
    else:
        positive, crop = case[3], None
    monkeypatch.setattr(flags, "cudnn", not unfold)
    monkeypatch.setattr(flags, "cudnn_tf32", False)
    x, w = random(case[0], name, 1), random(case[1], name, 2)
    hx = wide(x) if crop is None else wide(x)[(slice(None), slice(None), *crop)]
    full = (hx.shape, case[1], case[2], positive, case[4], case[5])
    y, g, dx, dw, _ = oracle(full, hx, wide(w), lambda shape: random(shape, name, 3))
    if crop is not None:
        grown = np.zeros(case[0])
        grown[(slice(None), slice(None), *crop)] = dx
        dx = grown
    if last:
        x, w, g = c.channels_last(x), c.channels_last(w), c.channels_last(g)
    args = case[2:]
    close = CLOSE[name] * (1 if name != "float16" else 2)
    assert error(c.convolution(x, w, *args), y) < close
    assert error(c.input_grad(g, w, case[0], *args), dx) < close
    assert error(c.weight_grad(g, x, case[1], *args), dw) < close


@pytest.mark.parametrize("name", ("float32", "bfloat16"))
@pytest.mark.parametrize("activation", (None, "relu", "silu", "gelu", "sigmoid", "tanh"))
def test_convolution_epilogue(name: str, activation: str | None) -> None:
    from cupola.backends.cuda import convolution as c
    from cupola.ops import conv

    x, w, b = random((2, 8, 10, 10), name, 1), random((16, 8, 3, 3), name, 2), random(16, name, 3)
    r = random((2, 16, 10, 10), name, 4)
    window = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y = (
        conv.convolution.reference(np, wide(x), wide(w), *window)
        + wide(b).reshape(1, -1, 1, 1)
        + wide(r)
    )
    from math import erf

    if activation:
        y = {
            "relu": lambda v: np.maximum(v, 0),
            "silu": lambda v: v / (1 + np.exp(-v)),
            "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
            "tanh": np.tanh,
            "gelu": lambda v: 0.5 * v * (1 + np.vectorize(erf)(v * 2**-0.5)),
        }[activation](y)
    for last in (False, True):
        arrays = [c.channels_last(a) if last else a for a in (x, w, r)]
        got = c.convolution(
            arrays[0], arrays[1], *window, bias=b, residual=arrays[2], activation=activation
        )
        assert error(got, y) < (1e-3 if name == "float32" else 1.6e-2)


def test_convolution_tf32_flag(monkeypatch) -> None:
    from cupola.backends.cuda import convolution as c
    from cupola.ops import conv

    x, w = random((8, 64, 28, 28), "float32", 1), random((64, 64, 3, 3), "float32", 2)
    window = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y = conv.convolution.reference(np, wide(x), wide(w), *window)
    for allowed, bound in ((False, 1e-6), (True, 1e-3)):
        monkeypatch.setattr(flags, "cudnn_tf32", allowed)
        assert error(c.convolution(x, w, *window), y) < bound


def test_cudnn_is_there() -> None:
    from cupola.backends.cuda import cudnn_graph

    if cudnn_graph.module() is None:
        pytest.skip("nvidia-cudnn-frontend is not installed: convolutions unfold instead")
    assert cudnn_graph.module().backend_version() >= 90000


def test_indexing() -> None:
    from cupola.backends.cuda import indexing as ix
    from cupola.ops import index

    for name in (*TYPES, "int64", "bool"):
        x = random((6, 5), "float32", 0)
        x = x.astype(dtype_of(name)) if name != "bool" else x > 0
        src = x[:4, :3] if name != "bool" else x[:4, :3]
        rows = np.array([[0, 5], [2, 5]])
        where = np.array([[0, 1, 4], [3, 3, 0], [1, 1, 1], [5, 2, 0]])
        import cupy

        r, w = cupy.asarray(rows), cupy.asarray(where)
        many = cupy.ascontiguousarray(x[:4].reshape(2, 2, 5))
        pairs = [
            (ix.index_rows(x, r), index.index_rows.reference(np, x.get(), rows)),
            (ix.gather(x, w, 0), index.gather.reference(np, x.get(), where, 0)),
            (
                ix.scatter_rows(x, r, many, False)[:, 0] * 0,
                np.zeros(6, dtype_of(name)) * x.get()[:, 0] * 0,
            ),
            (
                ix.scatter_rows(x, r, many, True),
                index.scatter_rows.reference(np, x.get(), rows, many.get(), True),
            ),
            (
                ix.scatter(x, w, src, 0, "add"),
                index.scatter.reference(np, x.get(), where, src.get(), 0, "add"),
            ),
        ]
        for got, want in pairs:
            np.testing.assert_allclose(
                wide(got), want.astype(np.float64), rtol=2e-2, atol=1e-2, err_msg=name
            )


def test_reference_on_device_then_on_host() -> None:
    import cupy

    from cupola.backends.cuda import library

    like = SimpleNamespace(shape=(3,), dtype=None)
    x = cupy.arange(3.0)
    op = SimpleNamespace(name="test_add", reference=lambda xp, a, k: xp.add(a, k))
    assert library.call(op, [x], {"k": 2}, like).get().tolist() == [2, 3, 4]

    def only_numpy(xp, a):
        return xp.maximum.accumulate(a)

    op = SimpleNamespace(name="test_running", reference=only_numpy)
    for _ in range(2):
        assert library.call(op, [x], {}, like).get().tolist() == [0, 1, 2]
    op = SimpleNamespace(name="test_wrong", reference=lambda xp, a: xp.reshape(a, (7,)))
    with pytest.raises(ValueError):
        library.call(op, [x], {}, like)


def test_several_results() -> None:
    import cupy

    from cupola.backends.cuda import library

    op = SimpleNamespace(name="test_two", reference=lambda xp, a: (np.sort(a), np.argsort(a)))
    a, b = library.call(op, [cupy.asarray([3.0, 1.0])], {}, None)
    assert a.get().tolist() == [1, 3] and b.get().tolist() == [1, 0]


def test_heads_are_multiplied_where_they_lie() -> None:
    """Operands (N, T, H, D) seen as (N, H, T, D): no common stride for N and H."""
    from cupola.backends.cuda import gemm

    q, k = (random((3, 512, 12, 64), "float32", seed).transpose(0, 2, 1, 3) for seed in (1, 2))
    assert q.nbytes >= gemm._COPIED
    scores = gemm.matmul(q, k.swapaxes(2, 3))
    assert error(scores, wide(q) @ wide(k).swapaxes(2, 3)) < CLOSE["float32"]
    assert error(gemm.matmul(scores, k), wide(scores) @ wide(k)) < CLOSE["float32"]


@pytest.mark.parametrize("name", ("float32", "float64", "float16", "int32", "int64", "int16"))
@pytest.mark.parametrize("largest", (True, False))
def test_extremes_at_repeated_places_are_exact(name: str, largest: bool) -> None:
    import cupy

    from cupola.backends.cuda.indexing import scatter

    rng = np.random.default_rng(5)
    x, values = ((rng.standard_normal(n) * 99).astype(name) for n in (40, 300))
    where = rng.integers(0, 40, 300)
    if values.dtype.kind == "f":
        values[:3] = np.nan, np.inf, -np.inf
    want = x.copy()
    (np.maximum if largest else np.minimum).at(want, where, values)
    arrays = (cupy.asarray(a) for a in (x, where, values))
    got = scatter(*arrays, dim=0, reduce="amax" if largest else "amin")
    np.testing.assert_array_equal(cupy.asnumpy(got), want)
