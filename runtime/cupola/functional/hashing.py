"""Hashes of values (torch.hash_tensor)."""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.functional._convert import wrap_dims
from cupola.functional._register import operator
from cupola.ops import elementwise as ew
from cupola.ops import movement as mv
from cupola.ops.bits import xor
from cupola.tensor import Tensor, wrap


@operator(out=True, exact=True)
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """Exclusive or of the bits of the elements as 64-bit numbers, uint64 (torch.hash_tensor).

    Raises:
        RuntimeError: a mode other than 0, complex numbers, or nothing to reduce.
    """
    if mode != 0:
        raise RuntimeError(f"hash_tensor: Only mode=0 (xor reduction) is supported, got {mode}")
    if input.dtype.is_complex:
        raise RuntimeError("hash_tensor: complex tensors are not supported; view them as real")
    dims = wrap_dims(dim, input.ndim)
    if input.numel() == 0 and 0 in (input.shape[d] for d in dims):
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
            "the reduction dim with the 'dim' argument."
        )
    wide = dtypes.float64 if input.dtype.is_floating_point else dtypes.int64
    if input.dtype is dtypes.uint64:
        wide = dtypes.uint64
    node = input.detach().node
    node = node if node.dtype is wide else ew.cast(node, dtype=wide)
    bits = node if wide is dtypes.uint64 else ew.bitcast(node, dtype=dtypes.uint64)
    out = xor(bits, dims=dims) if dims else bits
    if not keepdim:
        left = tuple(n for d, n in enumerate(input._n.shape) if d not in dims)
        assert math.prod(left) == math.prod(out.shape)
        out = mv.reshape(out, shape=left)
    return wrap(out)
