"""`save`: checkpoints that torch.load(weights_only=True) reads."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from cupola.io import legacy
from cupola.io.atomic import replaced
from cupola.io.pickler import Name, Pickler
from cupola.io.seam import Parts
from cupola.io.storage import STORAGE_NAMES, swapped
from cupola.io.tensors import TakeApart, translate

_ALIGNMENT = 64
_LOCAL_HEADER = 30
_ZIP64_FIELD = 20
_ZIP64_FROM = (1 << 31) - 1
_PIECE = 1 << 24
_VERSION = b"3\n"

# Whether this process writes a checkpoint to a path; of several alike, one does.
writes: Callable[[Any], bool] = lambda f: True
# Called when a checkpoint lies complete at its path.
written: Callable[[Any], None] = lambda f: None


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write `obj` to `f`, a path or a binary file object, in PyTorch's zip format.

    `obj` is data: tensors, parameters, state_dicts, and lists, tuples, dictionaries, sets, numbers,
    strings, bytes, NumPy arrays, dtypes, devices and sizes around them. Tensors that share a
    storage share it in the file. A path is written atomically: the old file stays until the new one
    is complete. `pickle_module` and `pickle_protocol` are accepted and ignored.

    Raises TypeError for an object that is not data, naming where in `obj` it is; OSError where the
    file cannot be written.

    Source: torch.save.
    """
    if isinstance(f, (str, os.PathLike)) and not writes(f):
        return
    write(obj, f, TakeApart(), translate, _use_new_zipfile_serialization, _disable_byteorder_record)
    if isinstance(f, (str, os.PathLike)):
        written(f)


def write(
    obj: Any,
    f: Any,
    take_apart: Callable[[Any], Parts | None],
    translate: Callable[[Any], Any] = lambda obj: None,
    as_zip: bool = True,
    without_byteorder: bool = False,
) -> None:
    """`save` for whatever `take_apart` says is a tensor."""
    storages = _Storages(as_zip)
    pickle = Pickler(take_apart, storages.store, translate).dump(obj)
    if isinstance(f, (str, os.PathLike)):
        stem = os.path.splitext(os.path.basename(os.fspath(f)))[0] or "archive"
        with replaced(f) as file:
            _write(file, stem, pickle, storages, as_zip, without_byteorder)
        return
    if not hasattr(f, "write"):
        raise AttributeError(
            f"save writes to a path or to a binary file object; {type(f).__name__} has no write"
        )
    if isinstance(f, io.TextIOBase):
        raise TypeError("save needs a file opened in binary mode: open(path, 'wb')")
    _write(f, "archive", pickle, storages, as_zip, without_byteorder)


def _write(
    file: IO[bytes], stem: str, pickle: bytes, storages: _Storages, as_zip: bool, bare: bool
) -> None:
    if as_zip:
        _write_zip(file, stem, pickle, storages, bare)
    else:
        _write_legacy(file, pickle, storages)


class _Storages:
    """Numbers the storages of a checkpoint in the order in which they are met."""

    def __init__(self, as_zip: bool) -> None:
        self.data: dict[str, tuple[np.ndarray, int]] = {}  # and the number of elements
        self.dtypes: dict[str, str] = {}
        self._keys: dict[int, str] = {}
        self._as_zip = as_zip

    def store(self, parts: Parts) -> tuple[Any, ...]:
        dtype = parts.view.dtype
        key = self._keys.setdefault(parts.key, str(len(self._keys)))
        known = self.dtypes.setdefault(key, dtype)
        if known != dtype:
            raise RuntimeError(
                f"a {known} and a {dtype} tensor view the same storage, which the format cannot "
                "hold. Save clone() of one of them."
            )
        if dtype in STORAGE_NAMES:
            kind, count = Name(f"torch {STORAGE_NAMES[dtype]}"), parts.data.size
        elif not self._as_zip:
            raise TypeError(f"the legacy format has no {dtype}; save in the zip format")
        else:
            kind, count = Name("torch.storage UntypedStorage"), parts.data.nbytes
        self.data[key] = parts.data.view(np.uint8), count
        pid = ("storage", kind, key, parts.device, count)
        return pid if self._as_zip else (*pid, None)


def _write_zip(file: IO[bytes], stem: str, pickle: bytes, storages: _Storages, bare: bool) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _record(archive, f"{stem}/data.pkl", memoryview(pickle))
        if not bare:
            _record(archive, f"{stem}/byteorder", memoryview(sys.byteorder.encode()))
        for key, (data, _) in storages.data.items():
            _record(archive, f"{stem}/data/{key}", data.data)
        _record(archive, f"{stem}/version", memoryview(_VERSION))


def _record(archive: zipfile.ZipFile, name: str, data: memoryview) -> None:
    """One stored record whose bytes begin at a multiple of 64, so that they can be mapped."""
    info = zipfile.ZipInfo(name)  # dated 1980: the same objects give the same file
    large = data.nbytes > _ZIP64_FROM
    header = _LOCAL_HEADER + len(name.encode()) + (_ZIP64_FIELD if large else 0) + 4
    padding = -(archive.start_dir + header) % _ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    info.file_size = data.nbytes
    with archive.open(info, "w", force_zip64=large) as record:
        for start in range(0, data.nbytes, _PIECE):
            record.write(data[start : start + _PIECE])


def _write_legacy(file: IO[bytes], pickle: bytes, storages: _Storages) -> None:
    sizes = {"short": 2, "int": 4, "long": 4}
    info = {"protocol_version": legacy.PROTOCOL, "little_endian": True, "type_sizes": sizes}
    for plain in (legacy.MAGIC_NUMBER, legacy.PROTOCOL, info):
        file.write(_plain(plain))
    file.write(pickle)
    file.write(_plain(list(storages.data)))
    for key, (data, count) in storages.data.items():
        file.write(count.to_bytes(8, "little"))
        file.write(swapped(data, storages.dtypes[key], "little").data)


def _plain(obj: Any) -> bytes:
    return Pickler(lambda _: None, lambda _: (), lambda _: None).dump(obj)
