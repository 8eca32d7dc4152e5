"""One conversion of a tree at a time. The kernel frees the lock however its process dies."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

FOLDER = ".cupola"


class LockedError(RuntimeError):
    """Another conversion or revert of this tree is running."""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Holds the lock of a tree; raises LockedError if another process has it.

    Records locks belong to the process: children that are forked meanwhile do not keep them.
    """
    folder = root / FOLDER
    while True:
        folder.mkdir(exist_ok=True)
        try:
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # a revert that has just ended took the folder away
            time.sleep(0.01)
            continue
        try:
            _acquire(handle)
        except OSError as error:
            owner = os.read(handle, 64).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise LockedError(
                f"another cupola (process {owner}) is working on {root}; wait for it to end"
            ) from error
        if _is_current(handle, folder / "lock"):
            break
        os.close(handle)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int) -> None:
    if fcntl is not None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)


def _is_current(handle: int, path: Path) -> bool:
    """Whether the locked file is still the one at `path` (a revert may have removed it)."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
