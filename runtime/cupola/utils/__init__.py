"""Utilities (``torch.utils``): data loading, checkpointing, hooks."""

from cupola.utils import _pytree, checkpoint, data, dlpack, hooks, model_zoo

__all__ = ["_pytree", "checkpoint", "data", "dlpack", "hooks", "model_zoo"]
