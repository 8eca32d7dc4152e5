"""torchvision.models: cupola.models under torchvision's names, its modules included."""

import sys

from cupola import models as _models
from cupola.models import *
from cupola.models import _getter, _registry, _weights, detection, optical_flow, segmentation, video
from cupola_compat.torchvision._unsupported import module_getattr

__all__ = _models.__all__

# One module object under both names: a class must be the same class however it is imported.
for _name, _module in list(sys.modules.items()):
    if _name.startswith("cupola.models.") and "._" not in _name:
        sys.modules[__name__ + _name.removeprefix("cupola.models")] = _module
sys.modules[f"{__name__}._utils"] = _getter
sys.modules[f"{__name__}._api"] = _registry

_unsupported = module_getattr("models")


def __getattr__(name: str) -> object:
    """Enumerations of weights, and names that are not supported."""
    if name in _weights.enumerations():
        return getattr(_models, name)
    return _unsupported(name)
