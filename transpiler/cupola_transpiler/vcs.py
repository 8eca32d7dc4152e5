"""git: which changes are not committed (asked of git, or read from its index), and committing."""

import hashlib
import os
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cupola_transpiler.journal import digest


def uncommitted(root: Path, written: Mapping[str, str]) -> list[str]:
    """Paths below `root` with uncommitted changes; none if it is in no git working tree.

    written: path -> SHA-256 of files as a conversion left them: those are cupola's changes, not
    the user's.
    """
    top = next((p for p in (root, *root.parents) if (p / ".git").exists()), None)
    if top is None:
        return []
    names = _ask_git(root, top)
    if names is None:
        names = _read_index(root, top)
    return sorted(n for n in names if not _is_ours(root, n, written))


def _is_ours(root: Path, name: str, written: Mapping[str, str]) -> bool:
    if name.split("/")[0] == ".cupola" or "/.cupola/" in name:
        return True
    known = written.get(name)
    try:
        return known is not None and digest((root / name).read_bytes()) == known
    except OSError:
        return False


def _ask_git(root: Path, top: Path) -> list[str] | None:
    """Changed and untracked paths below root by `git status`; None if git cannot say."""
    command = [
        "git",
        "-C",
        str(root),
        "status",
        "--porcelain",
        "-z",
        "--untracked-files=all",
        "--",
        ".",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    prefix = os.path.relpath(root, top).replace(os.sep, "/")
    prefix = "" if prefix == "." else prefix + "/"
    found, items = [], iter(os.fsdecode(done.stdout).split("\0"))
    for item in items:
        if len(item) < 4:
            continue
        if item[0] in "RC":
            next(items, None)  # the name before a rename
        found.append(item[3:].removeprefix(prefix))
    return found


def _read_index(root: Path, top: Path) -> list[str]:
    """Tracked files below root that differ from the index; staged and untracked stay unseen."""
    folder = top / ".git"
    if folder.is_file():  # a worktree or submodule: "gitdir: elsewhere"
        folder = top / folder.read_text("utf-8").partition(":")[2].strip()
    try:
        entries = _index_entries((folder / "index").read_bytes())
    except FileNotFoundError:
        return []
    except (struct.error, ValueError, IndexError, OSError):
        return [f"{folder / 'index'} (cannot be read, and git is not installed)"]
    changed = []
    for name, (size, sha) in entries.items():
        path = top / name
        if not path.is_relative_to(root):
            continue
        try:
            data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        except OSError:
            data = None
        same = data is not None and len(data) & 0xFFFFFFFF == size and _blob(data) == sha
        if not same and data is not None and _blob(data.replace(b"\r\n", b"\n")) == sha:
            same = True  # core.autocrlf
        if not same:
            changed.append(path.relative_to(root).as_posix())
    return changed


def _blob(data: bytes) -> bytes:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()


def _index_entries(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Path -> (size, object name) from an index file, versions 2 to 4 (gitformat-index(5))."""
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("not an index this can read")
    found: dict[str, tuple[int, bytes]] = {}
    at, name = 12, b""
    for _ in range(count):
        (size,) = struct.unpack_from(">I", data, at + 36)
        sha = data[at + 40 : at + 60]
        (flags,) = struct.unpack_from(">H", data, at + 60)
        here = at + (64 if version >= 3 and flags & 0x4000 else 62)
        if version == 4:
            strip, here = _offset(data, here)
            end = data.index(b"\0", here)
            name = name[: len(name) - strip] + data[here:end]
            at = end + 1
        else:
            end = data.index(b"\0", here)
            name = data[here:end]
            at += (end - at + 8) // 8 * 8
        skipped = version >= 3 and flags & 0x4000 and data[here - 2] & 0x40  # sparse checkout
        if not skipped:
            found[os.fsdecode(name)] = (size, sha)
    return found


def _offset(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    value, at = byte & 0x7F, at + 1
    while byte & 0x80:
        byte = data[at]
        value, at = ((value + 1) << 7) | (byte & 0x7F), at + 1
    return value, at


def commit(root: Path, names: Sequence[str], message: str) -> None:
    """Commits these paths below root, and nothing else.

    Raises OSError if git cannot do it.
    """
    for command in (
        ["add", "--pathspec-from-file=-", "--pathspec-file-nul"],
        ["commit", "-q", "-m", message, "--pathspec-from-file=-", "--pathspec-file-nul"],
    ):
        paths = b"\0".join(os.fsencode(name) for name in names)
        literal = ["git", "--literal-pathspecs", "-C", str(root), *command]
        done = subprocess.run(literal, input=paths, capture_output=True, timeout=600)
        if done.returncode:
            why = os.fsdecode(done.stderr or done.stdout).strip()
            raise OSError(f"git {command[0]} failed: {why}")
