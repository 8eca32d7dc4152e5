"""PyTorch's zip format (torch.save since 1.6): `data.pkl` and one record for each storage."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.io.archive import Archive
from cupola.io.errors import CheckpointError, guarded
from cupola.io.locations import Locate
from cupola.io.rebuild import TorchRules, storage_pid
from cupola.io.script import ScriptRules, state_dict
from cupola.io.seam import Survey, TensorFactory
from cupola.io.source import Cursor, Source
from cupola.io.storage import NUMPY_DTYPES, Storage, swapped, window
from cupola.io.unpickler import Unpickler


class _Storages:
    """Finds, checks and remembers the storages of one archive."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive = archive
        self._root = root
        self._known: dict[str, Storage] = {}
        self._places: dict[str, str] = {}
        order = archive.read(root + "byteorder") if root + "byteorder" in archive else b"little"
        if order not in (b"little", b"big"):
            raise CheckpointError(f"the archive's byte order is {order[:20]!r}")
        self._byteorder = order.decode()

    def __call__(self, pid: Any) -> Storage:
        dtype, untyped, key, place, nbytes, _ = storage_pid(pid, 5)
        storage = self._known.get(key)
        if storage is None:
            name = f"{self._root}data/{key}"
            if self._archive.size(name) < nbytes:
                raise CheckpointError(
                    f"the storage {key} should have {nbytes} bytes, but its record has "
                    f"{self._archive.size(name)}"
                )
            storage = Storage(dtype, nbytes, lambda: self._fetch(name, storage), untyped=untyped)
            self._known[key], self._places[key] = storage, place
        if (storage.dtype, storage.nbytes()) == (dtype, nbytes):
            return storage
        return window(storage, dtype, 0, nbytes)

    def _fetch(self, name: str, storage: Storage | None) -> np.ndarray:
        assert storage is not None
        align = NUMPY_DTYPES[storage.content].itemsize
        with guarded(self._archive.source.name):
            return swapped(self._archive.array(name, align=align), storage.content, self._byteorder)

    def place(self, locate: Locate) -> None:
        for key, storage in self._known.items():
            storage.device = locate(storage, self._places[key])


def read(source: Source, factory: TensorFactory, locate: Locate, encoding: str, errors: str) -> Any:
    """The object in a zip archive that torch.save or torch.jit.save wrote.

    Of a TorchScript archive that is the state_dict of its module: its code is never run.
    """
    with guarded(source.name):
        archive = Archive(source)
        root = _root(archive)
        storages = _Storages(archive, root)
        script = root + "constants.pkl" in archive
        pickle = Source.of_bytes(archive.read(root + "data.pkl"), source.name)

        def unpickle(factory: TensorFactory) -> Any:
            rules = (ScriptRules if script else TorchRules)(factory, storages)
            return Unpickler(Cursor(pickle), rules, encoding, errors).load()

        survey = Survey(factory)
        result = unpickle(survey)
    storages.place(locate)
    if survey.made:
        result = unpickle(factory)
    if script:
        with guarded(source.name):
            return state_dict(result, archive, root, factory.is_tensor)
    return result


def _root(archive: Archive) -> str:
    """The folder inside the archive that holds everything, with its slash."""
    pickles = [name for name in archive.names if name.rpartition("/")[2] == "data.pkl"]
    if pickles:
        return min(pickles, key=len).removesuffix("data.pkl")
    names = archive.names
    if any(name.endswith(".npy") for name in names):
        raise CheckpointError("this is a NumPy .npz archive; read it with numpy.load")
    if any(name.endswith("model.json") for name in names):
        raise CheckpointError(
            "this is a TorchScript archive from before PyTorch 1.4; open it where torch is "
            "installed and save its state_dict() again"
        )
    inside = [name for name in names if name.endswith((".pt", ".pth", ".bin", ".safetensors"))]
    hint = f"; unpack it and load {inside[0]!r} from it" if inside else ""
    raise CheckpointError(f"this zip archive holds no PyTorch checkpoint (no data.pkl){hint}")
