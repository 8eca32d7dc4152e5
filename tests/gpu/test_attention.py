"""Fused attention against torch's float64 composition, in both directions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import cupola
from cupola.backends.cuda import available

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]

# (query, key, value, causal, grouped)
SHAPES = {
    "square": ((2, 3, 64, 64), (2, 3, 64, 64), (2, 3, 64, 64), False, False),
    "causal": ((2, 3, 128, 64), (2, 3, 128, 64), (2, 3, 128, 64), True, False),
    "uneven": ((2, 2, 37, 32), (2, 2, 91, 32), (2, 2, 91, 48), False, False),
    "uneven causal": ((1, 2, 50, 64), (1, 2, 70, 64), (1, 2, 70, 64), True, False),
    "one query": ((2, 2, 1, 64), (2, 2, 77, 64), (2, 2, 77, 64), False, False),
    "three dimensions": ((3, 40, 64), (3, 40, 64), (3, 40, 64), True, False),
    "grouped": ((2, 8, 33, 64), (2, 2, 33, 64), (2, 2, 33, 64), True, True),
    "wide heads": ((1, 2, 16, 128), (1, 2, 16, 128), (1, 2, 16, 128), False, False),
    "odd heads": ((1, 2, 16, 20), (1, 2, 16, 20), (1, 2, 16, 20), False, False),
}


def _error(got, want) -> float:
    got = got.detach().cpu().double().numpy()
    return float(np.linalg.norm(got - want.numpy()) / np.linalg.norm(want.numpy()))


def test_kernels_are_there() -> None:
    from cupola.backends.cuda import attention

    assert attention.available("bfloat16", (64, 64), True, False)
    if not attention.available("bfloat16", (64, 64), True, True):
        pytest.skip("this frontend has no gradients with this cuDNN: they are composed")


@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
@pytest.mark.parametrize("name", SHAPES)
def test_agrees(name: str, dtype: str) -> None:
    *shapes, causal, grouped = SHAPES[name]
    rng = np.random.default_rng(3)
    given = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    kind = getattr(torch, dtype)
    want = [torch.from_numpy(x).to(kind).double().requires_grad_() for x in given]
    mine = [cupola.from_numpy(x).to("cuda", getattr(cupola, dtype)).requires_grad_() for x in given]
    attend = torch.nn.functional.scaled_dot_product_attention
    expected = attend(*want, is_causal=causal, enable_gqa=grouped)
    weight = torch.from_numpy(rng.standard_normal(tuple(expected.shape)))
    gradients = torch.autograd.grad((expected * weight).sum(), want)
    found = cupola.nn.functional.scaled_dot_product_attention(
        *mine, is_causal=causal, enable_gqa=grouped
    )
    loss = (found.float() * cupola.from_numpy(weight.numpy()).to("cuda").float()).sum()
    assert tuple(found.shape) == tuple(expected.shape) and found.dtype is mine[0].dtype
    close = 1e-2 if dtype == "bfloat16" else 2e-3
    assert _error(found, expected.detach()) < close
    for got, exact in zip(cupola.autograd.grad(loss, mine), gradients, strict=True):
        assert _error(got, exact) < 2 * close


@pytest.fixture
def tf32():
    flags = cupola.backends.cuda.matmul
    kept, flags.allow_tf32 = flags.allow_tf32, True
    yield
    flags.allow_tf32 = kept


FLOAT32 = SHAPES | {
    "no tile is full": ((1, 1, 3, 8), (1, 1, 5, 8), (1, 1, 5, 16), False, False),
    "many queries": ((4, 12, 197, 64), (4, 12, 197, 64), (4, 12, 197, 64), False, False),
    "many causal": ((2, 12, 1000, 96), (2, 12, 1000, 96), (2, 12, 1000, 32), True, False),
    "few keys": ((1, 2, 70, 64), (1, 2, 7, 64), (1, 2, 7, 64), True, False),
}


@pytest.mark.parametrize("name", [n for n in FLOAT32 if n != "odd heads"])
def test_float32_is_one_kernel_where_tf32_is_allowed(name: str, tf32: None) -> None:
    *shapes, causal, grouped = FLOAT32[name]
    rng = np.random.default_rng(3)
    given = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    attend = torch.nn.functional.scaled_dot_product_attention
    want = attend(
        *(torch.from_numpy(x).double() for x in given), is_causal=causal, enable_gqa=grouped
    )
    mine = [cupola.from_numpy(x).to("cuda") for x in given]
    function = cupola.nn.functional.scaled_dot_product_attention

    def run():
        return function(*mine, is_causal=causal, enable_gqa=grouped)

    assert "attention" in str(cupola.explain(run)())
    assert _error(run(), want) < 1e-3
    assert run().equal(run())
    if len(shapes[0]) == 4:
        many = [x.unsqueeze(0).expand(2, *x.shape) for x in mine]
        mapped = cupola.vmap(
            lambda q, k, v: function(q, k, v, is_causal=causal, enable_gqa=grouped)
        )(*many)
        assert _error(mapped[1], want) < 1e-3


def test_values_that_are_no_numbers_are_kept(tf32: None) -> None:
    q, k, v = (cupola.ones(1, 1, 40, 16, device="cuda") for _ in range(3))
    v[0, 0, 3, 5] = math.nan
    q[0, 0, 7] = math.nan
    found = cupola.nn.functional.scaled_dot_product_attention(q, k, v).cpu().isnan()
    assert found[0, 0, :, 5].all() and found[0, 0, 7].all() and found.sum() == 40 + 15


def test_float32_keeps_its_precision_without_tf32_and_has_gradients_with_it(tf32: None) -> None:
    q = cupola.randn(1, 2, 16, 64, device="cuda", requires_grad=True)
    attend = cupola.nn.functional.scaled_dot_product_attention
    assert "attention" not in str(cupola.explain(lambda: attend(q, q, q))())
    attend(q, q, q).sum().backward()
    assert q.grad is not None
    cupola.backends.cuda.matmul.allow_tf32 = False
    with cupola.no_grad():
        assert "attention" not in str(cupola.explain(lambda: attend(q, q, q))())


def test_parts_of_one_product_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    from cupola.backends.cuda import attention

    copies = []
    readable = attention._readable
    monkeypatch.setattr(
        attention, "_readable", lambda x: copies.append(readable(x) is not x) or readable(x)
    )
    for n in (2, 1):
        x = cupola.randn(n, 48, 3 * 128, device="cuda", dtype=cupola.bfloat16)
        parts = [y.view(n, 48, 2, 64).transpose(1, 2) for y in x.split(128, 2)]
        y = cupola.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        y.transpose(1, 2).reshape(n, 48, 128).float().sum().item()
    assert copies == [False] * 6


def test_captured() -> None:
    layer = cupola.nn.TransformerEncoderLayer(
        128, 2, 256, dropout=0.0, batch_first=True, device="cuda", dtype=cupola.bfloat16
    )
    x = cupola.randn(2, 32, 128, device="cuda", dtype=cupola.bfloat16)

    def run(x):
        q = layer.linear1(x)[..., :128].reshape(2, 32, 2, 64).transpose(1, 2)
        y = cupola.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
        loss = y.float().square().sum()
        loss.backward()
        grad = layer.linear1.weight.grad.clone()
        layer.zero_grad()
        return loss.detach(), grad

    loss, grad = run(x)
    quick = cupola.compile(run)
    for _ in range(3):
        again, other = quick(x)
    assert math.isclose(loss.item(), again.item(), rel_tol=1e-3)
    gap = (grad.float() - other.float()).norm() / grad.float().norm()
    assert gap.item() < 2e-2
    assert not quick.reason


def test_switches() -> None:
    cuda = cupola.backends.cuda
    q = cupola.randn(1, 2, 16, 64, device="cuda", dtype=cupola.float16)
    attend = cupola.nn.functional.scaled_dot_product_attention

    def fused() -> bool:
        return "attention" in str(cupola.explain(lambda: attend(q, q, q))())

    assert fused()
    with cupola.nn.attention.sdpa_kernel(cupola.nn.attention.SDPBackend.MATH):
        assert not fused() and not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    assert fused() and cuda.flash_sdp_enabled()
