"""Models for videos (torchvision.models.video)."""

from cupola.models import _weights
from cupola.models.video.mvit import *
from cupola.models.video.resnet import *
from cupola.models.video.s3d import *
from cupola.models.video.swin_transformer import *

__getattr__ = _weights.face_getattr(__name__)
