"""Models that find how pixels move (torchvision.models.optical_flow)."""

from cupola.models import _weights
from cupola.models.optical_flow.raft import *

__getattr__ = _weights.face_getattr(__name__)
