"""oneDNN through ctypes: convolution and matrix multiplication for x86-64.

Importing this loads nothing.
"""

from cupola.backends.cpu.onednn.library import OneDNNError, available, reason
from cupola.backends.cpu.onednn.ops import OneDNNOps

__all__ = ["OneDNNError", "OneDNNOps", "available", "reason"]
