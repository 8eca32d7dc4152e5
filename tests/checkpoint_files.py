"""Helpers of the checkpoint tests: NumPy stands for the tensors where only files matter."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import torch

from cupola.io import load_numpy
from cupola.io.seam import array_parts
from cupola.io.writer import write


def to_numpy(value: Any) -> Any:
    """A tensor of torch's as an array of the same bits; containers are walked."""
    if isinstance(value, torch.Tensor):
        value = value.detach().resolve_conj().resolve_neg()
        if value.dtype in _BITS:
            return value.contiguous().view(_BITS[value.dtype]).numpy()
        return value.numpy()
    if isinstance(value, dict):
        return {key: to_numpy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_numpy(item) for item in value)
    return value


_BITS = {
    torch.bfloat16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e5m2: torch.uint8,
}


def same(ours: Any, theirs: Any) -> None:
    """Assert that two loaded objects are equal, bit by bit where they hold arrays."""
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray)
        if ours.dtype.newbyteorder("=") != theirs.dtype.newbyteorder("="):
            # bfloat16 and the like travel as their bits
            assert ours.dtype.itemsize == theirs.dtype.itemsize
            ours = np.ascontiguousarray(ours).view(theirs.dtype)
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    else:
        assert ours == theirs


def torch_bytes(obj: Any, **kwargs: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(obj, buffer, **kwargs)
    return buffer.getvalue()


def numpy_bytes(obj: Any, **kwargs: Any) -> bytes:
    """What cupola.save writes, with NumPy arrays as the tensors."""
    buffer = io.BytesIO()
    write(obj, buffer, array_parts, **kwargs)
    return buffer.getvalue()


def load_bytes(data: bytes, **kwargs: Any) -> Any:
    return load_numpy(io.BytesIO(data), **kwargs)


def as_zip(data_pkl: bytes, records: dict[str, bytes] | None = None) -> bytes:
    """A zip checkpoint around a pickle made by hand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for name, data in (records or {}).items():
            archive.writestr(f"archive/{name}", data)
        if "version" not in (records or {}):
            archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def as_legacy(obj_pkl: bytes, keys: tuple[str, ...] = (), body: bytes = b"") -> bytes:
    """A legacy checkpoint around a pickle made by hand."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(item, 2) for item in head]
    return b"".join([*parts, obj_pkl, pickle.dumps(list(keys), 2), body])


def legacy_storage(values: np.ndarray) -> bytes:
    return struct.pack("<q", values.size) + values.tobytes()
