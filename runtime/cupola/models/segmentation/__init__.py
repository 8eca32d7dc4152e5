"""Models that score every pixel (torchvision.models.segmentation)."""

from cupola.models import _weights
from cupola.models.segmentation.deeplabv3 import *
from cupola.models.segmentation.fcn import *
from cupola.models.segmentation.lraspp import *

__getattr__ = _weights.face_getattr(__name__)
