"""Images in files and in memory (torchvision.io.image), by Pillow."""

from __future__ import annotations

import enum
import io
import os
import pathlib
from typing import Any

import numpy as np

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms.functional import pil_to_tensor, to_pil_image


class ImageReadMode(enum.Enum):
    """How to read an image's channels."""

    UNCHANGED = None
    GRAY = "L"
    GRAY_ALPHA = "LA"
    RGB = "RGB"
    RGB_ALPHA = "RGBA"


def _decoded(source: Any, mode: ImageReadMode | str, turn: bool, kinds: Any = None) -> Tensor:
    from PIL import Image, ImageOps

    if isinstance(mode, str):
        mode = ImageReadMode[mode.upper()]
    with Image.open(source, formats=kinds) as image:
        upright = ImageOps.exif_transpose(image) if turn else image
        return pil_to_tensor(upright if mode.value is None else upright.convert(mode.value))


def read_image(
    path: str | os.PathLike,
    mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
    apply_exif_orientation: bool = False,
) -> Tensor:
    """Reads an image file as a tensor (C, H, W), uint8."""
    return _decoded(path, mode, apply_exif_orientation)


def read_file(path: str | os.PathLike) -> Tensor:
    """The bytes of a file as a tensor of one dimension, uint8."""
    return cupola.from_numpy(np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8).copy())


def write_file(filename: str | os.PathLike, data: Tensor) -> None:
    """Writes a tensor of one dimension, uint8, as a file's bytes."""
    pathlib.Path(filename).write_bytes(data.cpu().numpy().tobytes())


def _stream(input: Tensor) -> io.BytesIO:
    if input.dtype != cupola.uint8 or input.dim() != 1:
        raise RuntimeError("expected the bytes of a file: a tensor of one dimension, uint8")
    return io.BytesIO(input.cpu().numpy().tobytes())


def decode_image(
    input: Tensor | str | os.PathLike,
    mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
    apply_exif_orientation: bool = False,
) -> Tensor:
    """An image (C, H, W) from the bytes of a file, or from a file.

    Raises:
        RuntimeError: bytes in a tensor of another type or of more dimensions.
    """
    source = _stream(input) if isinstance(input, Tensor) else input
    return _decoded(source, mode, apply_exif_orientation)


def decode_jpeg(
    input: Tensor | list[Tensor],
    mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
    device: Any = "cpu",
    apply_exif_orientation: bool = False,
) -> Tensor | list[Tensor]:
    """Images from the bytes of JPEG files."""
    if isinstance(input, list):
        return [decode_jpeg(one, mode, device, apply_exif_orientation) for one in input]
    return _decoded(_stream(input), mode, apply_exif_orientation, ["JPEG"]).to(device)


def decode_png(
    input: Tensor,
    mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
    apply_exif_orientation: bool = False,
) -> Tensor:
    """An image from the bytes of a PNG file."""
    return _decoded(_stream(input), mode, apply_exif_orientation, ["PNG"])


def decode_webp(input: Tensor, mode: ImageReadMode | str = ImageReadMode.UNCHANGED) -> Tensor:
    """An image from the bytes of a WebP file."""
    return _decoded(_stream(input), mode, False, ["WEBP"])


def _encoded(input: Tensor, kind: str, **options: int) -> Tensor:
    if input.dtype != cupola.uint8:
        raise RuntimeError(f"Input tensor dtype should be uint8, got {input.dtype}")
    if input.dim() != 3 or input.shape[0] not in (1, 3):
        raise RuntimeError("Input data should be a tensor (C, H, W) of 1 or 3 channels")
    stream = io.BytesIO()
    to_pil_image(input).save(stream, kind, **options)
    return cupola.from_numpy(np.frombuffer(stream.getvalue(), np.uint8).copy())


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """The bytes of a PNG file that holds an image (C, H, W), uint8.

    Raises:
        RuntimeError: another type or shape.
    """
    return _encoded(input, "PNG", compress_level=compression_level)


def encode_jpeg(input: Tensor | list[Tensor], quality: int = 75) -> Tensor | list[Tensor]:
    """The bytes of a JPEG file that holds an image (C, H, W), uint8.

    Raises:
        RuntimeError: another type or shape.
        ValueError: a quality outside 1 to 100.
    """
    if not 1 <= quality <= 100:
        raise ValueError("Image quality should be a positive number between 1 and 100")
    if isinstance(input, list):
        return [_encoded(one, "JPEG", quality=quality) for one in input]
    return _encoded(input, "JPEG", quality=quality)


def write_png(input: Tensor, filename: str | os.PathLike, compression_level: int = 6) -> None:
    """Writes an image (C, H, W), uint8, as a PNG file."""
    write_file(filename, encode_png(input, compression_level))


def write_jpeg(input: Tensor, filename: str | os.PathLike, quality: int = 75) -> None:
    """Writes an image (C, H, W), uint8, as a JPEG file."""
    data = encode_jpeg(input, quality)
    assert isinstance(data, Tensor)
    write_file(filename, data)
