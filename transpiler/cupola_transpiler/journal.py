"""Writes a conversion to disk so that nothing can be lost, and takes it back.

`.cupola/journal/0001/` holds one conversion: `before.pack`, the original bytes of every file that
it replaces, and `manifest.json`, which says whose they are. Both are on disk before the first file
is replaced, each file is replaced in one step (a file is old or new, never half), and only then is
the journal marked as done. Whatever moment a process dies at, the journal knows the original of
every file that is new.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cupola_transpiler.lock import FOLDER

VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One replaced file. before, after: SHA-256; offset, size: its original in the pack.

    A file that the conversion made has no `before` (an empty string).
    """

    path: str
    mode: int
    before: str
    after: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One conversion on record."""

    folder: Path
    done: bool
    entries: tuple[Entry, ...]

    def original(self, entry: Entry) -> bytes:
        """The original bytes of a file; raises OSError if the pack is damaged."""
        with (self.folder / "before.pack").open("rb") as pack:
            pack.seek(entry.offset)
            data = pack.read(entry.size)
        if digest(data) != entry.before:
            raise OSError(f"{self.folder}: the saved original of {entry.path} is damaged")
        return data


@dataclass
class Outcome:
    """What was done to disk: paths written, and paths left because they had changed meanwhile."""

    written: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def digest(data: bytes) -> str:
    """SHA-256 as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(root: Path, name: str, data: bytes, mode: int) -> None:
    """Replaces one file in one step, keeping its permissions and owner.

    The new bytes are written beside the journal, so that a crash leaves nothing among the user's
    files; only where that is another file system are they written beside the file itself.
    """
    path = root / name
    scratch = root / FOLDER / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f"{digest(os.fsencode(name))[:16]}.{os.getpid()}"
    try:
        _finish(path, temporary, data, mode)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno != 18:  # EXDEV
            raise
        temporary = path.with_name(f".{path.name}.cupola-tmp")
        _finish(path, temporary, data, mode)


def _finish(path: Path, temporary: Path, data: bytes, mode: int) -> None:
    _write(temporary, data)
    os.chmod(temporary, mode)
    try:
        before = path.stat()
        if os.name == "posix" and (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
            os.chown(temporary, before.st_uid, before.st_gid)
    except (FileNotFoundError, PermissionError):
        pass
    os.replace(temporary, path)


class Journal:
    """The record of all conversions of one tree."""

    def __init__(self, root: Path):
        self.root = root
        self.home = root / FOLDER
        self.folder = self.home / "journal"

    def generations(self) -> list[Generation]:
        """All conversions on record, oldest first. One without a manifest never touched a file."""
        found = []
        if self.folder.is_dir():
            for folder in sorted(self.folder.iterdir()):
                if not folder.name.isdigit() or not (folder / "manifest.json").is_file():
                    continue
                data = json.loads((folder / "manifest.json").read_text("utf-8"))
                if data["version"] != VERSION:
                    raise OSError(f"{folder} was written by another version of cupola")
                entries = tuple(Entry(**entry) for entry in data["entries"])
                found.append(Generation(folder, (folder / "done").exists(), entries))
        return found

    def written(self) -> dict[str, str]:
        """Path and SHA-256 of the files as the latest conversions left them."""
        return {e.path: e.after for g in self.generations() for e in g.entries}

    def clean(self) -> None:
        """Removes what interrupted runs left behind and no file depends on."""
        shutil.rmtree(self.home / "tmp", ignore_errors=True)
        if self.folder.is_dir():
            for folder in self.folder.iterdir():
                if not (folder.name.isdigit() and (folder / "manifest.json").is_file()):
                    shutil.rmtree(folder, ignore_errors=True)

    def recover(self) -> Outcome | None:
        """Takes back a conversion that did not reach its end; None if there is none."""
        self.clean()
        open_ones = [g for g in self.generations() if not g.done]
        if not open_ones:
            return None
        outcome = Outcome()
        for generation in reversed(open_ones):
            self._undo(generation, outcome, force=False)
        return outcome

    def apply(
        self,
        files: Mapping[str, tuple[str, bytes]],
        step: Callable[[str], None] = lambda name: None,
    ) -> Outcome:
        """Replaces files: path -> (SHA-256 of the bytes that were planned for, new bytes).

        A file that is no longer what was planned for is left and returned as a conflict.
        """
        outcome = Outcome()
        if not files:
            return outcome
        folder = self._new_folder()
        entries, offset = [], 0
        with (folder / "before.pack").open("wb") as pack:
            for name in sorted(files):
                planned, new = files[name]
                path = self.root / name
                data = path.read_bytes() if planned or path.exists() else b""
                if (digest(data) if path.exists() else "") != planned:
                    outcome.conflicts.append(name)
                    continue
                mode = path.stat().st_mode & 0o7777 if planned else 0o644
                entries.append(Entry(name, mode, planned, digest(new), offset, len(data)))
                offset += pack.write(data)
            pack.flush()
            os.fsync(pack.fileno())
        manifest = {"version": VERSION, "entries": [asdict(e) for e in entries]}
        _write(folder / "manifest.tmp", json.dumps(manifest, indent=1).encode())
        os.replace(folder / "manifest.tmp", folder / "manifest.json")
        _sync_folder(folder)
        _sync_folder(folder.parent)
        for entry in entries:
            # Someone may have saved the file since it was packed: that would be the one thing to
            # get lost.
            path = self.root / entry.path
            if (digest(path.read_bytes()) if path.exists() else "") != entry.before:
                outcome.conflicts.append(entry.path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(self.root, entry.path, files[entry.path][1], entry.mode)
            outcome.written.append(entry.path)
            step(entry.path)
        for parent in {(self.root / e.path).parent for e in entries}:
            _sync_folder(parent)
        _write(folder / "done", b"")
        _sync_folder(folder)
        shutil.rmtree(self.home / "tmp", ignore_errors=True)
        return outcome

    def _new_folder(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.home / ".gitignore").write_text("*\n")
        numbers = [int(f.name) for f in self.folder.iterdir() if f.name.isdigit()]
        folder = self.folder / f"{max(numbers, default=0) + 1:04d}"
        folder.mkdir()
        return folder

    def revert(
        self, force: bool = False, step: Callable[[str], None] = lambda name: None
    ) -> Outcome:
        """Restores every file that conversions replaced, newest conversion first, and forgets them.

        A file that was edited since is left and returned as a conflict, unless `force`.
        """
        self.clean()
        outcome = Outcome()
        for generation in reversed(self.generations()):
            self._undo(generation, outcome, force, step)
            if outcome.conflicts:
                break
        return outcome

    def _undo(
        self,
        generation: Generation,
        outcome: Outcome,
        force: bool,
        step: Callable[[str], None] = lambda name: None,
    ) -> None:
        conflicts = []
        for entry in generation.entries:
            path = self.root / entry.path
            path.with_name(f".{path.name}.cupola-tmp").unlink(missing_ok=True)
            now = digest(path.read_bytes()) if path.is_file() else None
            if now == (entry.before or None):
                continue
            if now not in (entry.after, None) and not force:
                conflicts.append(entry.path)
                continue
            if not entry.before:
                path.unlink()
                self._remove_empty(path.parent)
                outcome.written.append(entry.path)
                step(entry.path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(self.root, entry.path, generation.original(entry), entry.mode)
            outcome.written.append(entry.path)
            step(entry.path)
        outcome.conflicts += conflicts
        if not conflicts:
            gone = generation.folder.with_name(generation.folder.name + ".reverted")
            os.replace(generation.folder, gone)
            shutil.rmtree(gone, ignore_errors=True)
            shutil.rmtree(self.home / "tmp", ignore_errors=True)

    def _remove_empty(self, folder: Path) -> None:
        """Removes folders that a conversion made and that hold nothing any more."""
        while folder != self.root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def original(self, name: str) -> bytes | None:
        """The bytes of a file before the first conversion on record; None if none replaced it."""
        for generation in self.generations():
            for entry in generation.entries:
                if entry.path == name and entry.before:
                    return generation.original(entry)
        return None

    def forget(self) -> None:
        """Removes the folder `.cupola` if no conversion is on record any more."""
        if not self.generations():
            shutil.rmtree(self.home, ignore_errors=True)

    def names(self) -> Iterator[str]:
        """Every path on record."""
        for generation in self.generations():
            for entry in generation.entries:
                yield entry.path
