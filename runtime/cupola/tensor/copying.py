"""Copying and pickling tensors."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import numpy as np

from cupola import engine
from cupola.dtypes import from_numpy_dtype
from cupola.ir import source
from cupola.ir.device import CPU
from cupola.ops import movement
from cupola.tensor.alias import Storage, replay
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


def _rebuild_empty(
    cls: type, shape: tuple[int, ...], dtype: Any, requires_grad: bool, extra: dict[str, Any]
) -> Any:
    value = np.zeros((), dtype.np)
    return _rebuild(cls, np.broadcast_to(value, shape), "meta", requires_grad, extra)


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
    if t.device.type == "meta":
        described = (type(t), tuple(t.shape), t.dtype, t.requires_grad, _extras(t))
        return (_rebuild_empty, described)
    array = engine.to_numpy(t.node)
    return (_rebuild, (type(t), array.copy(), str(t.device), t.requires_grad, _extras(t)))


def shallow(t: Tensor) -> Any:
    """What ``copy.copy`` gives: a leaf that shares storage, with the attributes that were set."""
    out = t.detach()
    if type(t) is not type(out):
        out = Tensor._make_subclass(type(t), out)
    if t.requires_grad:
        out.requires_grad = True
    out.__dict__.update(_extras(t))
    return out


def _storage_of(t: Tensor, memo: dict[int, Any]) -> tuple[Storage, list[int]]:
    """The copy of a tensor's storage, made once for all that share it, and who counts its writes.

    ``memo`` is of ``copy.deepcopy``: it keeps what its keys are the addresses of alive.
    """
    storage = t._storage
    assert storage is not None
    if id(storage) not in memo:
        memo.setdefault(id(memo), []).append(storage)
        if storage.external is not None:
            array = storage.external.copy()
            node = source.buffer(array, from_numpy_dtype(array.dtype), CPU)
        else:
            assert storage.node is not None
            node = movement.copy(source.detach(storage.node))
        memo[id(storage)] = Storage(node), [0]
    return memo[id(storage)]


def deepcopy(t: Tensor, memo: dict[int, Any], alone: bool = False) -> Any:
    """A copy of a leaf with its gradient. Tensors that share storage share that of their copies.

    Args:
        t: any leaf.
        memo: of ``copy.deepcopy``.
        alone: as PyTorch copies parameters: with storage of its own, without the gradient.

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
    out = object.__new__(type(t))
    node = t.node  # what was written through an alias is read first
    if alone or t._storage is None:
        out._n = movement.copy(source.detach(node))
    else:
        storage, counter = _storage_of(t, memo)
        assert storage.node is not None
        out._storage, out._counter, out._chain = storage, counter, t._chain
        out._n = source.detach(replay(storage.node, t._chain))
        out._seen = storage.version
        storage.join(weakref.ref(out))
    if t.requires_grad:
        out.requires_grad = True
    memo[id(t)] = out
    for key, value in _extras(t).items():
        out.__dict__[key] = copy.deepcopy(value, memo)
    if t._grad is not None and not alone:
        out._grad = copy.deepcopy(t._grad, memo)
    return out


__all__ = ["deepcopy", "reduce", "shallow", "wrap"]
