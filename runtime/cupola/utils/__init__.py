"""Utilities (``torch.utils``): data loading, checkpointing, hooks."""

from cupola.utils import checkpoint, data, hooks, model_zoo

__all__ = ["checkpoint", "data", "hooks", "model_zoo"]
