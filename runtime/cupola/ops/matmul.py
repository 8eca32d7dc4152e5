"""Matrix products, batched: equal leading dimensions, (..., M, K) @ (..., K, N)."""

from __future__ import annotations

from typing import Any

from cupola.dtypes import dtype as DType
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops.elementwise import conj_of
from cupola.ops.movement import permute


def _infer(a: Node, b: Node) -> tuple[tuple[int, ...], DType]:
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a.shape[-2]}x{a.shape[-1]} and "
            f"{b.shape[-2]}x{b.shape[-1]})"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_c(a.dtype)} != {_c(b.dtype)}"
        )
    return (*a.shape[:-1], b.shape[-1]), a.dtype


def _c(d: DType) -> str:
    return {
        "float32": "float",
        "float64": "double",
        "float16": "c10::Half",
        "bfloat16": "c10::BFloat16",
        "int64": "long long",
        "int32": "int",
    }.get(d.name, d.name)


def transposed(x: Node) -> Node:
    """The conjugate-free transpose of the last two dimensions."""
    n = x.ndim
    return permute(x, dims=(*range(n - 2), n - 1, n - 2))


def _reference(xp: Any, a: Any, b: Any) -> Any:
    if a.dtype.itemsize < 4 and a.dtype.kind not in "biu":
        return xp.matmul(a.astype(xp.float32), b.astype(xp.float32)).astype(a.dtype)
    return xp.matmul(a, b)


matmul = Primitive(
    "matmul",
    "library",
    _infer,
    _reference,
    (
        lambda g, y, a, b: matmul(g, transposed(conj_of(b))),
        lambda g, y, a, b: matmul(transposed(conj_of(a)), g),
    ),
    heavy=True,
).register()
