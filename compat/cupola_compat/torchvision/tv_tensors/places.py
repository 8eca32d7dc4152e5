"""Boxes and key points as kinds of tensors, with the size of the picture that they are in."""

from __future__ import annotations

import enum
from typing import Any

from cupola.tensor import Tensor
from cupola_compat.torchvision.tv_tensors.base import TVTensor


class BoundingBoxFormat(enum.Enum):
    """What the numbers of a box are: corners, a corner and the size, or the centre and the size;
    those of turned boxes end in the angle (degrees), or are the four corners.
    """

    XYXY = "XYXY"
    XYWH = "XYWH"
    CXCYWH = "CXCYWH"
    XYWHR = "XYWHR"
    CXCYWHR = "CXCYWHR"
    XYXYXYXY = "XYXYXYXY"


def is_rotated_bounding_format(format: BoundingBoxFormat | str) -> bool:
    """Whether boxes of this format are turned ones.

    Raises:
        ValueError: neither a format nor a format's name.
    """
    if not isinstance(format, (BoundingBoxFormat, str)):
        raise ValueError(f"format should be str or BoundingBoxFormat, got {type(format)}")
    name = format if isinstance(format, str) else format.value
    return name in ("XYWHR", "CXCYWHR", "XYXYXYXY")


class BoundingBoxes(TVTensor):
    """Boxes (N, K), with their format and the size [height, width] of their picture.

    `clamping_mode` says how transforms cut off what lies outside: "soft", "hard" (the same for
    boxes that are not turned), or None, not at all.

    Raises:
        ValueError: more than two dimensions, turned boxes in integers, or any other clamping mode.
    """

    _metadata = ("format", "canvas_size", "clamping_mode")
    format: BoundingBoxFormat
    canvas_size: tuple[int, int]
    clamping_mode: str | None

    def __new__(
        cls,
        data: Any,
        *,
        format: BoundingBoxFormat | str,
        canvas_size: tuple[int, int],
        clamping_mode: str | None = "soft",
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool | None = None,
    ) -> BoundingBoxes:
        tensor = cls._to_tensor(data, dtype, device, requires_grad)
        if not tensor.is_floating_point() and is_rotated_bounding_format(format):
            raise ValueError(
                f"Rotated bounding boxes should be floating point tensors, got {tensor.dtype}."
            )
        return cls._made(tensor, format, canvas_size, clamping_mode)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is done when it is made."""

    @classmethod
    def _made(cls, tensor: Tensor, format: Any, canvas_size: Any, clamping_mode: Any) -> Any:
        if tensor.ndim not in (1, 2):
            raise ValueError(f"Expected a 1D or 2D tensor, got {tensor.ndim}D")
        if clamping_mode not in (None, "hard", "soft"):
            raise ValueError(f"clamping_mode must be None, hard or soft, got {clamping_mode}.")
        found = (tensor.unsqueeze(0) if tensor.ndim == 1 else tensor).as_subclass(cls)
        found.format = BoundingBoxFormat[format.upper()] if isinstance(format, str) else format
        found.canvas_size, found.clamping_mode = canvas_size, clamping_mode
        return found

    @classmethod
    def wrap(cls, tensor: Tensor, like: Any, **kwargs: Any) -> Any:
        """`tensor` as boxes, with the metadata of `like` but for what is given by name."""
        return cls._made(
            tensor, *(kwargs.get(name, getattr(like, name)) for name in BoundingBoxes._metadata)
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return self._described(**{name: getattr(self, name) for name in BoundingBoxes._metadata})


class KeyPoints(TVTensor):
    """Points (…, 2) as [x, y], with the size [height, width] of their picture.

    Raises:
        ValueError: a last dimension of another length than two.
    """

    _metadata = ("canvas_size",)
    canvas_size: tuple[int, int]

    def __new__(
        cls,
        data: Any,
        *,
        canvas_size: tuple[int, int],
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool | None = None,
    ) -> KeyPoints:
        return cls._made(cls._to_tensor(data, dtype, device, requires_grad), canvas_size)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is done when it is made."""

    @classmethod
    def _made(cls, tensor: Tensor, canvas_size: Any) -> Any:
        if tensor.ndim == 1:
            tensor = tensor.unsqueeze(0)
        elif tensor.shape[-1] != 2:
            raise ValueError(f"Expected a tensor of shape (..., 2), not {tensor.shape}")
        found = tensor.as_subclass(cls)
        found.canvas_size = canvas_size
        return found

    @classmethod
    def wrap(cls, tensor: Tensor, like: Any, **kwargs: Any) -> Any:
        """`tensor` as points, with the metadata of `like` but for what is given by name."""
        return cls._made(tensor, kwargs.get("canvas_size", like.canvas_size))

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return self._described(canvas_size=self.canvas_size)
