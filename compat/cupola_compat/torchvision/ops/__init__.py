"""torchvision.ops: cupola.vision under torchvision's names."""

from cupola import vision as _vision
from cupola.vision import *
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.ops import boxes

__all__ = [*_vision.__all__, "boxes"]

__getattr__ = module_getattr("ops")
