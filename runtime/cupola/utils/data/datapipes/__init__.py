"""Chains of data sets (``torch.utils.data.datapipes``): PyTorch keeps them, and adds no more."""

from cupola.utils.data.datapipes import iter, map
from cupola.utils.data.datapipes.pipe import (
    DataChunk,
    IterDataPipe,
    MapDataPipe,
    functional_datapipe,
)

__all__ = ["DataChunk", "IterDataPipe", "MapDataPipe", "functional_datapipe", "iter", "map"]
