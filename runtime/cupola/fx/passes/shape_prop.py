"""Shapes and dtypes of what a graph computes (torch.fx.passes.shape_prop)."""

from __future__ import annotations

from typing import Any, NamedTuple

from cupola.fx.interpreter import Interpreter
from cupola.fx.node import Node, map_aggregate
from cupola.tensor import Tensor
from cupola.tensor.layout import channels_last, channels_last_3d, contiguous_format

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is known of a tensor without its values."""

    shape: Any
    dtype: Any
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: Any
    is_quantized: bool
    qparams: dict[str, Any]


def _extract_tensor_metadata(result: Any, include_contiguity: bool = True) -> TensorMetadata:
    order = None
    if include_contiguity:
        for candidate in (contiguous_format, channels_last, channels_last_3d):
            if result.is_contiguous(memory_format=candidate):
                order = candidate
                break
    return TensorMetadata(
        result.shape, result.dtype, result.requires_grad, result.stride(), order, False, {}
    )


class ShapeProp(Interpreter):
    """Runs a graph and notes of each node, in ``meta``, the kind of its result: "tensor_meta" for
    its tensors, and "type".
    """

    def __init__(self, gm: Any, fake_mode: Any = None) -> None:
        super().__init__(gm)

    def run_node(self, n: Node) -> Any:
        """Runs a node and notes the kind of its result."""
        result = super().run_node(n)
        tensors = 0

        def described(x: Any) -> Any:
            nonlocal tensors
            if isinstance(x, Tensor):
                tensors += 1
                return _extract_tensor_metadata(x)
            return x

        meta = map_aggregate(result, described)
        if tensors:
            n.meta["tensor_meta"] = meta
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """Runs the graph on arguments and returns what it returns."""
        return super().run(*args)
