"""`load`: which format a checkpoint has, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.io import legacy, sharded, torch_zip
from cupola.io.archive import MAGIC as ZIP_MAGIC
from cupola.io.errors import CheckpointError, guarded
from cupola.io.locations import Locate, locator
from cupola.io.safetensors import read_safetensors
from cupola.io.seam import NumPyFactory, TensorFactory
from cupola.io.source import Source, opened
from cupola.io.tensors import CupolaFactory

_PICKLE_ARGUMENTS = {"encoding", "errors", "fix_imports"}
_MISTAKEN = (
    (b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull` to fetch the file itself"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first (gunzip)"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first (unxz)"),
    (b"BZh", "compressed with bzip2: unpack it first (bunzip2)"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes: read it with h5py"),
    (b"\x93NUMPY", "a NumPy .npy file: read it with numpy.load"),
    (b"GGUF", "a GGUF file, which cupola does not read"),
)


# Called with what is about to be read: another process may still be writing it.
ready: Callable[[Any], None] = lambda f: None


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Read a checkpoint: what torch.save or torch.jit.save wrote, safetensors, or a sharded index.

    `f` is a path or a seekable binary file object. `map_location` is None, a device, its name, a
    mapping of names or a function of (storage, name). `mmap=True` maps the file instead of reading
    it: tensors are windows on a private copy-on-write map, so that a file may be larger than
    memory. `encoding` and `errors` decode strings that Python 2 wrote.

    Code in a checkpoint is never executed. `weights_only=False` is accepted, because files written
    for it mostly hold plain data, but it allows nothing more: a file that needs code is refused.
    Of a TorchScript archive the state_dict is returned.

    Raises `CheckpointError` (a RuntimeError and a pickle.UnpicklingError) for a file that is
    damaged, hostile, or holds more than data; OSError where the file cannot be read.

    Source: torch.load.
    """
    # Programs pass Python's own pickle on, which is torch's default and means no other unpickler.
    if getattr(pickle_module, "__name__", "pickle") not in ("pickle", "_pickle"):
        raise CheckpointError(
            "load takes no pickle_module: another unpickler would execute code from the file. "
            "Leave the argument out."
        )
    if unknown := set(pickle_load_args) - _PICKLE_ARGUMENTS:
        raise TypeError(f"load got an unexpected keyword argument {min(unknown)!r}")
    ready(f)
    return read(
        f,
        CupolaFactory(),
        locator(map_location),
        bool(mmap),
        pickle_load_args.get("encoding", "utf-8"),
        pickle_load_args.get("errors", "strict"),
    )


def load_numpy(f: Any, *, mmap: bool = False, encoding: str = "utf-8") -> Any:
    """As `load`, but every tensor becomes a NumPy array; needs neither devices nor the runtime."""
    return read(f, NumPyFactory(), locator("cpu"), mmap, encoding, "strict")


def read(
    f: Any,
    factory: TensorFactory,
    locate: Locate,
    mmap: bool,
    encoding: str,
    errors: str,
    shard: bool = False,
) -> Any:
    """The object in `f`, made by `factory`; a shard may not be an index of shards again."""
    begin = f.tell() if hasattr(f, "tell") else 0
    with opened(f, mmap) as source:
        head = source.read(begin, max(0, min(512, source.size - begin)))
        if head.startswith(ZIP_MAGIC):
            return torch_zip.read(source, factory, locate, encoding, errors)
        if _is_safetensors(head, source.size - begin):
            return read_safetensors(source, factory, locate, begin)
        if head.lstrip()[:1] == b"{" and (table := sharded.weight_map(source)) is not None:
            if shard:
                raise CheckpointError(f"{source.name}: a shard is an index of shards itself")
            return sharded.read(
                f, table, lambda path: read(path, factory, locate, mmap, encoding, errors, True)
            )
        _refuse(source, head)
        result, end = legacy.read(source, begin, factory, locate, encoding, errors)
        if hasattr(f, "seek"):
            f.seek(end)  # several objects may follow one another in one legacy file
        return result


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _refuse(source: Source, head: bytes) -> None:
    """Say what a file is that people often mistake for a checkpoint."""
    with guarded(source.name):
        if not head:
            raise CheckpointError("the file is empty. Fetch it again.")
        for magic, what in _MISTAKEN:
            if head.startswith(magic):
                raise CheckpointError(f"this is not a checkpoint but {what}")
        if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
            raise CheckpointError(
                "this is a web page, not a checkpoint: the download was answered with a page. "
                "Fetch the file itself."
            )
        if head[257:262] == b"ustar":
            raise CheckpointError(
                "this is a tar file, PyTorch's format before 0.2, or checkpoints packed into one. "
                "Unpack it, or open it where torch is installed and save it again."
            )
        if head[0] != 0x80:
            raise CheckpointError(
                "this is neither a file that torch.save wrote nor safetensors; it is damaged or "
                "something else"
            )
