"""Finds the files below a path that can be converted, and those that must stay, with the reason."""

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cupola_transpiler import formats

SUFFIXES = (".py", ".pyi")
SKIPPED_FOLDERS = frozenset(
    ".git .hg .svn .cupola __pycache__ node_modules .tox .nox .mypy_cache .ruff_cache .pytest_cache"
    " .ipynb_checkpoints .eggs".split()
)
OUTSIDE = "is a symlink out of the tree"
READ_ONLY = "is read-only"


@dataclass
class Tree:
    """The files of a tree: paths relative to its root, with `/`.

    files: its Python sources. chosen: what is to be converted, files of other formats (notebooks,
    requirements, ...) among it. refused: what must stay, with the reason.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def discover(
    path: Path,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    force: bool = False,
    docs: bool = False,
) -> Tree:
    """The tree at a folder, or the one file at `path` with its folder as the root.

    only, exclude: glob patterns on relative paths or on their last part.
    force: a file is read-only only if it cannot be written, whatever its mode says.
    docs: documentation is converted too.
    """
    path = Path(os.path.realpath(path))
    if path.is_file():
        names = [path.name]
        tree = Tree(path.parent, [n for n in names if formats.find(n) is None])
    else:
        tree = Tree(path)
        names = sorted(_names(tree, docs))
        tree.files = [n for n in names if n not in tree.refused and formats.find(n) is None]
    for name in names:
        if (only and not _matches(name, only)) or _matches(name, exclude):
            tree.refused.pop(name, None)
        elif name not in tree.refused:
            if _is_read_only(tree.root / name, force):
                tree.refused[name] = READ_ONLY
            else:
                tree.chosen.append(name)
    return tree


def _matches(name: str, patterns: Sequence[str]) -> bool:
    last = name.rpartition("/")[2]
    return any(
        fnmatch.fnmatch(name, p) or fnmatch.fnmatch(last, p) or name.startswith(p.rstrip("/") + "/")
        for p in patterns
    )


def _names(tree: Tree, docs: bool) -> Iterator[str]:
    for folder, folders, files in os.walk(tree.root):
        here = Path(folder)
        keep = []
        for name in folders:
            inside = here / name
            if name in SKIPPED_FOLDERS or (inside / "pyvenv.cfg").exists():
                continue
            if inside.is_symlink():
                if not _within(inside, tree.root):
                    relative = inside.relative_to(tree.root).as_posix()
                    tree.refused[relative] = OUTSIDE
                    yield relative
                continue
            keep.append(name)
        folders[:] = keep
        for name in files:
            file = here / name
            relative = file.relative_to(tree.root).as_posix()
            known = name.endswith(SUFFIXES) or formats.find(relative, docs) is not None
            if not known and not _is_script(file):
                continue
            if file.is_symlink():
                if not _within(file, tree.root):
                    tree.refused[relative] = OUTSIDE
                    yield relative
            elif file.is_file():
                yield relative


def _within(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)


def _is_script(path: Path) -> bool:
    """Whether a file without a suffix starts with a shebang that names Python."""
    if "." in path.name or path.is_symlink():
        return False
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            first = file.readline(128)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


def _is_read_only(path: Path, force: bool) -> bool:
    """By its mode, because root may write everything and still should not."""
    try:
        forbidden = not force and not path.stat().st_mode & 0o222
        return forbidden or not os.access(path, os.W_OK)
    except OSError:
        return True
