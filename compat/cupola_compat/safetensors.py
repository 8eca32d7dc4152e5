"""safetensors files as state dictionaries and modules of cupola (safetensors.torch)."""

from __future__ import annotations

import os
from typing import Any

from cupola.io.safetensors import load, load_file, save, save_file
from cupola.nn import Module
from cupola.tensor import Tensor


def save_model(
    model: Module,
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    force_contiguous: bool = True,
) -> None:
    """Writes a module's state; a tensor under several names is written once, under the first."""
    kept: dict[str, Any] = {}
    seen: dict[int, str] = {}
    aliases = dict(metadata or {})
    for name, tensor in model.state_dict(keep_vars=True).items():
        first = seen.setdefault(id(tensor), name)
        if first == name:
            kept[name] = tensor.detach()
        else:
            aliases[name] = first
    save_file(kept, filename, aliases or None)


def load_model(
    model: Module,
    filename: str | os.PathLike[str],
    strict: bool = True,
    device: Any = "cpu",
) -> tuple[set[str], list[str]]:
    """Reads a module's state; returns missing and unexpected names.

    Raises:
        RuntimeError: names are missing or unexpected and ``strict`` is True.
    """
    state = load_file(filename, device)
    result = model.load_state_dict(state, strict=False)
    own = model.state_dict(keep_vars=True)
    present = {id(own[name]) for name in state if name in own}
    missing = {name for name in result.missing_keys if id(own[name]) not in present}
    if strict and (missing or result.unexpected_keys):
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(model).__name__}: missing "
            f"{sorted(missing)}, "
            f"unexpected {sorted(result.unexpected_keys)}"
        )
    return missing, list(result.unexpected_keys)


def storage_ptr(tensor: Tensor) -> int:
    """The address of the memory that a tensor and its views share."""
    root = tensor if tensor._base is None else tensor._base
    return int(root.data_ptr())


def storage_size(tensor: Tensor) -> int:
    """The size of that memory, in bytes."""
    root = tensor if tensor._base is None else tensor._base
    return int(root.numel() * root.element_size())


__all__ = [
    "load",
    "load_file",
    "load_model",
    "save",
    "save_file",
    "save_model",
    "storage_ptr",
    "storage_size",
]
