"""Operators and losses that a release is asked for by name: values, gradients, options."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola


def values(*shape, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def check(function, *arrays, tolerance=1e-5):
    """Results and gradients of the float inputs agree."""

    def run(m):
        given = [m.tensor(a, requires_grad=a.dtype == np.float32) for a in arrays]
        out = function(m, *given)
        outs = list(out) if isinstance(out, (tuple, list)) else [out]
        live = [o for o in outs if o.requires_grad]
        if live:
            sum((o * o.detach().cos()).sum() for o in live).backward()
        grads = [g.grad for g in given if g.grad is not None]
        return [t.detach().numpy() for t in (*outs, *grads)]

    want, got = run(torch), run(cupola)
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        assert w.shape == g.shape
        assert w.dtype == g.dtype
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_conv(groups):
    """Convolutions of 1, 2 and 3 dimensions in groups, with stride, padding and dilation."""
    f = lambda m: m.nn.functional  # noqa: E731
    for n, size in ((1, (9,)), (2, (7, 6)), (3, (5, 4, 5))):
        x = values(2, 4, *size)
        w, b = values(8, 4 // groups, *(3,) * n, seed=1), values(8, seed=2)
        name = f"conv{n}d"
        check(
            lambda m, x, w, b, name=name: getattr(f(m), name)(x, w, b, 2, 1, 1, groups),
            x, w, b, tolerance=1e-4,
        )  # fmt: skip
        check(
            lambda m, x, w, name=name: getattr(f(m), name)(x, w, None, 1, 2, 2, groups),
            x, w, tolerance=1e-4,
        )  # fmt: skip


ANGLES = {
    **dict.fromkeys(("sin", "cos", "sinh", "cosh", "tanh", "atan", "asinh"), (-2.0, 2.0)),
    "tan": (-1.2, 1.2),
    "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9),
    "atanh": (-0.9, 0.9),
    "acosh": (1.1, 3.0),
}


@pytest.mark.parametrize("name", ANGLES)
def test_trigonometric_and_hyperbolic(name):
    """As a function, a method, in place, by its other name, into ``out``, of integers."""
    low, high = ANGLES[name]
    x = values(3, 4, low=low, high=high)
    check(lambda m, a: getattr(m, name)(a), x)
    check(lambda m, a: getattr(a, name)(), x)
    check(lambda m, a: getattr(a.detach() * 1, name + "_")(), x)
    check(lambda m, a: getattr(m, name)(a.detach(), out=m.empty(3, 4)), x)
    check(lambda m, a: getattr(m, name)(m.tensor([1, 1])), x[:1])
    if name.startswith("a"):
        check(lambda m, a: getattr(m, "arc" + name[1:])(a), x)


def test_atan2():
    """All four quadrants."""
    check(lambda m, y, x: m.atan2(y, x), values(3, 4), values(3, 4, seed=1))


SHAPES = {
    "flatten": lambda m, x: (m.flatten(x), x.flatten(1), x.flatten(0, 1), m.nn.Flatten()(x)),
    "view": lambda m, x: (x.view(-1), x.view(2, 12), x.view(2, 3, -1), x.view(1, 24, 1)),
    "permute": lambda m, x: (x.permute(2, 0, 1), m.permute(x, (1, 0, 2)), x.permute(-1, 1, 0)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    """Values, gradients, strides, and writes that reach the base."""
    x = values(2, 3, 4)
    check(SHAPES[name], x)
    for want, got in zip(
        SHAPES[name](torch, torch.tensor(x)), SHAPES[name](cupola, cupola.tensor(x)), strict=True
    ):
        assert tuple(got.stride()) == tuple(want.stride())
        assert got.is_contiguous() == want.is_contiguous()
    if name != "flatten":
        base = cupola.zeros(2, 3, 4)
        SHAPES[name](cupola, base)[0].fill_(1.0)
        assert bool((base == 1).all())


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_adaptive_pooling(kind, size):
    """Windows that divide the input or overlap, of 1, 2 and 3 dimensions; None keeps a size."""
    for n, shape in ((1, (9,)), (2, (7, 9)), (3, (7, 8, 7))):
        name = f"adaptive_{kind}_pool{n}d"
        check(lambda m, x, f=name: getattr(m.nn.functional, f)(x, size), values(2, 3, *shape))
        layer = f"Adaptive{kind.capitalize()}Pool{n}d"
        check(lambda m, x, f=layer: getattr(m.nn, f)(size)(x), values(3, *shape))
    check(lambda m, x: m.nn.AdaptiveAvgPool2d((None, size))(x), values(2, 3, 5, 9))


def both(layer, x, *options):
    """The layer with each of several options."""
    return tuple(layer(*given)(x) for given in options)


LAYERS = {
    "PReLU": lambda m, x: m.nn.PReLU()(x),
    "PReLU.channels": lambda m, x: m.nn.PReLU(3, 0.1)(x),
    "LeakyReLU": lambda m, x: (m.nn.LeakyReLU()(x), m.nn.LeakyReLU(0.2)(x)),
    "LeakyReLU.inplace": lambda m, x: m.nn.LeakyReLU(0.2, inplace=True)(x * 1),
    "ReLU6": lambda m, x: (m.nn.ReLU6()(x * 5), m.nn.ReLU6(inplace=True)(x * 4)),
    "ReflectionPad2d": lambda m, x: both(m.nn.ReflectionPad2d, x, (2,), ((1, 2, 0, 3),)),
    "ZeroPad2d": lambda m, x: (m.nn.ZeroPad2d(2)(x), m.nn.ZeroPad2d((1, -1, 0, 3))(x)),
    "ConstantPad2d": lambda m, x: both(m.nn.ConstantPad2d, x, (2, 3.5), ((1, 2, -1, 3), -1.0)),
    "ReplicationPad2d": lambda m, x: both(m.nn.ReplicationPad2d, x, (2,), ((5, 2, 0, 6),)),
    "PixelShuffle": lambda m, x: m.nn.PixelShuffle(2)(x.repeat(1, 4, 1, 1)),
    "Upsample.nearest": lambda m, x: (m.nn.Upsample(scale_factor=2)(x), m.nn.Upsample((5, 9))(x)),
    "Upsample.bilinear": lambda m, x: (
        m.nn.Upsample(scale_factor=1.5, mode="bilinear")(x),
        m.nn.Upsample((3, 9), mode="bilinear", align_corners=True)(x),
    ),
    "Upsample.bicubic": lambda m, x: m.nn.Upsample((9, 7), mode="bicubic")(x),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    """Layers on (N, C, H, W)."""
    check(LAYERS[name], values(2, 3, 4, 5), tolerance=2e-5)


LOSSES = {
    "MSELoss": (-2.0, 2.0),
    "L1Loss": (-2.0, 2.0),
    "BCELoss": (0.05, 0.95),
    "BCEWithLogitsLoss": (-3.0, 3.0),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_loss(name, reduction):
    """Every reduction; weights where the loss takes them; gradients of both operands."""
    low, high = LOSSES[name]
    x, y = values(4, 3, low=low, high=high), values(4, 3, low=0.05, high=0.95, seed=1)
    check(lambda m, a, b: getattr(m.nn, name)(reduction=reduction)(a, b), x, y)
    if name.startswith("BCE"):
        w = values(3, low=0.5, high=2.0, seed=2)
        check(
            lambda m, a, b: getattr(m.nn, name)(m.tensor(w), reduction=reduction)(a, b.detach()),
            x, y,
        )  # fmt: skip
    if name == "BCEWithLogitsLoss":
        check(
            lambda m, a, b: m.nn.BCEWithLogitsLoss(reduction=reduction, pos_weight=m.tensor(w))(
                a, b.detach()
            ),
            x, y,
        )  # fmt: skip


def test_losses_at_the_edge():
    """Probabilities of 0 and 1, large logits: finite, as torch's."""
    p, t = np.array([0.0, 1.0, 0.5], np.float32), np.array([1.0, 1.0, 0.0], np.float32)
    check(lambda m, a: m.nn.BCELoss(reduction="none")(a, m.tensor(t)), p)
    big = np.array([-200.0, 200.0, 90.0], np.float32)
    check(lambda m, a: m.nn.BCEWithLogitsLoss(reduction="none")(a, m.tensor(t)), big)


def test_attention():
    """scaled_dot_product_attention: masks, causality, scale, grouped heads."""
    q, k, v = values(2, 4, 5, 8), values(2, 4, 7, 8, seed=1), values(2, 4, 7, 6, seed=2)
    mask = values(5, 7, seed=3) > -1
    f = lambda m: m.nn.functional.scaled_dot_product_attention  # noqa: E731
    check(lambda m, *a: f(m)(*a), q, k, v, tolerance=2e-5)
    check(lambda m, *a: f(m)(*a, is_causal=True), q, k, v, tolerance=2e-5)
    check(lambda m, *a: f(m)(*a, attn_mask=m.tensor(mask)), q, k, v, tolerance=2e-5)
    check(
        lambda m, *a: f(m)(*a, attn_mask=m.tensor(mask * np.float32(0.5))), q, k, v, tolerance=2e-5
    )
    check(lambda m, *a: f(m)(*a, scale=0.3), q, k, v, tolerance=2e-5)
    few = k[:, :2], v[:, :2]
    check(lambda m, *a: f(m)(*a, enable_gqa=True), q, *few, tolerance=2e-5)
    for m in (torch, cupola):
        with pytest.raises(RuntimeError):
            f(m)(*map(m.tensor, (q, k, v)), attn_mask=m.tensor(mask), is_causal=True)
    cupola.manual_seed(0)
    dropped = f(cupola)(*map(cupola.tensor, (q, k, v)), dropout_p=0.5)
    assert dropped.shape == (2, 4, 5, 6)
    assert not np.allclose(dropped.numpy(), f(cupola)(*map(cupola.tensor, (q, k, v))).numpy())
