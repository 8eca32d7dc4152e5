"""Storages: the blocks of bytes that the tensors of a checkpoint are windows on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from cupola.io.errors import CheckpointError

# PyTorch's dtype names, and the NumPy dtype that holds the same bits.
NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    **{
        name: np.dtype(name)
        for name in (
            "float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8 "
            "complex128 complex64"
        ).split()
    },
    "bool": np.dtype(np.bool_),
    **{
        name: np.dtype(getattr(ml_dtypes, name))
        for name in (
            "bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
        ).split()
    },
}
# Names that mean the same dtype.
DTYPE_ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "cdouble": "complex128",
    "cfloat": "complex64",
}
TORCH_NAMES = {dtype: name for name, dtype in NUMPY_DTYPES.items()}
# The class names that PyTorch's pickles use for a storage of each dtype. Dtypes newer than these
# are kept in an UntypedStorage and named next to it.
STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}
STORAGE_NAMES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}
QUANTISED_STORAGES = (
    "QInt8Storage",
    "QInt32Storage",
    "QUInt8Storage",
    "QUInt4x2Storage",
    "QUInt2x4Storage",
)


class Storage:
    """A block of bytes, shared by the tensors that view it.

    `load` gives one for each storage that was saved on its own, and passes one to a callable
    `map_location`, which may answer with `storage.cuda(1)`, `storage.cpu()` or the storage itself.

    Attributes: `dtype` (PyTorch's name; "uint8" for an untyped one), `device` (such as "cuda:0").
    """

    def __init__(
        self,
        dtype: str,
        nbytes: int,
        fetch: Callable[[], np.ndarray],
        device: str = "cpu",
        untyped: bool = False,
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.untyped = untyped
        self.content = dtype  # what the bytes are, where an untyped storage does not say
        self.root = self  # the storage that this one is a window on, and where
        self.start = 0
        self.uses = 0  # how many tensors of the checkpoint view it or a window on it
        self.views: dict[Any, Any] = {}  # what a tensor factory keeps for it
        self._nbytes = nbytes
        self._fetch = fetch
        self._array: np.ndarray | None = None

    def data(self) -> np.ndarray:
        """The bytes, a uint8 array that the tensors share; read from the file at the first call."""
        if self._array is None:
            self._array = self._fetch()
        return self._array

    def numpy(self, dtype: str | None = None) -> np.ndarray:
        """The elements as a one-dimensional array that shares the storage's memory."""
        kind = NUMPY_DTYPES[dtype or self.dtype]
        return self.data()[: self._nbytes // kind.itemsize * kind.itemsize].view(kind)

    def nbytes(self) -> int:
        return self._nbytes

    def element_size(self) -> int:
        return NUMPY_DTYPES[self.dtype].itemsize

    def size(self) -> int:
        return self._nbytes // self.element_size()

    def tolist(self) -> list[Any]:
        values: list[Any] = self.numpy().tolist()
        return values

    def __len__(self) -> int:
        return self.size()

    def __getitem__(self, index: int) -> Any:
        return self.numpy()[index].item()

    def __repr__(self) -> str:
        return f"Storage({self.size()} x {self.dtype}, device={self.device!r})"

    def to(self, device: Any) -> Storage:
        """The same storage, marked to be placed on `device`."""
        moved = Storage(self.dtype, self._nbytes, self.data, str(device), self.untyped)
        moved.uses = self.uses
        return moved

    def cpu(self) -> Storage:
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Storage:
        return self.to(f"cuda:{device}" if isinstance(device, int) else device or "cuda:0")


def window(root: Storage, dtype: str, start: int, nbytes: int) -> Storage:
    """A storage on part of another one (old files stored views this way); memory is shared."""
    if start < 0 or nbytes < 0 or start + nbytes > root.nbytes():
        raise CheckpointError("a storage view reaches beyond the storage that it views")
    part = Storage(dtype, nbytes, lambda: root.data()[start : start + nbytes], root.device)
    part.root, part.start = root.root, root.start + start
    return part


def swapped(data: np.ndarray, dtype: str, byteorder: str) -> np.ndarray:
    """`data` in this machine's byte order, given that it was written in `byteorder`."""
    kind = NUMPY_DTYPES[dtype]
    width = kind.itemsize // 2 if kind.kind == "c" else kind.itemsize
    if byteorder == sys.byteorder or width == 1:
        return data
    whole = len(data) // width * width
    out = data.copy()
    out[:whole] = data[:whole].view(f"u{width}").byteswap().view(np.uint8)
    return out
