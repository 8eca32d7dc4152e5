"""Images, videos and masks as kinds of tensors."""

from __future__ import annotations

from typing import Any

from cupola_compat.torchvision.transforms.basic import pil_to_tensor
from cupola_compat.torchvision.tv_tensors.base import TVTensor


def _read(data: Any) -> Any:
    return pil_to_tensor(data) if hasattr(data, "getbands") else data


class Image(TVTensor):
    """An image (…, C, H, W); of two dimensions, one of one channel.

    Raises:
        ValueError: fewer than two dimensions.
    """

    def __new__(
        cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None
    ) -> Image:
        tensor = cls._to_tensor(_read(data), dtype, device, requires_grad)
        if tensor.ndim < 2:
            raise ValueError(f"Tensor must be 2D or higher, got {tensor.ndim}D tensor.")
        return (tensor.unsqueeze(0) if tensor.ndim == 2 else tensor).as_subclass(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is done when it is made."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return self._described()


class Video(TVTensor):
    """A video (…, T, C, H, W).

    Raises:
        ValueError: fewer than four dimensions.
    """

    def __new__(
        cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None
    ) -> Video:
        tensor = cls._to_tensor(data, dtype, device, requires_grad)
        if tensor.ndim < 4:
            raise ValueError(f"Tensor must be 4D or higher, got {tensor.ndim}D tensor.")
        return tensor.as_subclass(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is done when it is made."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return self._described()


class Mask(TVTensor):
    """A segmentation (…, H, W), or a mask for each object (N, H, W)."""

    def __new__(
        cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None
    ) -> Mask:
        return cls._to_tensor(_read(data), dtype, device, requires_grad).as_subclass(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is done when it is made."""
