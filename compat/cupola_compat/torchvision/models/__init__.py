"""torchvision.models: cupola.models under torchvision's names."""

from cupola import models as _models
from cupola.models import *
from cupola_compat.torchvision._unsupported import module_getattr

__all__ = _models.__all__

__getattr__ = module_getattr("models")
