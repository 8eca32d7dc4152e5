"""What a tensor says of itself: sizes, dtype, device, kind."""

from __future__ import annotations

from typing import Any

from cupola.dtypes import dtype as DType
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.tensor.size import Size


class Described:
    """The part of Tensor that needs the kind of its value only."""

    _n: Node

    @property
    def shape(self) -> Size:
        return Size(self._n.shape)

    def size(self, dim: int | None = None) -> Any:
        """Sizes, or the size of one dimension."""
        return Size(self._n.shape) if dim is None else self._n.shape[_wrap(dim, self._n.ndim)]

    @property
    def dtype(self) -> DType:
        return self._n.dtype

    @property
    def device(self) -> Device:
        return self._n.device

    @property
    def ndim(self) -> int:
        return len(self._n.shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._n.shape)

    ndimension = dim

    def numel(self) -> int:
        """Number of elements."""
        return self._n.numel

    nelement = numel

    def __len__(self) -> int:
        if not self._n.shape:
            raise TypeError("len() of a 0-d tensor")
        return self._n.shape[0]

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    is_sparse = is_quantized = is_nested = is_mkldnn = is_xla = is_mps = is_xpu = False
    is_sparse_csr = is_vulkan = is_ort = is_ipu = is_maia = is_mtia = is_hpu = False

    @property
    def is_cuda(self) -> bool:
        return self._n.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self._n.device.type == "cpu"

    @property
    def is_meta(self) -> bool:
        return self._n.device.type == "meta"

    @property
    def names(self) -> tuple[None, ...]:
        return (None,) * self.ndim

    @property
    def layout(self) -> Any:
        from cupola.tensor.layout import strided

        return strided


def _wrap(dim: int, ndim: int) -> int:
    low = -max(ndim, 1)
    if not low <= dim < -low:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{low}, {-low - 1}], but got "
            f"{dim})"
        )
    return dim + ndim if dim < 0 else dim
