"""The CPU's heavy operators, oneDNN's and the fallback's, against torch in float64."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cupola.backends.cpu import heavy, onednn
from cupola.backends.cpu.fallback import FallbackOps
from cupola.backends.cpu.onednn import library, operation
from cupola.dtypes import bfloat16

BF16 = np.dtype(bfloat16.np)

needs_onednn = pytest.mark.skipif(not onednn.available(), reason=str(onednn.reason()))
IMPLEMENTATIONS = [pytest.param("onednn", marks=needs_onednn), "numpy"]
_MADE: dict[str, heavy.HeavyOps] = {}


@pytest.fixture(params=IMPLEMENTATIONS)
def ops(request):
    name = request.param
    if name not in _MADE:
        _MADE[name] = onednn.OneDNNOps() if name == "onednn" else FallbackOps()
    return _MADE[name]


def pairs(*pads):
    return tuple(p if isinstance(p, tuple) else (p, p) for p in pads)


# x, weight, stride, padding, dilation, groups
CONVOLUTIONS = {
    "3x3": ((2, 3, 17, 19), (8, 3, 3, 3), (1, 1), pairs(1, 1), (1, 1), 1),
    "blocked channels": ((2, 64, 14, 14), (64, 64, 3, 3), (1, 1), pairs(1, 1), (1, 1), 1),
    "stride and uneven padding": (
        *((2, 16, 17, 19), (32, 16, 3, 3), (2, 2), pairs((1, 0), (0, 2))),
        *((1, 1), 1),
    ),
    "depthwise": ((2, 16, 17, 19), (16, 1, 3, 3), (1, 1), pairs(1, 1), (1, 1), 16),
    "depthwise strided": ((2, 16, 17, 19), (16, 1, 3, 3), (2, 1), pairs(1, 1), (1, 1), 16),
    "depth multiplier": ((2, 16, 9, 9), (32, 1, 3, 3), (1, 1), pairs(1, 1), (1, 1), 16),
    "odd groups and dilation": ((2, 12, 17, 19), (18, 4, 3, 3), (1, 1), pairs(1, 1), (2, 2), 3),
    "1x1": ((1, 16, 8, 8), (24, 16, 1, 1), (1, 1), pairs(0, 0), (1, 1), 1),
    "1x1 on one pixel": ((3, 16, 1, 1), (24, 16, 1, 1), (1, 1), pairs(0, 0), (1, 1), 1),
    "stride over kernel": ((1, 16, 9, 8), (24, 16, 1, 1), (3, 2), pairs(0, 0), (1, 1), 1),
    "few channels, strided": ((2, 3, 10, 6), (5, 3, 1, 1), (2, 2), pairs(0, 0), (1, 1), 1),
    "dilation without effect": ((2, 16, 9, 6), (8, 16, 1, 3), (1, 1), pairs(0, 1), (3, 1), 1),
    "padding over kernel": ((1, 16, 3, 4), (32, 16, 2, 2), (4, 1), pairs((5, 0), 2), (1, 1), 1),
    "patches": ((1, 3, 32, 32), (64, 3, 8, 8), (8, 8), pairs(0, 0), (1, 1), 1),
    "stem": ((1, 3, 33, 33), (64, 3, 7, 7), (2, 2), pairs(3, 3), (1, 1), 1),
    "unused edge": ((1, 4, 12, 11), (4, 4, 3, 3), (3, 4), pairs(0, 0), (1, 1), 1),
    "kernel as large as x": ((1, 1, 5, 5), (1, 1, 5, 5), (1, 1), pairs(0, 0), (1, 1), 1),
    "mostly padding": ((2, 8, 1, 1), (8, 8, 3, 3), (1, 1), pairs(2, 2), (1, 1), 1),
    "1-d": ((2, 5, 31), (7, 5, 4), (3,), pairs((2, 1)), (2,), 1),
    "1-d wide": ((4, 32, 50), (32, 32, 3), (1,), pairs(1), (1,), 1),
    "3-d": ((2, 4, 7, 8, 9), (6, 4, 3, 2, 3), (1, 2, 1), pairs(1, (0, 1), 1), (1, 1, 1), 1),
    "3-d groups": ((2, 4, 7, 8, 9), (6, 2, 3, 2, 3), (1, 2, 1), pairs(1, 0, 1), (1, 1, 2), 2),
}


def last(array):
    """The array in channels-last memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def error(got, want):
    """The largest difference over the largest value."""
    want = want.detach().numpy() if isinstance(want, torch.Tensor) else want
    assert got.shape == want.shape
    if not want.size:
        return 0.0
    return np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-30)


def reference(x, weight, bias, stride, padding, dilation, groups):
    """torch's convolution in float64, with x and weight to differentiate for."""
    tx = torch.tensor(np.ascontiguousarray(x), dtype=torch.float64, requires_grad=True)
    tw = torch.tensor(np.ascontiguousarray(weight), dtype=torch.float64, requires_grad=True)
    tb = None if bias is None else torch.tensor(bias, dtype=torch.float64)
    conv = (F.conv1d, F.conv2d, F.conv3d)[len(stride) - 1]
    flat = [size for pair in reversed(padding) for size in pair]
    return tx, tw, conv(F.pad(tx, flat), tw, tb, stride, 0, dilation, groups)


@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, last], ids=["contiguous", "channels_last"]
)
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolution_and_gradients_match_torch(ops, case, layout):
    x_shape, w_shape, *numbers = case
    rng = np.random.default_rng(0)
    x = layout(rng.standard_normal(x_shape, np.float32))
    weight = rng.standard_normal(w_shape, np.float32)
    bias = rng.standard_normal(w_shape[0], np.float32)
    tx, tw, ty = reference(x, weight, bias, *numbers)
    grad = layout(rng.standard_normal(ty.shape, np.float32))
    tgrad = torch.tensor(np.ascontiguousarray(grad), dtype=torch.float64)
    gx, gw = torch.autograd.grad(ty, (tx, tw), tgrad)

    y = ops.convolution(x, weight, bias, *numbers)
    assert error(y, ty) < 2e-6
    assert error(ops.convolution_input_grad(grad, weight, x_shape, *numbers), gx) < 2e-6
    assert error(ops.convolution_weight_grad(grad, x, w_shape, *numbers), gw) < 2e-6
    assert heavy.is_channels_last(x) == (not y.flags.c_contiguous)

    residual = layout(rng.standard_normal(ty.shape, np.float32))
    want = np.maximum(ty.detach().numpy() + residual, 0)
    for key in (None, "weight", "weight"):  # plain, packing, packed
        args = (x, weight, bias, *numbers)
        fused = ops.convolution(*args, residual=residual, activation="relu", weight_key=key)
        assert error(fused, want) < 2e-6
    ops.forget("weight")
    into = residual.copy(order="K")
    got = ops.convolution(x, weight, bias, *numbers, residual=into, out=into, activation="relu")
    assert got is into and error(into, want) < 2e-6
    into = residual.copy(order="K")
    ops.convolution(x, weight, bias, *numbers, residual=into[:], out=into, activation="relu")
    assert error(into, want) < 2e-6


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64])
def test_other_dtypes_are_exact(ops, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, (2, 6, 11, 12)).astype(dtype)
    weight = rng.integers(-9, 9, (4, 3, 3, 3)).astype(dtype)
    numbers = ((2, 1), pairs(1, (0, 1)), (1, 2), 2)
    tx, tw, ty = reference(x, weight, None, *numbers)
    grad = rng.integers(-9, 9, ty.shape).astype(dtype)
    gx, gw = torch.autograd.grad(ty, (tx, tw), torch.tensor(grad, dtype=torch.float64))
    results = {
        "y": (ops.convolution(x, weight, None, *numbers), ty.detach()),
        "x": (ops.convolution_input_grad(grad, weight, x.shape, *numbers), gx),
        "w": (ops.convolution_weight_grad(grad, x, weight.shape, *numbers), gw),
    }
    for got, want in results.values():
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want.numpy().astype(dtype))


@pytest.mark.parametrize("dtype, bound", [(np.float16, 1e-3), (BF16, 8e-3)], ids=["f16", "bf16"])
def test_half_types_accumulate_wide(ops, dtype, bound):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 32, 10, 10)).astype(dtype)
    weight = rng.standard_normal((16, 32, 3, 3)).astype(dtype)
    bias = rng.standard_normal(16).astype(dtype)
    numbers = ((1, 1), pairs(1, 1), (1, 1), 1)
    wide = (array.astype(np.float64) for array in (x, weight, bias))
    tx, tw, ty = reference(*wide, *numbers)
    grad = rng.standard_normal(ty.shape).astype(dtype)
    gx, gw = torch.autograd.grad(ty, (tx, tw), torch.tensor(grad.astype(np.float64)))
    results = [
        (ops.convolution(x, weight, bias, *numbers), ty),
        (ops.convolution_input_grad(grad, weight, x.shape, *numbers), gx),
        (ops.convolution_weight_grad(grad, x, weight.shape, *numbers), gw),
    ]
    a = rng.standard_normal((3, 33, 300)).astype(dtype)
    b = rng.standard_normal((300, 70)).astype(dtype)
    results.append((ops.matmul(a, b), a.astype(np.float64) @ b.astype(np.float64)))
    for got, want in results:
        assert got.dtype == dtype
        assert error(got, want) < bound


def test_transposed_convolution(ops):
    rng = np.random.default_rng(0)
    for stride, pad, extra, dilation, groups in [(2, 1, 1, 1, 1), (3, 0, 2, 1, 2), (2, 1, 2, 3, 1)]:
        x = rng.standard_normal((2, 8, 7, 6), np.float32)
        weight = rng.standard_normal((8, 6, 3, 3), np.float32)
        want = F.conv_transpose2d(
            *(torch.tensor(x).double(), torch.tensor(weight).double()),
            *(None, stride, pad, extra, groups, dilation),
        )
        numbers = ((stride,) * 2, pairs(pad, pad), (dilation,) * 2, groups)
        assert error(ops.convolution_input_grad(x, weight, want.shape, *numbers), want) < 2e-6
        grad = rng.standard_normal(want.shape, np.float32)
        tw = torch.tensor(weight).double().requires_grad_()
        ty = F.conv_transpose2d(
            torch.tensor(x).double(), tw, None, stride, pad, extra, groups, dilation
        )
        (gw,) = torch.autograd.grad(ty, tw, torch.tensor(grad).double())
        assert error(ops.convolution_weight_grad(x, grad, weight.shape, *numbers), gw) < 2e-6


def torch_activation(activation):
    name, *parameters = (activation,) if isinstance(activation, str) else activation
    if name == "gelu_tanh":
        return lambda x: F.gelu(x, approximate="tanh")
    function = getattr(torch, name) if name in ("sigmoid", "tanh") else getattr(F, name)
    return lambda x: function(x, *parameters)


@pytest.mark.parametrize("activation", [*heavy.ACTIVATIONS, ("leaky_relu", 0.2), ("elu", 0.7)])
def test_activations(ops, activation):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 30), np.float32)
    b = 0.2 * rng.standard_normal((30, 50), np.float32)
    bias = rng.standard_normal(50, np.float32)
    function = torch_activation(activation)
    want = function(torch.tensor(a.astype(float) @ b.astype(float) + bias))
    assert error(ops.matmul(a, b, bias, activation=activation), want) < 5e-6
    x, weight = a.reshape(1, 40, 5, 6), 0.1 * rng.standard_normal((24, 40, 3, 3), np.float32)
    numbers = ((1, 1), pairs(1, 1), (1, 1), 1)
    want = function(reference(x, weight, None, *numbers)[2])
    got = ops.convolution(x, weight, None, *numbers, activation=activation)
    assert error(got, want) < 5e-6


@pytest.mark.parametrize("activation", heavy.ACTIVATIONS)
def test_special_values_pass_through(ops, activation):
    """NaN, infinity and the sign of zero come out as PyTorch's functions let them."""
    values = np.array([np.nan, np.inf, -2, -0.0, 0.0, 2], np.float32)
    want = torch_activation(activation)(torch.tensor(values)).numpy()
    # Depthwise, dense and im2col kernels; each product has one term, so that no infinity meets a 0.
    for channels, outputs, groups in [(16, 16, 16), (1, 16, 1), (2, 6, 2)]:
        x = np.ascontiguousarray(np.broadcast_to(values, (1, channels, 5, 6)))
        weight = np.ones((outputs, 1, 1, 1), np.float32)
        numbers = ((1, 1), pairs(0, 0), (1, 1), groups)
        y = ops.convolution(x, weight, None, *numbers, activation=activation)
        np.testing.assert_allclose(y[0], np.broadcast_to(want, (outputs, 5, 6)), rtol=1e-5)
        if activation == "relu":
            assert not np.signbit(y[..., 2]).any()
    a, b = np.zeros((40, 40), np.float32), np.eye(40, dtype=np.float32)
    a[7], a[8] = np.nan, -1
    y = ops.matmul(a, b, activation=activation)
    assert np.isnan(y[7]).all() and np.isnan(y).sum() == 40
    if activation == "relu":
        assert not y[8].any() and not np.signbit(y[8]).any()


def operand(rng, shape, form):
    """A random array of the shape whose memory is as `form` says."""
    if form == "transposed":
        return rng.standard_normal((*shape[:-2], shape[-1], shape[-2]), np.float32).swapaxes(-1, -2)
    if form == "sliced":
        return rng.standard_normal((*shape[:-1], shape[-1] * 2), np.float32)[..., ::2]
    if form == "reversed":
        return rng.standard_normal(shape, np.float32)[..., ::-1, :]
    if form == "cut":
        return rng.standard_normal((*shape[:-1], shape[-1] + 3), np.float32)[..., 1:-2]
    if form == "spread":
        return np.broadcast_to(rng.standard_normal((*shape[:-2], 1, shape[-1]), np.float32), shape)
    return rng.standard_normal(shape, np.float32)


MATMULS = [
    ((3, 4), (4, 5)),
    ((1, 200), (200, 100)),
    ((200, 1), (1, 100)),
    ((100, 200), (200, 1)),
    ((64, 300), (300, 72)),
    ((6, 33, 40), (40, 50)),
    ((6, 1, 40), (40, 50)),
    ((33, 40), (6, 40, 50)),
    ((6, 33, 40), (6, 40, 50)),
    ((2, 1, 33, 40), (5, 40, 50)),
    ((2, 5, 33, 40), (2, 1, 40, 50)),
    ((3, 1, 2, 1, 9, 40), (1, 4, 1, 5, 40, 50)),
]


@pytest.mark.parametrize("forms", [("plain", "plain"), ("plain", "transposed"),
    ("transposed", "plain"), ("transposed", "transposed"), ("sliced", "cut"), ("cut", "sliced"),
    ("reversed", "spread"), ("spread", "reversed")], ids="-".join)  # fmt: skip
@pytest.mark.parametrize("shapes", MATMULS, ids=str)
def test_matmul(ops, shapes, forms):
    rng = np.random.default_rng(0)
    a, b = (operand(rng, shape, form) for shape, form in zip(shapes, forms, strict=True))
    want = a.astype(np.float64) @ b.astype(np.float64)
    assert error(ops.matmul(a, b), want) < 2e-6
    bias = rng.standard_normal(b.shape[-1], np.float32)
    for key in (None, "b", "b"):
        assert error(ops.matmul(a, b, bias, weight_key=key), want + bias) < 2e-6
    ops.forget("b")
    full = rng.standard_normal(want.shape, np.float32)
    assert error(ops.matmul(a, b, full, activation="relu"), np.maximum(want + full, 0)) < 2e-6
    for out in (np.empty_like(full), np.empty((*want.shape, 2), np.float32)[..., 0]):
        assert ops.matmul(a, b, bias, out=out) is out
        assert error(out, want + bias) < 2e-6


def test_attention_heads_without_copies(ops):
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((2, 33, 3, 4, 16), np.float32)
    q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))
    wide = [array.astype(np.float64) for array in (q, k, v)]
    scores = ops.matmul(q, k.swapaxes(-1, -2))
    assert error(scores, wide[0] @ wide[1].swapaxes(-1, -2)) < 2e-6
    assert error(ops.matmul(scores, v), scores.astype(float) @ wide[2]) < 2e-6


def test_integer_matmul_is_exact_and_wraps(ops):
    rng = np.random.default_rng(0)
    for dtype in (np.int8, np.uint8, np.int16, np.int32, np.int64):
        info = np.iinfo(dtype)
        a = rng.integers(info.min, info.max, (20, 30), dtype, endpoint=True)
        b = rng.integers(info.min, info.max, (30, 7), dtype, endpoint=True)
        want = (torch.tensor(a) @ torch.tensor(b)).numpy()
        np.testing.assert_array_equal(ops.matmul(a, b), want)
    a, b = rng.standard_normal((2, 9, 8)), rng.standard_normal((8, 7))
    np.testing.assert_allclose(ops.matmul(a, b), a @ b, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_arrays(ops, dtype):
    numbers = ((1, 1), pairs(1, 1), (1, 1), 1)
    weight = np.ones((4, 3, 3, 3), dtype)
    nothing = np.ones((0, 3, 8, 8), dtype)
    y = ops.convolution(nothing, weight, None, *numbers)
    assert y.shape == (0, 4, 8, 8)
    assert ops.convolution_input_grad(y, weight, nothing.shape, *numbers).shape == nothing.shape
    grad = ops.convolution_weight_grad(y, nothing, weight.shape, *numbers)
    assert grad.shape == weight.shape and not grad.any()
    no_channels, no_weight = np.ones((2, 0, 8, 8), dtype), np.ones((4, 0, 3, 3), dtype)
    bias = np.arange(4, dtype=dtype)
    y = ops.convolution(no_channels, no_weight, bias, *numbers)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 4, 8, 8)))
    assert ops.matmul(np.ones((2, 0, 3), dtype), np.ones((3, 4), dtype)).shape == (2, 0, 4)
    y = ops.matmul(np.ones((5, 0), dtype), np.ones((0, 4), dtype), bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias, (5, 4)))


def test_strange_strides_and_formats(ops):
    rng = np.random.default_rng(0)
    numbers = ((1, 1), pairs(1, 1), (1, 1), 1)
    weight = last(rng.standard_normal((8, 4, 3, 3), np.float32))[:, :, ::-1]
    base = rng.standard_normal((2, 8, 20, 12), np.float32)
    inputs = [
        base[:, ::2, ::2, ::-1],
        np.broadcast_to(base[:1, :4], (2, 4, 20, 12)),
        base.transpose(0, 3, 2, 1)[:, :4],
        np.lib.stride_tricks.sliding_window_view(base[:, 0], 4, 1)[:, :, :4].transpose(0, 3, 1, 2),
        base[:, :4].astype(">f4"),
    ]
    for x in inputs:
        want = reference(x.astype(np.float32), weight, None, *numbers)[2]
        for channels_last in (False, True):
            y = ops.convolution(x, weight, None, *numbers, channels_last=channels_last)
            assert error(y, want) < 2e-6
            assert heavy.is_channels_last(y) == channels_last
        out = np.empty((*want.shape, 2), np.float32)[..., 1]
        ops.convolution(x, weight, None, *numbers, out=out)
        assert error(out, want) < 2e-6


def test_errors_say_what_to_do(ops):
    x, weight = np.ones((1, 4, 5, 5), np.float32), np.ones((8, 3, 3, 3), np.float32)
    numbers = ((1, 1), pairs(0, 0), (1, 1))
    with pytest.raises(ValueError, match="groups=1 do not fit"):
        ops.convolution(x, weight, None, *numbers, 1)
    with pytest.raises(ValueError, match="pad more"):
        ops.convolution(x, np.ones((8, 4, 7, 7), np.float32), None, *numbers, 1)
    weight = np.ones((8, 4, 3, 3), np.float32)
    with pytest.raises(ValueError, match="unknown activation 'swoosh'"):
        ops.convolution(x, weight, None, *numbers, 1, activation="swoosh")
    with pytest.raises(ValueError, match="negative padding"):
        ops.convolution(x, weight, None, (1, 1), pairs(-1, 0), (1, 1), 1)
    with pytest.raises(ValueError, match="out has shape"):
        ops.convolution(x, weight, None, *numbers, 1, out=np.empty((1, 8, 4, 3), np.float32))
    with pytest.raises(ValueError, match="grad_out has shape"):
        ops.convolution_input_grad(x[:, :3], weight, x.shape, *numbers, 1)
    with pytest.raises(ValueError, match=r"\(..., M, K\) and \(..., K, N\)"):
        ops.matmul(np.ones((3, 4)), np.ones((5, 6)))


@needs_onednn
def test_many_threads_share_one_object():
    shared = onednn.OneDNNOps()
    rng = np.random.default_rng(0)
    numbers = ((1, 1), pairs(1, 1), (1, 1), 1)
    x = rng.standard_normal((2, 16, 12, 12), np.float32)
    weights = rng.standard_normal((3, 16, 16, 3, 3), np.float32)
    wants = [reference(x, weight, None, *numbers)[2] for weight in weights]
    wrong = []

    def work(seed):
        order = np.random.default_rng(seed).integers(0, 3, 30)
        for i in order:
            y = shared.convolution(x, weights[i], None, *numbers, weight_key=int(i))
            if error(y, wants[i]) > 2e-6:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_onednn
def test_every_handle_is_freed():
    gc.collect()
    before = library.Handle.live
    small = onednn.OneDNNOps(plans=3)
    weight = np.ones((8, 8, 3, 3), np.float32)
    for size in range(4, 12):
        x = np.ones((1, 8, size, size), np.float32)
        numbers = ((1, 1), pairs(1, 1), (1, 1), 1)
        y = small.convolution(x, weight, None, *numbers, residual=x, weight_key="w")
        small.convolution_weight_grad(y, x, weight.shape, *numbers)
    held = library.Handle.live - before
    assert 0 < held < 150
    small.clear()
    del small
    gc.collect()
    assert library.Handle.live == before


@needs_onednn
def test_packed_weights_are_dropped_with_their_key():
    own = onednn.OneDNNOps()
    x, numbers = np.ones((1, 8, 6, 6), np.float32), ((1, 1), pairs(0, 0), (1, 1), 1)
    weight = np.ones((8, 8, 1, 1), np.float32)
    assert own.convolution(x, weight, None, *numbers, weight_key=("w", 0)).max() == 8
    weight *= 2
    assert own.convolution(x, weight, None, *numbers).max() == 16
    assert own.convolution(x, weight, None, *numbers, weight_key=("w", 1)).max() == 16
    own.forget(("w", 0))
    assert own.convolution(x, weight, None, *numbers, weight_key=("w", 0)).max() == 16


@needs_onednn
def test_cache_is_bounded_by_weight():
    cache = operation.Cache(10, len)
    for i in range(6):
        cache.put((i,), "xxxx")
        cache.get((0,))
    assert len(cache) == 2 and cache.get((0,)) and cache.get((5,)) and cache.get((4,)) is None


@needs_onednn
def test_thread_count_and_fork():
    own = onednn.OneDNNOps()
    a = np.ones((300, 300), np.float32)
    own.set_num_threads(2)
    assert (own.matmul(a, a) == 300).all()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if (own.matmul(a, a) == 300).all() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    own.set_num_threads(1)
    with pytest.raises(ValueError, match="must be positive"):
        own.set_num_threads(0)


def test_absent_library_has_a_reason_and_a_fallback():
    script = """
import numpy as np
from cupola.backends.cpu import heavy, onednn
assert onednn.library._library is None, "importing must not load the library"
assert not onednn.available() and "CUPOLA_ONEDNN" in onednn.reason()
ops = heavy.heavy_ops()
assert ops.name == "numpy" and (ops.matmul(np.ones((2, 3)), np.ones((3, 4))) == 3).all()
try:
    onednn.OneDNNOps()
except OSError as error:
    assert "CUPOLA_ONEDNN" in str(error)
else:
    raise AssertionError
"""
    environment = {**os.environ, "CUPOLA_ONEDNN": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=60)


def test_reasons(monkeypatch):
    monkeypatch.delenv("CUPOLA_ONEDNN", raising=False)
    monkeypatch.setattr(library.platform, "machine", lambda: "aarch64")
    assert "aarch64" in library._load()[1]
    monkeypatch.undo()
    monkeypatch.setattr(library, "_candidates", list)
    if sys.platform == "linux":
        assert "pip install onednn-cpu-gomp" in library._load()[1]
