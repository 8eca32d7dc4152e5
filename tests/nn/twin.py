"""One computation in torch and in cupola, compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import cupola

# A name of the two libraries' own: torch.nn against cupola.nn.
PAIR = (torch, cupola)


def values(tensor: Any) -> np.ndarray:
    """The numbers of a tensor of either library."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, cupola.bfloat16):
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def given(array: Any, lib: Any, grad: bool = False) -> Any:
    """An array as a tensor of a library; other values unchanged."""
    if not isinstance(array, np.ndarray):
        return array
    tensor = lib.tensor(array)
    return tensor.requires_grad_() if grad and array.dtype.kind == "f" else tensor


def tensors_in(result: Any) -> list:
    """The tensors of a nested result."""
    if isinstance(result, (list, tuple)):
        return [tensor for part in result for tensor in tensors_in(part)]
    return [result] if isinstance(result, (torch.Tensor, cupola.Tensor)) else []


def agree(expected: Any, found: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Two results have the same tensors: dtype, shape, numbers, need of a gradient."""
    expected, found = tensors_in(expected), tensors_in(found)
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        assert str(a.dtype) == str(b.dtype)
        assert tuple(a.shape) == tuple(b.shape)
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(values(b), values(a), rtol=rtol, atol=atol)


def pull(result: Any) -> None:
    """Backward from every differentiable tensor of a result."""
    parts = [t.sin().sum() for t in tensors_in(result) if t.requires_grad]
    if parts:
        sum(parts[1:], parts[0]).backward()


def seed(number: int = 0) -> None:
    """Start both libraries' generators alike."""
    torch.manual_seed(number)
    cupola.manual_seed(number)


def same_gradients(expected: Any, found: Any, rtol: float = 1e-3, atol: float = 1e-4) -> None:
    """Tensors of the two libraries have the same gradients."""
    for a, b in zip(expected, found, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_allclose(values(b.grad), values(a.grad), rtol=rtol, atol=atol)
