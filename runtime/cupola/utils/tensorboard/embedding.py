"""Files for TensorBoard's projector: points in many dimensions, with labels and pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo

from cupola.utils.tensorboard.arrays import in_bytes, make_grid, make_np, png


def folder_name(tag: str) -> str:
    """A tag as the name of one folder."""
    for sign in "%/\\":
        tag = tag.replace(sign, f"%{ord(sign):02x}")
    return tag


def write(
    home: Path, subfolder: str, tag: str, step: int, points: np.ndarray, labels: Any, header: Any,
    pictures: Any,
) -> Any:  # fmt: skip
    """Writes the files and returns the entry that names them.

    Raises:
        AssertionError: labels or pictures are not as many as points, or points not (N, D).
    """
    if points.ndim != 2:
        raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
    if labels is not None and len(labels) != len(points):
        raise AssertionError("#labels should equal with #data points")
    if pictures is not None and len(pictures) != len(points):
        raise AssertionError("#images should equal with #data points")
    place = home / subfolder
    place.mkdir(parents=True, exist_ok=True)
    info = EmbeddingInfo()
    info.tensor_name = f"{tag}:{step:05d}"
    info.tensor_path = f"{subfolder}/tensors.tsv"
    rows = ["\t".join(str(number) for number in point) for point in points.tolist()]
    _lines(place / "tensors.tsv", rows)
    if labels is not None:
        info.metadata_path = f"{subfolder}/metadata.tsv"
        if header:
            if len(header) != len(labels[0]):
                raise AssertionError(
                    "len of header must be equal to the number of columns in metadata"
                )
            rows = ["\t".join(map(str, row)) for row in [header, *labels]]
        else:
            rows = [str(label) for label in labels]
        _lines(place / "metadata.tsv", rows)
    if pictures is not None:
        array = make_np(pictures)
        info.sprite.image_path = f"{subfolder}/sprite.png"
        info.sprite.single_image_dim.extend([array.shape[3], array.shape[2]])
        (place / "sprite.png").write_bytes(png(_square(array)))
    return info


def _lines(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _square(pictures: np.ndarray) -> np.ndarray:
    """All pictures in a square, as the projector wants them."""
    grid = make_grid(pictures, math.ceil(len(pictures) ** 0.5)).transpose(1, 2, 0)
    canvas = np.zeros((grid.shape[1], grid.shape[1], 3), grid.dtype)
    canvas[: grid.shape[0]] = grid
    return in_bytes(canvas)
