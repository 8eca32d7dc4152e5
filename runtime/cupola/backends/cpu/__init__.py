"""The CPU: generated LLVM kernels, oneDNN for the heavy operators, NumPy arrays."""

from cupola.backends.cpu.backend import CPUBackend
from cupola.backends.cpu.threads import threads

__all__ = ["CPUBackend", "threads"]
