"""The attention primitive and its gradients against torch, in float64 on the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from cupola.ir.source import item
from cupola.ops import attention as ops
from cupola.tensor import wrap

SHAPES = ((4, 2, 5, 7), (2, 2, 7, 5))  # query heads, key heads, queries, keys


def _attend(q, k, v, causal: bool):
    made = ops.attention(q.node, k.node, v.node, scale=0.3, causal=causal)
    return wrap(item(made, 0)).transpose(1, 2)


def _close(got, want, bound: float) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=bound, atol=bound)


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_torch(shape: tuple[int, ...], causal: bool) -> None:
    heads, groups, length, keys = shape
    torch.manual_seed(0)
    sizes = ((2, heads, length, 8), (2, groups, keys, 8), (2, groups, keys, 4))
    theirs = [torch.randn(s, dtype=torch.double, requires_grad=True) for s in sizes]
    ours = [cupola.from_numpy(x.detach().numpy()).requires_grad_() for x in theirs]
    attend = torch.nn.functional.scaled_dot_product_attention
    expected = attend(*theirs, is_causal=causal, enable_gqa=True, scale=0.3)
    found = _attend(*ours, causal)
    _close([found], [expected], 1e-12)
    weight = torch.randn_like(expected)
    mine = cupola.from_numpy(weight.numpy())
    first = torch.autograd.grad((expected * weight).sum(), theirs, create_graph=True)
    plain = cupola.autograd.grad((found * mine).sum(), ours, retain_graph=True)
    _close(plain, first, 1e-6)  # the statistics of the rows are kept in float32
    again = cupola.autograd.grad((found * mine).sum(), ours, create_graph=True)
    _close(again, first, 1e-12)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), theirs)
    _close(cupola.autograd.grad(sum((g**2).sum() for g in again), ours), second, 1e-10)


def test_examples_apart() -> None:
    q, k, v = (cupola.randn(3, 2, 2, 4, 8) for _ in range(3))
    one = cupola.stack([_attend(*x, True) for x in zip(q, k, v, strict=True)])
    _close([cupola.vmap(lambda *x: _attend(*x, True))(q, k, v)], [one], 1e-6)


def test_switches_of_the_kernels() -> None:
    cuda, attention = cupola.backends.cuda, cupola.nn.attention
    backend = attention.SDPBackend
    with attention.sdpa_kernel([backend.FLASH_ATTENTION, backend.MATH]):
        enabled = (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled())
        assert enabled == (True, False) and cuda.math_sdp_enabled()
    assert cuda.mem_efficient_sdp_enabled() and cuda.cudnn_sdp_enabled()
    cuda.enable_flash_sdp(False)
    assert not cuda.flash_sdp_enabled()
    cuda.enable_flash_sdp(True)
    with cupola.backends.cudnn.flags(deterministic=True):
        assert cuda.flags.deterministic
    assert not cuda.flags.deterministic
