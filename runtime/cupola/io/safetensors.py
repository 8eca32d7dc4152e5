"""safetensors: eight bytes with the length of a JSON header, the header, the tensors' bytes.

The functions are those of `safetensors.torch`. Format: https://github.com/huggingface/safetensors
(README, "Format"). The header is checked as strictly as the reference implementation does: no name
twice, offsets in bounds, no overlap, no gap, sizes that match dtype and shape.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cupola.io.atomic import replaced
from cupola.io.errors import CheckpointError, guarded, short
from cupola.io.locations import Locate, locator
from cupola.io.seam import TensorFactory, View
from cupola.io.source import Source, opened
from cupola.io.storage import NUMPY_DTYPES, Storage, swapped
from cupola.io.tensors import CupolaFactory, TakeApart

MAX_HEADER = 100_000_000
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
_CODES = {name: code for code, name in DTYPES.items()}
# The order in which the reference implementation writes dtypes: widest first, so that alignment
# is kept without padding.
_RANK = {code: rank for rank, code in enumerate(DTYPES)}


def header(source: Source, begin: int = 0) -> tuple[dict[str, tuple[View, int]], dict[str, str]]:
    """The tensors (view and offset in the file) and the metadata that a file declares.

    Raises `CheckpointError` for a header that breaks the format's rules.
    """
    length = int.from_bytes(source.read(begin, 8), "little")
    if length > MAX_HEADER:
        raise CheckpointError(f"the safetensors header declares {length} bytes; 100 MB are allowed")
    text = source.read(begin + 8, length)
    if not text.startswith(b"{"):
        raise CheckpointError("the safetensors header does not begin with '{'")
    table = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    metadata = table.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError("the safetensors metadata are not a table of strings")
    first = begin + 8 + length
    tensors, spans = {}, []
    for name, entry in table.items():
        view, start, stop = _entry(name, entry)
        tensors[name] = (view, first + start)
        spans.append((start, stop, name))
    expected = 0
    for start, stop, name in sorted(spans):
        if start != expected:
            what = "overlaps another" if start < expected else "leaves a gap before it"
            raise CheckpointError(f"the tensor {name!r} {what}")
        expected = stop
    if first + expected != source.size:
        raise CheckpointError(
            f"the tensors take {expected} bytes, but the file has {source.size - first} for them; "
            "it was cut short or is damaged"
        )
    return tensors, metadata


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise CheckpointError("the safetensors header names something twice")
    return table


def _entry(name: str, entry: Any) -> tuple[View, int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"the entry of tensor {name!r} is not dtype, shape, data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise CheckpointError(f"the tensor {name!r} has the dtype {short(code)}, which is unknown")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > 64:
        raise CheckpointError(f"the tensor {name!r} has a damaged shape or damaged offsets")
    dtype, (start, stop) = DTYPES[code], offsets
    nbytes = math.prod(shape) * NUMPY_DTYPES[dtype].itemsize
    if stop - start != nbytes:
        raise CheckpointError(
            f"the tensor {name!r} of {nbytes} bytes is given {stop - start} bytes of the file"
        )
    return View(dtype, 0, tuple(shape), row_major(shape)), start, stop


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 60 for v in values)


def row_major(shape: Any) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous array."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _tensor(source: Source, view: View, start: int, factory: TensorFactory, locate: Locate) -> Any:
    kind = NUMPY_DTYPES[view.dtype]
    nbytes = view.numel * kind.itemsize

    def fetch() -> np.ndarray:
        with guarded(source.name):
            return swapped(source.array(start, nbytes, kind.itemsize), view.dtype, "little")

    storage = Storage(view.dtype, nbytes, fetch)
    storage.uses = 1
    storage.device = locate(storage, "cpu")
    return factory.tensor(storage, view)


def read_safetensors(
    source: Source, factory: TensorFactory, locate: Locate, begin: int = 0
) -> dict[str, Any]:
    """All tensors of a file, by name, in the order of the header."""
    with guarded(source.name):
        tensors, _ = header(source, begin)
    return {
        name: _tensor(source, view, start, factory, locate)
        for name, (view, start) in tensors.items()
    }


def load_file(filename: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Any]:
    """Read the tensors of a safetensors file onto `device`.

    Raises `CheckpointError` for a damaged file. Source: safetensors.torch.load_file.
    """
    with opened(filename) as source:
        return read_safetensors(source, CupolaFactory(), locator(device))


def load(data: bytes) -> dict[str, Any]:
    """Read tensors from the bytes of a safetensors file. Source: safetensors.torch.load."""
    return read_safetensors(Source.of_bytes(data, "<bytes>"), CupolaFactory(), locator("cpu"))


def save_file(
    tensors: Mapping[str, Any],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors, and a table of strings, to a safetensors file, atomically.

    Raises TypeError for what the format cannot hold, RuntimeError for tensors that share memory.
    Source: safetensors.torch.save_file.
    """
    parts = list(pieces(tensors, metadata))
    with replaced(filename) as file:
        for part in parts:
            file.write(part)


def save(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file. Source: safetensors.torch.save."""
    return b"".join(pieces(tensors, metadata))


class safe_open:  # noqa: N801  (the field's name for it)
    """A safetensors file whose tensors are read one by one.

    `framework` and `backend` are accepted for the sake of code written for the safetensors package,
    and ignored.
    Raises `CheckpointError` for a damaged file. Source: safetensors.safe_open.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        framework: str = "pt",
        device: Any = "cpu",
        backend: Any = None,
    ) -> None:
        self._opened = opened(filename)
        self._source = self._opened.__enter__()
        self._locate = locator(device)
        try:
            with guarded(self._source.name):
                self._tensors, self._metadata = header(self._source)
        except BaseException:
            self._opened.__exit__(None, None, None)
            raise

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def keys(self) -> list[str]:
        return list(self._tensors)

    def metadata(self) -> dict[str, str] | None:
        return self._metadata or None

    def get_tensor(self, name: str) -> Any:
        if name not in self._tensors:
            raise KeyError(f"the file has no tensor {name!r}")
        view, start = self._tensors[name]
        return _tensor(self._source, view, start, CupolaFactory(), self._locate)

    def get_tensors(self) -> dict[str, Any]:
        """All tensors by name."""
        return {name: self.get_tensor(name) for name in self._tensors}

    def offset_keys(self) -> list[str]:
        """The names in the order in which the file holds the tensors."""
        return sorted(self._tensors, key=lambda name: self._tensors[name][1])

    def get_slice(self, name: str) -> _Slice:
        """A tensor that is read when it is indexed."""
        if name not in self._tensors:
            raise KeyError(f"the file has no tensor {name!r}")
        return _Slice(self, name)


class _Slice:
    """A tensor of a file, not read yet (safetensors' PySafeSlice)."""

    def __init__(self, file: safe_open, name: str) -> None:
        self._file, self._name = file, name
        self._view = file._tensors[name][0]

    def get_shape(self) -> list[int]:
        """Its sizes."""
        return list(self._view.size)

    def get_dtype(self) -> str:
        """Its dtype, by safetensors' code for it (`F32`)."""
        return _CODES[self._view.dtype]

    def __getitem__(self, index: Any) -> Any:
        return self._file.get_tensor(self._name)[index]


def pieces(
    tensors: Mapping[str, Any], metadata: Mapping[str, str] | None
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file: the header, then one piece a tensor."""
    arrays = _arrays(tensors)
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    names = sorted(arrays, key=lambda name: (-_RANK[arrays[name][0]], name))
    at = 0
    for name in names:
        code, array = arrays[name]
        end = at + array.nbytes
        table[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        code, array = arrays[name]
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        yield swapped(data, DTYPES[code], "little").data


def _arrays(tensors: Mapping[str, Any]) -> dict[str, tuple[str, np.ndarray]]:
    """Each tensor as the format's dtype code and an array."""
    take_apart = TakeApart()
    arrays = {}
    owners: dict[int, list[tuple[int, int, str]]] = {}
    for name, tensor in tensors.items():
        parts = take_apart(tensor)
        if parts is None or not isinstance(name, str):
            raise TypeError(
                f"safetensors hold tensors under names; {short(name)} is a {type(tensor).__name__}"
            )
        view = parts.view
        if view.dtype not in _CODES:
            raise TypeError(f"safetensors have no {view.dtype}; {name!r} cannot be saved")
        arrays[name] = (_CODES[view.dtype], parts.array())
        if view.numel:
            last = sum((n - 1) * step for n, step in zip(view.size, view.stride, strict=True))
            span = (view.offset, view.offset + last + 1, name)
            owners.setdefault(parts.key, []).append(span)
    for spans in owners.values():
        spans.sort()
        for (_, end, first), (start, _, second) in zip(spans, spans[1:], strict=False):
            if start < end:
                raise RuntimeError(
                    f"the tensors {first!r} and {second!r} share memory, which safetensors cannot "
                    "express. Leave one out, or save clone() of it."
                )
    return arrays
