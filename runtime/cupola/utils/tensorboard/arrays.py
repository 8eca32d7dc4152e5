"""Values as the arrays and pictures that event files hold."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

import cupola.dtypes as dtypes
from cupola.tensor import Tensor


def make_np(x: Any) -> np.ndarray:
    """A tensor, a number or a sequence as an array; numbers have one dimension."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, Tensor):
        x = x.detach()
        return (x.to(dtypes.float32) if x.dtype is dtypes.bfloat16 else x).cpu().numpy()
    if np.isscalar(x):
        return np.array([x])
    if isinstance(x, (list, tuple)):
        return np.array([make_np(v) if isinstance(v, Tensor) else v for v in x])
    raise NotImplementedError(f"Got {type(x)}, but numpy array or torch tensor are expected.")


def in_bytes(array: np.ndarray) -> np.ndarray:
    """Pixels as bytes: those of other types than uint8 lie between 0 and 1."""
    scale = 1 if array.dtype == np.uint8 else 255
    return (array.astype(np.float32) * scale).clip(0, 255).astype(np.uint8)


def make_grid(pictures: np.ndarray, columns: int = 8) -> np.ndarray:
    """Pictures (N, 1 or 3, H, W) beside each other, row by row, as one (3, rows H, columns W)."""
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
        raise AssertionError("Input should be a 4D numpy array with 1 or 3 channels")
    count, _, height, width = pictures.shape
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    canvas = np.zeros((3, height * rows, width * columns), pictures.dtype)
    for i, picture in enumerate(pictures):
        y, x = i // columns * height, i % columns * width
        canvas[:, y : y + height, x : x + width] = picture
    return canvas


def channels_last(array: np.ndarray, dataformats: str) -> np.ndarray:
    """A picture, or several in a grid, as (H, W, channels).

    Raises:
        AssertionError: the letters are not those of the array's dimensions, each once.
    """
    letters = dataformats.upper()
    if len(set(letters)) != len(letters):
        raise AssertionError(
            f"You can not use the same dimension shorthand twice. input_format: {dataformats}"
        )
    if array.ndim != len(letters):
        raise AssertionError(
            "size of input tensor and input format are different. tensor shape: "
            f"{array.shape}, input_format: {dataformats}"
        )
    order = {4: "NCHW", 3: "HWC", 2: "HW"}.get(array.ndim)
    if order is None or set(letters) != set(order):
        raise AssertionError(f"dataformats={dataformats!r} names no picture: give {order or 'HWC'}")
    array = array.transpose([letters.index(c) for c in order])
    if array.ndim == 4:
        return make_grid(array).transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    return np.repeat(array, 3, 2) if array.shape[2] == 1 else array


def frames_of(video: np.ndarray) -> np.ndarray:
    """Videos (N, time, channels, H, W) as the frames (time, rows H, columns W, channels) of one.

    There are a power of two of places; those without a video stay black.
    """
    count, time, channels, height, width = video.shape
    places = 1 << (count - 1).bit_length()
    rows = 2 ** ((count.bit_length() - 1) // 2)
    full = np.zeros((places, *video.shape[1:]), video.dtype)
    full[:count] = video
    full = full.reshape(rows, places // rows, time, channels, height, width)
    full = full.transpose(2, 0, 4, 1, 5, 3)
    return full.reshape(time, rows * height, places // rows * width, channels)


def figure_pixels(figures: Any, close: bool = True) -> np.ndarray:
    """A matplotlib figure as bytes (3, H, W); a list of them as (N, 3, H, W)."""
    if isinstance(figures, list):
        return np.stack([figure_pixels(figure, close) for figure in figures])
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figures)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].transpose(2, 0, 1).copy()
    if close:
        pyplot.close(figures)
    return pixels


def png(pixels: np.ndarray, rescale: float = 1, boxes: Any = None, labels: Any = None) -> bytes:
    """Bytes (H, W, channels) as a PNG file, with red boxes (x1, y1, x2, y2) and their labels."""
    from PIL import Image, ImageDraw, ImageFont

    height, width, channels = pixels.shape
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    if boxes is not None:
        draw = ImageDraw.Draw(picture)
        for i, box in enumerate(boxes):
            left, top, right, bottom = (float(v) for v in box[:4])
            corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
            draw.line(corners, width=2, fill="Red")
            if labels is not None:
                text, font = str(labels[i]), ImageFont.load_default()
                first, above, last, below = font.getbbox(text)
                wide, high = last - first, below - above
                edge = math.ceil(0.05 * high)
                draw.rectangle([(left, bottom - high - 2 * edge), (left + wide, bottom)], "Red")
                draw.text((left + edge, bottom - high - edge), text, fill="black", font=font)
    size = int(width * rescale), int(height * rescale)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def gif(frames: np.ndarray, fps: float) -> bytes:
    """Bytes (time, H, W, channels) as an animated GIF."""
    from PIL import Image

    pictures = [Image.fromarray(f[:, :, 0] if f.shape[2] == 1 else f) for f in frames]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
    )
    return file.getvalue()
