"""Compiled kernels on disk, shared by all processes of one user.

An entry is a file named by the SHA-256 of everything it was made from (source, target, compiler
version). It is written to a temporary file and renamed, so that no reader sees half of one, and
begins with a checksum, so that a damaged one is dropped and built again. Since entries are machine
code, the folder must belong to the user and be writable by nobody else; otherwise nothing is read
or written there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
import warnings
from pathlib import Path

_MAGIC = b"cupola-kernel-1\n"
_DIGEST = hashlib.sha256().digest_size
_STALE = 3600.0  # seconds after which a temporary file was left behind by a process that died
_REFRESH = 86400.0  # an entry's time of last use is kept to the day
LIMIT = 512 << 20


def cache_folder() -> Path:
    """``$CUPOLA_CACHE_DIR``, else ``$XDG_CACHE_HOME/cupola``, else ``~/.cache/cupola``."""
    given = os.environ.get("CUPOLA_CACHE_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cupola"


class DiskCache:
    """Bytes by key. Never raises for what the disk does: at worst it forgets.

    Args:
        kind: subfolder, such as ``cpu``.
        folder: instead of ``cache_folder()``.
        limit: most bytes kept; the entries used longest ago are removed first.

    Attributes:
        folder: where entries are kept, or None if they are kept in memory only.
        problem: why they are, in words.
    """

    _warned = False

    def __init__(self, kind: str, folder: Path | None = None, limit: int = LIMIT) -> None:
        self.limit = limit
        self.problem = ""
        self.folder: Path | None = None
        self._memory: dict[str, bytes] = {}
        self._written = 0
        self._next_prune = 0
        try:
            base = cache_folder() if folder is None else folder
            self.problem = _prepare(base) or _prepare(base / kind)
            if not self.problem:
                self.folder = base / kind
        except (OSError, RuntimeError) as error:
            self.problem = str(error)
        if self.folder is None and not DiskCache._warned:
            DiskCache._warned = True
            warnings.warn(
                f"compiled kernels are not kept on disk: {self.problem}. "
                "Set CUPOLA_CACHE_DIR to a folder that only you can write.",
                RuntimeWarning,
                stacklevel=3,
            )

    def get(self, key: str) -> bytes | None:
        """The bytes stored under a hexadecimal key, or None."""
        if self.folder is None:
            return self._memory.get(key)
        path = self.folder / key
        try:
            with open(path, "rb") as file:
                data = file.read()
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        head = len(_MAGIC) + _DIGEST
        payload = data[head:]
        if data[:head] != _MAGIC + hashlib.sha256(payload).digest():
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if time.time() - used > _REFRESH:
            with contextlib.suppress(OSError):
                os.utime(path)
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Stores bytes under a key; the last of several writers wins."""
        if self.folder is None:
            self._memory[key] = payload
            return
        data = _MAGIC + hashlib.sha256(payload).digest() + payload
        name = ""
        try:
            handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.folder)
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, self.folder / key)
        except OSError:
            if name:
                with contextlib.suppress(OSError):
                    os.unlink(name)
            return
        self._written += len(data)
        if self._written >= self._next_prune:
            self._next_prune = self._written + self.limit // 8
            self.prune()

    def prune(self) -> None:
        """Removes what was used longest ago until the rest fits in three quarters of the limit."""
        if self.folder is None:
            return
        now = time.time()
        entries: list[tuple[float, int, str]] = []
        try:
            with os.scandir(self.folder) as found:
                for entry in found:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if entry.name.endswith(".tmp"):
                            if now - status.st_mtime > _STALE:
                                os.unlink(entry.path)
                            continue
                        entries.append((status.st_mtime, status.st_size, entry.path))
        except OSError:
            return
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in sorted(entries):
            if total <= self.limit * 3 // 4:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size


def _prepare(folder: Path) -> str:
    """Creates a folder for the user alone; says what is wrong if it exists and others may write
    it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "getuid"):
        return ""
    status = folder.stat()
    if status.st_uid != os.getuid():
        return f"{folder} belongs to another user"
    if status.st_mode & 0o022:
        return f"{folder} can be written by other users"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written"
    return ""
