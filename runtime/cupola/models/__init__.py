"""Backbones with PyTorch's names, arguments and state dicts (torchvision.models).

>>> from cupola import models
>>> model = models.get_model("squeezenet1_1", num_classes=10)
>>> models.list_models(include="resnet*")[:3]
['resnet101', 'resnet152', 'resnet18']

Nothing is downloaded: without `weights` a model is initialised at random, with torch's own numbers
for the same seed; `weights` is a file. `print(cupola.models)` lists what there is.
"""

from __future__ import annotations

import sys
import types

from cupola.models import _weights, detection, optical_flow, segmentation, video
from cupola.models._registry import (
    BUILDERS,
    get_model,
    get_model_builder,
    get_model_weights,
    list_models,
)
from cupola.models._weights import WeightsEnum, get_weight
from cupola.models.alexnet import *
from cupola.models.convnext import *
from cupola.models.densenet import *
from cupola.models.efficientnet import *
from cupola.models.googlenet import *
from cupola.models.inception import *
from cupola.models.maxvit import *
from cupola.models.mnasnet import *
from cupola.models.mobilenetv2 import *
from cupola.models.mobilenetv3 import *
from cupola.models.regnet import *
from cupola.models.res2net import *
from cupola.models.resnet import *
from cupola.models.shufflenetv2 import *
from cupola.models.squeezenet import *
from cupola.models.swin_transformer import *
from cupola.models.vgg import *
from cupola.models.vision_transformer import *

_PUBLIC = [name for name in globals() if not name.startswith("_")]
_OWN = {"annotations", "sys", "types"}
__all__ = sorted(set(_PUBLIC) - _OWN)


__getattr__ = _weights.face_getattr(__name__)


def __dir__() -> list[str]:
    return sorted([*globals(), *_weights.enumerations()])


class _Face(types.ModuleType):
    """A module whose text is a list of its models, a line a family."""

    def __repr__(self) -> str:
        families: dict[str, list[str]] = {}
        for name, build in BUILDERS.items():
            place = build.__module__.removeprefix("cupola.models.")
            families.setdefault(place, []).append(name)
        width = max(map(len, families))
        lines = [f"cupola.models: {len(BUILDERS)} models"]
        for family in sorted(families, key=lambda f: ("." in f, f)):
            line = f"  {family:<{width}}  "
            for name in families[family]:
                if len(line) + len(name) > 98:
                    lines.append(line.rstrip())
                    line = " " * (width + 4)
                line += f"{name}, "
            lines.append(line.removesuffix(", "))
        return "\n".join(lines)


sys.modules[__name__].__class__ = _Face
