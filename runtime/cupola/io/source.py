"""Bytes of a checkpoint, wherever they lie: every length is checked before memory is asked for."""

from __future__ import annotations

import contextlib
import io
import mmap as _mmap
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from cupola.io.errors import CheckpointError

_CHUNK = 1 << 16


class Source:
    """Random access to the bytes of one file, one file object or one block of memory.

    `array` gives uint8 arrays that may be written to. With `mapped` they are windows on a private
    (copy-on-write) memory map, so that a file larger than memory can be opened; without it each is
    a fresh copy.
    """

    def __init__(self, file: Any, name: str, mapped: _mmap.mmap | None = None) -> None:
        self.file = file
        self.name = name
        self.mapped = mapped
        self.size: int = file.seek(0, os.SEEK_END)
        # Loaders read the tensors of one file from several threads; a file has one position.
        self._turn = threading.Lock()

    @classmethod
    def of_bytes(cls, data: bytes, name: str) -> Source:
        return cls(io.BytesIO(data), name)

    def check(self, offset: int, count: int) -> None:
        """Raise `CheckpointError` unless `count` bytes exist at `offset`."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise CheckpointError(
                f"the file ends too early: {count} bytes were expected at offset {offset}, but it "
                f"has {self.size} bytes in all. It was cut short or is damaged; fetch it again."
            )

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`."""
        self.check(offset, count)
        with self._turn:
            self.file.seek(offset)
            data: bytes = self.file.read(count)
            while len(data) < count:
                more = self.file.read(count - len(data))
                if not more:
                    raise CheckpointError("the file became shorter while it was being read")
                data += more
        return data

    def array(self, offset: int, count: int, align: int = 1) -> np.ndarray:
        """`count` bytes from `offset` as a writable uint8 array; a map's window when aligned."""
        self.check(offset, count)
        if self.mapped is not None and offset % align == 0:
            # Not a slice of one array over the whole file: NumPy would name that as its base, and
            # saving the tensor again would take the whole file for its storage.
            return np.frombuffer(self.mapped, np.uint8, count, offset)
        if not hasattr(self.file, "readinto"):
            return np.frombuffer(bytearray(self.read(offset, count)), np.uint8)
        out = np.empty(count, np.uint8)
        done = 0
        with self._turn:
            self.file.seek(offset)
            while done < count:
                got = self.file.readinto(out.data[done:])
                if not got:
                    raise CheckpointError("the file became shorter while it was being read")
                done += got
        return out


class Cursor:
    """Reads forward from one position of a source, never past `end`."""

    def __init__(self, source: Source, position: int = 0, end: int | None = None) -> None:
        self._source = source
        self._end = source.size if end is None else end
        self._start = position
        self._at = 0
        self._chunk = b""

    @property
    def position(self) -> int:
        return self._start + self._at

    @property
    def remaining(self) -> int:
        return self._end - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes; `CheckpointError` when there are fewer."""
        start = self._at
        if start + count > len(self._chunk):
            self._fill(count)
            start = 0
        self._at = start + count
        return self._chunk[start : self._at]

    def line(self, limit: int = 1 << 20) -> bytes:
        """Bytes up to the next newline, which is consumed and left out."""
        line = b""
        while len(line) <= limit:
            stop = self._chunk.find(b"\n", self._at)
            if stop >= 0:
                line += self.take(stop - self._at)
                self.take(1)
                if len(line) <= limit:
                    return line
                break
            line += self.take(len(self._chunk) - self._at)
            self._fill(1)
        raise CheckpointError("a line of the pickle is longer than any checkpoint writes")

    def _fill(self, count: int) -> None:
        if count > self.remaining:
            raise CheckpointError(
                f"the file ends too early: {count} bytes were expected at offset "
                f"{self.position}, but {self.remaining} are left"
            )
        self._start, self._at = self.position, 0
        self._chunk = self._source.read(self._start, max(count, min(_CHUNK, self.remaining)))


def describe(f: Any) -> str:
    """A name for error messages: the path, or the kind of file object."""
    if isinstance(f, (str, os.PathLike)):
        return os.fspath(f)
    name = getattr(f, "name", None)
    return name if isinstance(name, str) else f"<{type(f).__name__}>"


@contextlib.contextmanager
def opened(f: Any, mmap: bool = False) -> Iterator[Source]:
    """A `Source` over a path or a seekable binary file object."""
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            mapped = None
            if mmap and os.fstat(file.fileno()).st_size:
                # The map outlives this block: arrays made from it hold it.
                mapped = _mmap.mmap(file.fileno(), 0, access=_mmap.ACCESS_COPY)
            yield Source(file, describe(f), mapped)
        return
    if mmap:
        raise ValueError("mmap=True needs the path of a file; a file object was given")
    for method in ("read", "seek", "tell"):
        if not hasattr(f, method):
            raise AttributeError(
                f"load reads from a path or from a binary file object with read, seek and tell; "
                f"{type(f).__name__} has no {method}. Wrap the data in io.BytesIO first."
            )
    if not getattr(f, "seekable", lambda: True)():
        raise io.UnsupportedOperation(
            "load needs a file object that can seek. Read it into io.BytesIO first."
        )
    if isinstance(f, io.TextIOBase):
        raise TypeError("load needs a file opened in binary mode: open(path, 'rb')")
    yield Source(f, describe(f))
