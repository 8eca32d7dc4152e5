"""Event files for TensorBoard (``torch.utils.tensorboard``), written by its own package."""

try:
    import tensorboard as _tensorboard  # noqa: F401
except ImportError as _error:
    raise ModuleNotFoundError(
        "cupola.utils.tensorboard needs the package tensorboard: pip install tensorboard",
        name="tensorboard",
    ) from _error

from cupola.utils.tensorboard.writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "SummaryWriter"]
