"""Models that find objects (torchvision.models.detection)."""

from cupola.models import _weights
from cupola.models.detection.faster_rcnn import *
from cupola.models.detection.fcos import *
from cupola.models.detection.keypoint_rcnn import *
from cupola.models.detection.mask_rcnn import *
from cupola.models.detection.retinanet import *
from cupola.models.detection.ssd import *
from cupola.models.detection.ssdlite import *

__getattr__ = _weights.face_getattr(__name__)
