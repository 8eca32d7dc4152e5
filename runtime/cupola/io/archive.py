"""Records of a zip archive, with what a hostile one could do checked first."""

from __future__ import annotations

import struct
import zipfile
import zlib

import numpy as np

from cupola.io.errors import CheckpointError
from cupola.io.source import Source

MAGIC = b"PK\x03\x04"
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_PIECE = 1 << 20
_FREE_INFLATION = 64 << 20
_INFLATION = 100


class Archive:
    """The records of a zip archive, by name.

    No two records may overlap, and all together may not inflate to more than 64 MiB plus 100 times
    the size of the file; what is read is compared with its checksum. With a mapped source a stored
    record is a window on the map, and its checksum is not computed.

    Raises `CheckpointError` for an archive that breaks these rules.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._zip = zipfile.ZipFile(source.file)
        self._budget = _FREE_INFLATION + _INFLATION * source.size
        self._records: dict[str, tuple[zipfile.ZipInfo, int]] = {}
        spans = []
        for info in self._zip.infolist():
            start = self._data_offset(info)
            if info.filename in self._records:
                raise CheckpointError(f"the archive holds {info.filename!r} twice")
            self._records[info.filename] = (info, start)
            spans.append((start, start + info.compress_size, info.filename))
        spans.sort()
        for (_, end, first), (start, _, second) in zip(spans, spans[1:], strict=False):
            if start < end:
                raise CheckpointError(f"the records {first!r} and {second!r} overlap")

    @property
    def names(self) -> list[str]:
        return list(self._records)

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def size(self, name: str) -> int:
        """Bytes of a record; `CheckpointError` when there is none of that name."""
        return self._find(name)[0].file_size

    def read(self, name: str) -> bytes:
        return self.array(name, mapped=False).tobytes()

    def array(self, name: str, mapped: bool = True, align: int = 1) -> np.ndarray:
        """The bytes of a record as a writable uint8 array."""
        info, start = self._find(name)
        if info.compress_type == zipfile.ZIP_STORED:
            window = mapped and self.source.mapped is not None and start % align == 0
            data = self.source.array(start, info.file_size, align)
            if not window:
                _check(name, info, zlib.crc32(data.data))
            return data
        return self._inflated(name, info, start)

    def _find(self, name: str) -> tuple[zipfile.ZipInfo, int]:
        if name not in self._records:
            raise CheckpointError(f"the archive has no record {name!r}; it is incomplete")
        return self._records[name]

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        header = _LOCAL.unpack(self.source.read(info.header_offset, _LOCAL.size))
        if header[0] != MAGIC:
            raise CheckpointError(f"the archive's record {info.filename!r} is not where it says")
        start: int = info.header_offset + _LOCAL.size + header[-2] + header[-1]
        self.source.check(start, info.compress_size)
        if info.flag_bits & 1:
            raise CheckpointError("the archive is encrypted; decrypt it first")
        if info.compress_type == zipfile.ZIP_STORED:
            if info.file_size != info.compress_size:
                raise CheckpointError(f"the archive's record {info.filename!r} has two sizes")
        elif info.compress_type != zipfile.ZIP_DEFLATED:
            raise CheckpointError("the archive is compressed in a way that checkpoints never are")
        return start

    def _inflated(self, name: str, info: zipfile.ZipInfo, start: int) -> np.ndarray:
        self._budget -= info.file_size
        if self._budget < 0:
            raise CheckpointError(
                "the archive inflates to far more than its size, as a zip bomb does. If it is "
                "meant to be so, unzip it and zip it again without compression (zip -0)."
            )
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        out = np.empty(info.file_size, np.uint8)
        done, at, end = 0, start, start + info.compress_size
        while at < end:
            count = min(_PIECE, end - at)
            # One byte more than is left to come, so that a surplus shows.
            piece = inflate.decompress(self.source.read(at, count), info.file_size - done + 1)
            if done + len(piece) > info.file_size:
                break
            out[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done, at = done + len(piece), at + count
        if done != info.file_size or not inflate.eof:
            raise CheckpointError(f"the record {name!r} does not have the size that it declares")
        _check(name, info, zlib.crc32(out.data))
        return out


def _check(name: str, info: zipfile.ZipInfo, checksum: int) -> None:
    if checksum != info.CRC:
        raise CheckpointError(
            f"the record {name!r} does not match its checksum: the file was damaged after it was "
            "written. Fetch it again."
        )
