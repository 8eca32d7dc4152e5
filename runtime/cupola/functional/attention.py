"""Scaled dot-product and multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.backends.cuda import attention as library
from cupola.backends.cuda import flags
from cupola.functional._register import settled
from cupola.functional.activation import softmax
from cupola.functional.convolution import linear
from cupola.functional.dropout import dropout
from cupola.functional.joining import cat
from cupola.functional.linalg import baddbmm
from cupola.functional.padding import pad
from cupola.ir.mode import mode
from cupola.ir.source import item
from cupola.ops import attention as ops
from cupola.tensor import Tensor, wrap
from cupola.tensor.composite import as_one


def _causal_hole(query: Tensor, length: int, source: int) -> Tensor:
    """True above the diagonal, where a query must not look."""
    from cupola.functional.creation import arange

    rows = arange(length, device=query.device).unsqueeze(-1)
    return rows < arange(source, device=query.device)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(q k' * scale + mask) v``; q (*, L, E), k (*, S, E), v (*, S, Ev) -> (*, L, Ev).

    A boolean mask is True where attention is allowed; a query that may look nowhere gives zeros.
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 "
            f"dimensional, but got query.dim: {query.dim()}, key.dim: {key.dim()} and value.dim: "
            f"{value.dim()} instead."
        )
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if not dropout_p:
        found = None
        if attn_mask is None:
            found = _fused(query, key, value, float(factor), is_causal, enable_gqa)
        if found is not None:
            return found
        return _composed(query, key, value, attn_mask, is_causal, factor, enable_gqa)
    return _composition(query, key, value, attn_mask, is_causal, factor, enable_gqa, dropout_p)


def _composition(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    factor: float,
    enable_gqa: bool,
    dropout_p: float = 0.0,
) -> Tensor:
    """Attention of operators; the arguments are those of ``scaled_dot_product_attention``."""
    narrow = query.dtype
    if narrow in (dtypes.float16, dtypes.bfloat16) and query.device.type == "cpu":
        # PyTorch's CPU kernel rounds its result only; a GPU's library does so, too.
        query, key, value = query.float(), key.float(), value.float()
        if attn_mask is not None and attn_mask.dtype is narrow:
            attn_mask = attn_mask.float()
    if enable_gqa:
        heads = query.shape[-3]
        key = key.repeat_interleave(heads // key.shape[-3], -3)
        value = value.repeat_interleave(heads // value.shape[-3], -3)
    scores = (query * factor).matmul(key.transpose(-2, -1))
    if is_causal:
        hole = _causal_hole(query, query.shape[-2], key.shape[-2])
        scores = scores.masked_fill(hole, -math.inf)
    elif attn_mask is not None:
        if attn_mask.dtype.is_floating_point:
            scores = scores + attn_mask
        else:
            scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
    if query.dtype is not narrow and query.dim() == 4 and not dropout_p:
        return _rounded_powers(scores, value, narrow)
    weights = softmax(scores, -1) if attn_mask is None else _softmax_or_zero(scores)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return weights.matmul(value).to(narrow)


_composed = as_one("scaled_dot_product_attention", heavy=True)(_composition)


def _fused(
    query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool, grouped: bool
) -> Tensor | None:
    """Attention as one library call, or None: there is none for these operands.

    On a GPU, half types, and float32 without gradients where TF32 is allowed; 3 or 4 dimensions,
    the same leading sizes.
    """
    device, rank, dtype = query.device, query.dim(), query.dtype
    if device.type != "cuda" or dtype not in (dtypes.float16, dtypes.bfloat16, dtypes.float32):
        return None
    if not flags.fused_attention or not 3 <= rank <= 4 or not key.device == device == value.device:
        return None
    if not rank == key.dim() == value.dim() or 0 in (*query.shape, *key.shape, *value.shape):
        return None
    heads, groups = (query.shape[-3], key.shape[-3]) if grouped else (1, 1)
    leading = -3 if grouped else -2
    fits = (
        query.shape[:leading] == key.shape[:leading] == value.shape[:leading]
        and value.shape[-3] == key.shape[-3]
        and heads % groups == 0
        and query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
    )
    grad = mode.grad and (query.requires_grad or key.requires_grad or value.requires_grad)
    widths = (query.shape[-1], value.shape[-1])
    if not fits or not library.available(dtype.name, widths, causal, grad):
        return None
    operands = [x if rank == 4 else x.unsqueeze(0) for x in (query, key, value)]
    made = ops.attention(*(x.node for x in operands), scale=scale, causal=causal)
    result = wrap(item(made, 0)).transpose(1, 2)
    return result if rank == 4 else result.squeeze(0)


def _rounded_powers(scores: Tensor, value: Tensor, narrow: Any) -> Tensor:
    """softmax(scores) @ value as PyTorch's CPU kernel has it for half types: the powers are rounded
    for the product, their sum is not; zeros where every score is minus infinity.
    """
    top = scores.detach().amax(-1, keepdim=True)
    powers = (scores - top.masked_fill(top == -math.inf, 0)).exp()
    total = powers.sum(-1, keepdim=True)
    made = powers.to(narrow).float().matmul(value)
    return (made / total.masked_fill(total == 0, 1)).to(narrow)


def _softmax_or_zero(scores: Tensor) -> Tensor:
    """Softmax that gives zeros where every score is minus infinity."""
    dead = (scores.detach() == -math.inf).all(-1, keepdim=True)
    return softmax(scores.masked_fill(dead, 0), -1).masked_fill(dead, 0)


def _canonical_mask(mask: Tensor | None, name: str, like: Tensor) -> Tensor | None:
    """A mask as numbers to add: booleans become 0 and minus infinity."""
    if mask is None or mask.dtype.is_floating_point:
        return mask
    if mask.dtype.itemsize != 1:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return like.detach().new_zeros(mask.shape).masked_fill(mask.bool(), -math.inf)


def _project(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value projections with one stacked weight (3 * E, E)."""
    size = query.shape[-1]
    if key is value and query is key:
        together = linear(query, weight, bias)
        return tuple(together.narrow(-1, i * size, size) for i in range(3))
    parts = []
    for i, x in enumerate((query, key, value)):
        part = None if bias is None else bias.narrow(0, i * size, size)
        parts.append(linear(x, weight.narrow(0, i * size, size), part))
    return tuple(parts)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention (Vaswani et al., 2017); query (L, N, E) or (L, E), key (S, N, E)."""
    batched = query.dim() == 3
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D "
            "query tensor"
        )
    if key.dim() != query.dim() or value.dim() != query.dim():
        raise AssertionError(
            f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected `key` and "
            f"`value` to be {query.dim()}-D but found {key.dim()}-D and {value.dim()}-D tensors "
            "respectively"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    if not batched:
        same_qk, same_kv = query is key, key is value
        query = query.unsqueeze(1)
        key = query if same_qk else key.unsqueeze(1)
        value = key if same_kv else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, embed = query.shape
    if embed != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}"
        )
    head = embed // num_heads
    if head * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    key_padding_mask = _canonical_mask(key_padding_mask, "key_padding_mask", query)
    attn_mask = _canonical_mask(attn_mask, "attn_mask", query)
    if use_separate_proj_weight:
        biases = [None] * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (
            linear(x, w, b)
            for x, w, b in zip(
                (query, key, value),
                (q_proj_weight, k_proj_weight, v_proj_weight),
                biases,
                strict=True,
            )
        )
    else:
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)
    if attn_mask is not None:
        attn_mask = _attention_mask(attn_mask, length, key.shape[0], batch * num_heads)
    if bias_k is not None and bias_v is not None:
        k = cat([k, bias_k.expand(1, batch, bias_k.shape[-1])])
        v = cat([v, bias_v.expand(1, batch, bias_v.shape[-1])])
        attn_mask, key_padding_mask = _widen(attn_mask), _widen(key_padding_mask)
    q = q.reshape(length, batch * num_heads, head).transpose(0, 1)
    k = (
        static_k
        if static_k is not None
        else (k.reshape(k.shape[0], batch * num_heads, head).transpose(0, 1))
    )
    v = (
        static_v
        if static_v is not None
        else (v.reshape(v.shape[0], batch * num_heads, head).transpose(0, 1))
    )
    if add_zero_attn:
        zeros = k.new_zeros((batch * num_heads, 1, head))
        k, v = cat([k, zeros], 1), cat([v, zeros], 1)
        attn_mask, key_padding_mask = _widen(attn_mask), _widen(key_padding_mask)
    source = k.shape[1]
    if key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (batch, source):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, source)}, but got "
                f"{tuple(key_padding_mask.shape)}"
            )
        spread = key_padding_mask.reshape(batch, 1, 1, source)
        spread = spread.expand(batch, num_heads, 1, source).reshape(-1, 1, source)
        attn_mask = spread if attn_mask is None else settled(attn_mask + spread)
    drop = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scaled = settled(q * math.sqrt(1.0 / head))
        if attn_mask is None:
            scores = settled(scaled.matmul(k.transpose(-2, -1)))
        else:
            scores = settled(baddbmm(attn_mask, scaled, k.transpose(-2, -1)))
        weights = settled(softmax(scores, -1))
        if drop > 0.0:
            weights = settled(dropout(weights, drop))
        mixed = weights.matmul(v).transpose(0, 1)
    else:
        # torch uses its fused kernels, where a query that may look nowhere gives zeros.
        apart = [x.reshape(batch, num_heads, *x.shape[1:]) for x in (q, k, v)]
        if attn_mask is not None:
            planes = (1, 1) if attn_mask.shape[0] == 1 else (batch, num_heads)
            attn_mask = attn_mask.reshape(*planes, *attn_mask.shape[1:])
        mixed = scaled_dot_product_attention(*apart, attn_mask, drop).permute(2, 0, 1, 3)
    output = mixed.reshape(length * batch, embed)
    output = linear(output, out_proj_weight, out_proj_bias)
    output = output.reshape(length, batch, output.shape[1])
    if not batched:
        output = output.squeeze(1)
    if weights is None:
        return output, None
    weights = weights.reshape(batch, num_heads, length, source)
    if average_attn_weights:
        weights = weights.mean(1)
    return output, weights if batched else weights.squeeze(0)


def _attention_mask(mask: Tensor, length: int, source: int, planes: int) -> Tensor:
    expected: Any = (length, source) if mask.dim() == 2 else (planes, length, source)
    if mask.dim() not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {mask.dim()} is not supported")
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {tuple(mask.shape)}, but should be "
            f"{expected}."
        )
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _widen(mask: Tensor | None) -> Tensor | None:
    """Allow one more source position."""
    return None if mask is None else pad(mask, (0, 1))
