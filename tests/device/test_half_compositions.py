"""Operators of half types whose CPU kernels in torch round in between, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")

FORMS = {
    "log_softmax": lambda f, x, y: f.log_softmax(x, 1),
    "log_softmax of columns": lambda f, x, y: f.log_softmax(x, 0),
    "mse_loss": lambda f, x, y: f.mse_loss(x, y, reduction="none"),
    "cross entropy of logits": lambda f, x, y: f.binary_cross_entropy_with_logits(
        x, (y > 0).to(x.dtype), pos_weight=y.abs(), reduction="none"
    ),
    "soft_margin_loss": lambda f, x, y: f.soft_margin_loss(x, y.sign(), reduction="none"),
    "hinge_embedding_loss": lambda f, x, y: f.hinge_embedding_loss(
        x, y.sign(), 0.7, reduction="none"
    ),
    "poisson_nll_loss": lambda f, x, y: f.poisson_nll_loss(
        x, y.abs() * 4, full=True, reduction="none"
    ),
    "triplet_margin_loss": lambda f, x, y: f.triplet_margin_loss(x, y, y.flip(0), reduction="none"),
    "cosine_similarity": lambda f, x, y: f.cosine_similarity(x, y),
    "batch_norm": lambda f, x, y: f.batch_norm(x, None, None, y[0], y[1], True),
    "batch_norm by running statistics": lambda f, x, y: f.batch_norm(
        x, y[0], y[1].abs(), y[2], y[3], eps=0.1
    ),
    "sampling a plane": lambda f, x, y: f.grid_sample(
        *_plane(x, y), padding_mode="reflection", align_corners=True
    ),
    "sampling a plane, cubic": lambda f, x, y: f.grid_sample(
        *_plane(x, y), "bicubic", align_corners=False
    ),
    "sampling a volume": lambda f, x, y: f.grid_sample(
        x.reshape(2, 4, 4, 2, 33), y[:, :30].reshape(2, 4, 5, 16, 3), align_corners=False
    ),
    "instance_norm": lambda f, x, y: f.instance_norm(x.reshape(4, 16, 33)),
    "local_response_norm": lambda f, x, y: f.local_response_norm(
        x.reshape(4, 16, 33), 4, 1.1, 0.75, 1.2
    ),
    "linear interpolation": lambda f, x, y: f.interpolate(
        x.reshape(4, 16, 33), size=71, mode="linear"
    ),
    "bicubic interpolation": lambda f, x, y: f.interpolate(
        x.reshape(2, 2, 16, 33), size=(23, 41), mode="bicubic"
    ),
    "attention": lambda f, x, y: f.scaled_dot_product_attention(
        # Over more keys torch takes a less exact exponential function.
        x.reshape(2, 4, 33, 8),
        y[:32, :12].reshape(2, 4, 6, 8),
        y[32:, :12].reshape(2, 4, 6, 8),
        is_causal=True,
    ),
    "embedding with a largest norm": lambda f, x, y: f.embedding(
        (x[:, 0] > 0).long(), y.clone(), max_norm=1.0
    ),
    "bilinear": lambda f, x, y: f.bilinear(
        x[:, :8], y[:, :8], y.reshape(-1)[:512].reshape(8, 8, 8)
    ),
}


def _plane(x, y):
    return x.reshape(4, 4, 4, 33), y[:, :32].reshape(4, 16, 16, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FORMS)
def test_half_types_are_rounded_where_torch_rounds_them(name, dtype):
    draw = np.random.default_rng(1)
    data = [draw.standard_normal((64, 33)).astype(np.float32) for _ in range(2)]
    ours, theirs = (
        FORMS[name](m.nn.functional, *(m.from_numpy(a).to(getattr(m, dtype)) for a in data))
        for m in (cupola, torch)
    )
    assert repr(ours.dtype) == repr(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    differing = ours.float().numpy() != theirs.float().numpy()
    # Sums in another order fall on the other side of a half type's middle now and then.
    assert differing.mean() <= 0.005


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_lines_of_half_types(dtype):
    for start, end, steps in ((0.3, 7.7, 50), (-4, 3, 50), (1.2, 5, 9), (2, -3, 300), (1, 2, 1)):
        ours = cupola.linspace(start, end, steps, dtype=getattr(cupola, dtype))
        theirs = torch.linspace(start, end, steps, dtype=getattr(torch, dtype))
        assert (ours.float().numpy() == theirs.float().numpy()).all()


def test_complex_numbers_of_halves():
    x = np.array([[1.5, -2.0], [0.25, 8.0]], np.float16)
    ours, theirs = (m.view_as_complex(m.from_numpy(x)) for m in (cupola, torch))
    assert repr(ours.dtype) == repr(theirs.dtype) == "torch.complex32"
    assert (cupola.view_as_real(ours).numpy() == x).all()
    assert ours.imag.dtype is cupola.float16
    assert (ours.imag.numpy() == x[:, 1]).all()
    together = cupola.complex(cupola.from_numpy(x[:, 0]), cupola.from_numpy(x[:, 1]))
    assert (together.to(cupola.complex64).numpy() == theirs.to(torch.complex64).numpy()).all()
