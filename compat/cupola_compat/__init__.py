"""What converted code needs and the runtime should not own.

The `torch` import shim (`install`, `cupola run`), torchvision's Python face (`torchvision`), and
the comparison with torch (`parity`, the one place that imports torch).
"""

from cupola_compat.shim import install, installed, uninstall

__all__ = ["install", "installed", "uninstall"]
