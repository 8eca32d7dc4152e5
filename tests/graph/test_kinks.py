"""Gradients where functions have a kink, a tie or a pole, which random numbers never meet: equal
operands, rows of equal elements, vectors of zeros, limits of clamps, borders of pictures.

Each is compared with torch's, for cotangents 1, 2, 3, ...
"""

import math

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")

LEFT, RIGHT = [-1.0, 0.0, 1.0, 2.0, 0.0], [-1.0, 1.0, 1.0, 0.0, 0.0]
LOW, HIGH = [-1.0, 1.0, 1.0, 0.0, -1.0], [0.0, 2.0, 0.0, 2.0, 0.0]
ROWS = [[1.0, 1.0, 0.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
LINE = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, math.inf, -math.inf]
RANK_2 = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
GRID = [[[[-1.0, 0.0], [0.5, 1.0], [1.0, -1.0], [0.0, 0.0], [-1.5, 2.0], [1 / 3, -1 / 3]]]]
PICTURE = [[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]]]

CASES = {
    "clamp": (lambda m, x: x.clamp(-1, 1), LEFT),
    "clamp to nothing": (lambda m, x: x.clamp(2, 1), LEFT),
    "clamp between tensors": (lambda m, x, a, b: x.clamp(a, b), LEFT, LOW, HIGH),
    "norm of nothing": (lambda m, x: x.norm(), [0.0, 0.0]),
    "std of equal numbers": (lambda m, x: x.std(1), ROWS),
    "std and mean": (lambda m, x: m.std_mean(x, 1), ROWS),
    "std over everything": (lambda m, x: x.std(), [1.0, 1.0]),
    "median": (lambda m, x: x.median(), ROWS),
    "nanmedian": (lambda m, x: x.nanmedian(), ROWS),
    "median of NaN": (lambda m, x: x.median(), [1.0, math.nan, math.nan]),
    "maximum with NaN": (lambda m, x, y: m.maximum(x, y), [math.nan, 1.0], [1.0, math.nan]),
    "det": (lambda m, x: m.linalg.det(x), RANK_2),
    "dets": (lambda m, x: m.linalg.det(x), [RANK_2, [[1.0, 0, 0], [0, 2.0, 0], [0, 1.0, 3.0]]]),
    "xlog1py": (lambda m, x, y: m.special.xlog1py(x, y), LEFT, [0.5, 1.0, 2.0, 0.0, 1.0]),
    "prod": (lambda m, x: x.prod(1), ROWS),
    "cumprod": (lambda m, x: x.cumprod(1), ROWS),
    "zero to the power": (lambda m, x: 0.0**x, [0.0, 1.0, -1.0]),
    "power zero": (lambda m, x: x**0, [0.0, 1.0]),
    "largest of a window": (lambda m, x: m.nn.functional.max_pool1d(x, 2, 1), [[[1.0, 1, 1, 0]]]),
    "quantile": (lambda m, x: x.quantile(0.5), [1.0, 1.0, 1.0]),
    "masked softmax": (
        lambda m, x: m.nn.functional.softmax(
            x.masked_fill(m.tensor([[True, True, False]]), -math.inf), 1
        ),
        ROWS,
    ),
    "layer_norm": (lambda m, x: m.nn.functional.layer_norm(x, (3,)), ROWS),
    "normalize": (lambda m, x: m.nn.functional.normalize(x), ROWS),
    "cosine_similarity": (lambda m, x, y: m.nn.functional.cosine_similarity(x, y), ROWS, ROWS),
    "logits of 0": (
        lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(
            x, m.tensor([0.0, 1.0, 0.5]), pos_weight=m.tensor(2.0), reduction="none"
        ),
        [0.0, 0.0, 0.0],
    ),
    "multilabel_soft_margin_loss": (
        lambda m, x: m.nn.functional.multilabel_soft_margin_loss(
            x, m.tensor([[0.0, 1.0, 0.0]] * 3), reduction="none"
        ),
        ROWS,
    ),
    "multi_margin_loss": (
        lambda m, x: m.nn.functional.multi_margin_loss(x, m.tensor([0, 1, 2]), reduction="none"),
        ROWS,
    ),
    "multilabel_margin_loss": (
        lambda m, x: m.nn.functional.multilabel_margin_loss(
            x, m.tensor([[0, -1, 0], [1, 0, -1], [2, -1, -1]]), reduction="none"
        ),
        ROWS,
    ),
    "triplet_margin_loss": (
        lambda m, x, y, z: m.nn.functional.triplet_margin_loss(x, y, z, swap=True),
        *(ROWS, ROWS, ROWS),
    ),
    "hinge_embedding_loss": (
        lambda m, x: m.nn.functional.hinge_embedding_loss(
            x, m.tensor([1.0, -1.0, -1.0]), reduction="none"
        ),
        [0.0, 1.0, 2.0],
    ),
    "binary_cross_entropy": (
        lambda m, x: m.nn.functional.binary_cross_entropy(
            x, m.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none"
        ),
        [0.0, 1.0, 0.0, 1.0],
    ),
    **{
        f"{name} of equals": (lambda m, x, y, f=name: getattr(m, f)(x, y), LEFT, RIGHT)
        for name in (
            *("maximum", "minimum", "fmax", "fmin", "max", "min", "hypot", "atan2", "clamp_min"),
            *("clamp_max", "xlogy", "logaddexp", "logaddexp2", "pow", "dist", "copysign"),
        )
    },
    **{
        f"{name} of rows": (lambda m, x, f=name: getattr(m, f)(x, dim=1), ROWS)
        for name in ("amax", "amin", "cummax", "cummin", "median", "logsumexp", "logcumsumexp")
    },
    **{
        name: (lambda m, x, f=name: getattr(m.nn.functional, f)(x), LINE)
        for name in (
            *("relu", "relu6", "hardtanh", "hardsigmoid", "hardswish", "leaky_relu", "elu", "celu"),
            *("gelu", "silu", "softplus", "softsign", "softshrink", "hardshrink", "logsigmoid"),
        )
    },
    **{
        f"vector_norm {p}": (lambda m, x, p=p: m.linalg.vector_norm(x, p, 1), ROWS)
        for p in (0.5, 1, 1.5, 2, 3, math.inf, -math.inf)
    },
    **{
        f"cdist {p}": (lambda m, x, p=p: m.cdist(x, x, p), ROWS)
        for p in (0.5, 1, 1.5, 2, 3, math.inf)
    },
    **{
        f"pdist {p}": (lambda m, x, p=p: m.nn.functional.pdist(x, p), ROWS)
        for p in (1, 2, math.inf)
    },
    **{
        f"lp_pool {p}": (lambda m, x, p=p: m.nn.functional.lp_pool1d(x, p, 2), [[[0.0, 0, 1, 1]]])
        for p in (1.5, 2, 3)
    },
    **{
        f"grid_sample {mode} {padding} {corners}": (
            lambda m, i, x, a=mode, b=padding, c=corners: m.nn.functional.grid_sample(
                i, x, mode=a, padding_mode=b, align_corners=c
            ),
            *(PICTURE, GRID),
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (True, False)
    },
}


def gradients(m, function, *values):
    """What arrives at each input."""
    inputs = [m.tensor(v, requires_grad=True) for v in values]
    result = function(m, *inputs)
    result = result[0] if isinstance(result, tuple) else result
    along = m.arange(1.0, 1 + result.numel()).view(result.shape)
    found = m.autograd.grad(result, inputs, along, allow_unused=True)
    return [np.zeros(1) if g is None else g.numpy() for g in found]


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    got, want = gradients(cupola, *CASES[name]), gradients(torch, *CASES[name])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_curvature_of_logits_at_zero():
    def of(m):
        x = m.zeros(3, dtype=m.float64, requires_grad=True)
        loss = m.nn.functional.binary_cross_entropy_with_logits(x, m.ones(3, dtype=m.float64))
        (slope,) = m.autograd.grad(loss, x, create_graph=True)
        return m.autograd.grad(slope.sum(), x)[0].numpy()

    np.testing.assert_allclose(of(cupola), of(torch), rtol=1e-9)


def test_every_derivative_of_a_product():
    def of(m):
        x = m.tensor([0.3, 0.4, -0.7, 2.0], dtype=m.float64, requires_grad=True)
        y, found = x.prod(), []
        for _ in range(4):
            (y,) = m.autograd.grad(y.sum(), x, create_graph=True)
            found.append(y.detach().numpy())
        return found

    np.testing.assert_allclose(of(cupola), of(torch), rtol=1e-9, atol=1e-12)


def test_differences_of_higher_order_than_there_are_elements():
    for order in (2, 3, 4):
        found = []
        for lib in (torch, cupola):
            x = lib.tensor([1.0, 4.0], requires_grad=True)
            made = lib.diff(x, order)
            made.sum().backward()
            found.append((tuple(made.shape), x.grad.tolist()))
        assert found[0] == found[1]
