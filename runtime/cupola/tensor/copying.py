"""Copying and pickling tensors."""

from __future__ import annotations

from typing import Any

from cupola import engine
from cupola.ir import source
from cupola.tensor.core import Tensor, wrap


def _rebuild(cls: type, array: Any, device: str, requires_grad: bool, extra: dict[str, Any]) -> Any:
    from cupola.tensor.create import of_array

    out = of_array(array, device)
    if cls is not Tensor:
        out = Tensor._make_subclass(cls, out)
    if requires_grad:
        out.requires_grad = True
    out.__dict__.update(extra)
    return out


def _extras(t: Tensor) -> dict[str, Any]:
    """Attributes that the user set."""
    own = (
        "_n",
        "_storage",
        "_chain",
        "_base",
        "_base_chain",
        "_turned",
        "_back",
        "_origin",
        "_broken",
        "_seen",
        "_ver",
        "_counter",
        "_counted",
        "_grad",
        "_retains",
        "_retaining",
        "_post_hooks",
    )
    return {k: v for k, v in t.__dict__.items() if k not in own}


def reduce(t: Tensor) -> Any:
    """What pickle stores: the value as an array, device, flags."""
    array = engine.to_numpy(t.node)
    return (
        _rebuild,
        (type(t), array.copy(), str(t.device), t.requires_grad and t.is_leaf, _extras(t)),
    )


def deepcopy(t: Tensor, memo: dict[int, Any]) -> Any:
    """A copy of a leaf with its own storage, and of its gradient.

    Raises:
        RuntimeError: the tensor is not a leaf.
    """
    if id(t) in memo:
        return memo[id(t)]
    if not t.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment. "
            "If you were attempting to deepcopy a module, this may be because of a "
            "torch.nn.utils.weight_norm usage."
        )
    from cupola.ops.movement import copy

    out = object.__new__(type(t))
    out._n = copy(source.detach(t.node))
    if t.requires_grad:
        out.requires_grad = True
    memo[id(t)] = out
    import copy as copying

    for key, value in _extras(t).items():
        out.__dict__[key] = copying.deepcopy(value, memo)
    if t._grad is not None:
        out._grad = copying.deepcopy(t._grad, memo)
    return out


__all__ = ["deepcopy", "reduce", "wrap"]
