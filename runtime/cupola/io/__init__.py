"""Reading and writing checkpoints: PyTorch's formats and safetensors, without PyTorch.

Nothing in a checkpoint is ever executed; see `cupola.io.unpickler` for how.
"""

from cupola.io import safetensors
from cupola.io.errors import CheckpointError
from cupola.io.reader import load, load_numpy
from cupola.io.storage import Storage
from cupola.io.writer import save

__all__ = ["CheckpointError", "Storage", "load", "load_numpy", "safetensors", "save"]
