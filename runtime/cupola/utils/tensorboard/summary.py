"""What event files hold: one function a kind of value, each giving a ``Summary`` message."""

from __future__ import annotations

import io
import warnings
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

import cupola.dtypes as dtypes
from cupola.tensor import Tensor
from cupola.utils.tensorboard.arrays import channels_last, frames_of, gif, in_bytes, make_np, png

# Of each dtype: its name in messages, the field for its elements, and how those are written.
_FIELDS: dict[Any, tuple[str, str, Any]] = {
    dtypes.float16: ("DT_HALF", "half_val", lambda a: a.view(np.uint16)),
    # The upper halves of the same numbers in single precision.
    dtypes.bfloat16: ("DT_BFLOAT16", "half_val", lambda a: a.view(np.uint32) >> 16),
    dtypes.bool: ("DT_BOOL", "bool_val", None),
    dtypes.float32: ("DT_FLOAT", "float_val", None),
    dtypes.float64: ("DT_DOUBLE", "double_val", None),
    dtypes.int8: ("DT_INT8", "int_val", None),
    dtypes.uint8: ("DT_UINT8", "uint32_val", None),
    dtypes.int16: ("DT_INT16", "int_val", None),
    dtypes.int32: ("DT_INT32", "int_val", None),
    dtypes.int64: ("DT_INT64", "int64_val", None),
    dtypes.complex64: ("DT_COMPLEX64", "scomplex_val", lambda a: a.view(np.float32)),
    dtypes.complex128: ("DT_COMPLEX128", "dcomplex_val", lambda a: a.view(np.float64)),
}


def metadata(plugin: str, content: bytes = b"") -> Any:
    """Says which of TensorBoard's plugins shows a value."""
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=data)


def shape_of(sizes: Sequence[int]) -> Any:
    """The message for a shape."""
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def floats(array: np.ndarray) -> Any:
    """The message for an array in single precision."""
    values = array.reshape(-1).tolist()
    return TensorProto(dtype="DT_FLOAT", float_val=values, tensor_shape=shape_of(array.shape))


def one(tag: str, **fields: Any) -> Any:
    """A summary of one value."""
    return Summary(value=[Summary.Value(tag=tag, **fields)])


def scalar(tag: str, value: Any, new_style: bool = False, double_precision: bool = False) -> Any:
    """A number; ``new_style`` writes it as a tensor, which loads faster."""
    array = make_np(value).squeeze()
    if array.ndim:
        raise AssertionError(
            "Tensor should contain one element (0 dimensions). Was given size: "
            f"{array.size} and {array.ndim} dimensions."
        )
    number = float(array)
    if not new_style:
        return one(tag, simple_value=number)
    if double_precision:
        tensor = TensorProto(double_val=[number], dtype="DT_DOUBLE")
    else:
        tensor = TensorProto(float_val=[number], dtype="DT_FLOAT")
    return one(tag, tensor=tensor, metadata=metadata("scalars"))


def tensor_proto(tag: str, tensor: Tensor) -> Any:
    """A whole tensor.

    Raises:
        ValueError: it has 2 GiB or more, or a dtype that messages have no field for.
    """
    if tensor.numel() * tensor.itemsize >= 1 << 31:
        raise ValueError(
            "tensor is bigger than protocol buffer's hard limit of 2GB in size: log a part of it"
        )
    if tensor.dtype not in _FIELDS:
        raise ValueError(f"{tag} has unsupported tensor dtype {tensor.dtype}")
    dtype, field, convert = _FIELDS[tensor.dtype]
    flat = np.ascontiguousarray(make_np(tensor)).reshape(-1)
    values = (flat if convert is None else convert(flat)).tolist()
    message = TensorProto(dtype=dtype, tensor_shape=shape_of(tensor.shape), **{field: values})
    return one(tag, metadata=metadata("tensor"), tensor=message)


def histogram_raw(
    tag: str,
    min: float,
    max: float,
    num: int,
    sum: float,
    sum_squares: float,
    bucket_limits: Sequence[float],
    bucket_counts: Sequence[float],
) -> Any:
    """A histogram that is at hand: right edges of buckets and what they count."""
    message = HistogramProto(
        min=min,
        max=max,
        num=num,
        sum=sum,
        sum_squares=sum_squares,
        bucket_limit=bucket_limits,
        bucket=bucket_counts,
    )
    return one(tag, histo=message)


def histogram(tag: str, values: Any, bins: Any, max_bins: int | None = None) -> Any:
    """A histogram of all elements; ``bins`` as ``numpy.histogram`` takes them.

    Raises:
        ValueError: there are no elements.
    """
    flat = make_np(values).astype(float).reshape(-1)
    if flat.size == 0:
        raise ValueError("The input has no element.")
    counts, edges = np.histogram(flat, bins=bins)
    if max_bins is not None and len(counts) > max_bins:
        counts, edges = _fewer(counts, edges, len(counts) // max_bins)
    # From the first bucket with an element to the last, with an empty one in front: only right
    # edges are written.
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, len(counts) - 1)
    before = counts[first - 1 : first] if first else np.zeros(1, counts.dtype)
    return histogram_raw(
        tag,
        min=flat.min(),
        max=flat.max(),
        num=len(flat),
        sum=flat.sum(),
        sum_squares=flat.dot(flat),
        bucket_limits=edges[first : last + 2].tolist(),
        bucket_counts=np.concatenate([before, counts[first : last + 1]]).tolist(),
    )


def _fewer(counts: np.ndarray, edges: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Buckets joined, so many at a time."""
    starts = np.arange(0, len(counts), each)
    return np.add.reduceat(counts, starts), np.append(edges[:-1][starts], edges[-1])


def image(tag: str, tensor: Any, rescale: float = 1, dataformats: str = "NCHW") -> Any:
    """A picture, or several in a grid: bytes, or numbers between 0 and 1."""
    return _picture(tag, in_bytes(channels_last(make_np(tensor), dataformats)), rescale)


def image_boxes(
    tag: str,
    tensor: Any,
    boxes: Any,
    rescale: float = 1,
    dataformats: str = "CHW",
    labels: Any = None,
) -> Any:
    """A picture with boxes (x1, y1, x2, y2)."""
    pixels = in_bytes(channels_last(make_np(tensor), dataformats))
    return _picture(tag, pixels, rescale, make_np(boxes), labels)


def _picture(tag: str, pixels: np.ndarray, rescale: float, boxes: Any = None, labels: Any = None):
    height, width, channels = pixels.shape
    message = Summary.Image(
        height=height,
        width=width,
        colorspace=channels,
        encoded_image_string=png(pixels, rescale, boxes, labels),
    )
    return one(tag, image=message)


def video(tag: str, tensor: Any, fps: float = 4) -> Any:
    """Videos (N, time, channels, H, W), as an animated GIF."""
    frames = in_bytes(frames_of(make_np(tensor)))
    _, height, width, channels = frames.shape
    message = Summary.Image(
        height=height,
        width=width,
        colorspace=channels,
        encoded_image_string=gif(frames, fps),
    )
    return one(tag, image=message)


def audio(tag: str, tensor: Any, sample_rate: int = 44100) -> Any:
    """One channel of sound between -1 and 1, as a WAV file of 16-bit samples."""
    samples = make_np(tensor).squeeze()
    if np.abs(samples).max() > 1:
        warnings.warn("add_audio: amplitudes beyond 1 are cut off", stacklevel=3)
        samples = samples.clip(-1, 1)
    if samples.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    samples = (samples * np.iinfo(np.int16).max).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(samples.tobytes())
    message = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=len(samples),
        encoded_audio_string=file.getvalue(),
        content_type="audio/wav",
    )
    return one(tag, audio=message)


def text(tag: str, words: str) -> Any:
    """A text in Markdown."""
    tensor = TensorProto(
        dtype="DT_STRING", string_val=[words.encode("utf_8")], tensor_shape=shape_of([1])
    )
    plugin = metadata("text", TextPluginData(version=0).SerializeToString())
    return one(f"{tag}/text_summary", metadata=plugin, tensor=tensor)
