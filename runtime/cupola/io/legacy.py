"""PyTorch's legacy format (torch.save until 1.5): four pickles in a row, then the raw storages.

Layout: magic number, protocol version, sys_info, the object, the storages' keys; then for each key
eight bytes with its number of elements and the elements, always little-endian.
"""

from __future__ import annotations

from typing import Any

from cupola.io.errors import CheckpointError, guarded
from cupola.io.locations import Locate
from cupola.io.rebuild import TorchRules, storage_pid
from cupola.io.seam import Survey, TensorFactory
from cupola.io.source import Cursor, Source
from cupola.io.storage import NUMPY_DTYPES, Storage, swapped, window
from cupola.io.unpickler import Unpickler

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class _Storages:
    """Finds and remembers the storages of one file, and the views that old files kept on them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._roots: dict[str, Storage] = {}
        self._views: dict[tuple[str, str], Storage] = {}
        self._places: dict[str, str] = {}
        self._starts: dict[str, int] = {}
        self._total = 0

    def __call__(self, pid: Any) -> Storage:
        dtype, untyped, key, place, nbytes, view = storage_pid(pid, 6)
        root = self._roots.get(key)
        if root is None:
            root = Storage(dtype, nbytes, lambda: self._fetch(key), untyped=untyped)
            self._roots[key], self._places[key] = root, place
            self._total += nbytes
            if self._total > self._source.size:
                raise CheckpointError("the storages are larger than the file, which was cut short")
        if view is None:
            if (root.dtype, root.nbytes()) == (dtype, nbytes):
                return root
            return window(root, dtype, 0, nbytes)
        if type(view) is not tuple or len(view) != 3 or not _counts(view[1:]):
            raise CheckpointError("a storage view in the pickle is damaged")
        name = (key, str(view[0]))
        if name not in self._views:
            width = NUMPY_DTYPES[dtype].itemsize
            self._views[name] = window(root, dtype, view[1] * width, view[2] * width)
        return self._views[name]

    def _fetch(self, key: str) -> Any:
        root = self._roots[key]
        align = NUMPY_DTYPES[root.content].itemsize
        with guarded(self._source.name):
            data = self._source.array(self._starts[key], root.nbytes(), align)
            return swapped(data, root.content, "little")

    def locate_bytes(self, keys: Any, position: int) -> int:
        """Find each storage behind `position`; where the last one ends."""
        if type(keys) is not list or set(keys) != set(self._roots) or len(keys) != len(set(keys)):
            raise CheckpointError("the list of storages does not match those that tensors use")
        for key in keys:
            count = int.from_bytes(self._source.read(position, 8), "little", signed=True)
            root = self._roots[key]
            if count * NUMPY_DTYPES[root.dtype].itemsize != root.nbytes():
                raise CheckpointError(f"the storage {key} does not have the size that it declares")
            self._starts[key] = position + 8
            self._source.check(position + 8, root.nbytes())
            position += 8 + root.nbytes()
        return position

    def place(self, locate: Locate) -> None:
        for key, storage in self._roots.items():
            storage.device = locate(storage, self._places[key])
        for (key, _), view in self._views.items():
            view.device = self._roots[key].device


def read(
    source: Source,
    start: int,
    factory: TensorFactory,
    locate: Locate,
    encoding: str,
    errors: str,
) -> tuple[Any, int]:
    """The object that begins at `start`, and where the file goes on behind it."""
    storages = _Storages(source)

    def unpickle(cursor: Cursor, factory: TensorFactory) -> Any:
        return Unpickler(cursor, TorchRules(factory, storages), encoding, errors).load()

    with guarded(source.name):
        cursor = Cursor(source, start)
        survey = Survey(factory)
        magic = unpickle(cursor, survey)
        if type(magic) is not int or magic != MAGIC_NUMBER:
            raise CheckpointError(
                "this is a pickle, but not one that torch.save wrote (its magic number is missing)"
            )
        version = unpickle(cursor, survey)
        if type(version) is not int or version != PROTOCOL:
            raise CheckpointError("this is a torch.save file of an unknown version")
        unpickle(cursor, survey)  # sys_info: the writer's word sizes, which no longer matter
        start = cursor.position
        result = unpickle(cursor, survey)
        keys = unpickle(cursor, survey)
        end = storages.locate_bytes(keys, cursor.position)
    storages.place(locate)
    if survey.made:
        result = unpickle(Cursor(source, start), factory)
    return result, end


def _counts(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)
