"""Small repositories in temporary folders."""

import os
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parents[2]


def write_tree(root, files):
    """Writes files (path -> text or bytes) below root."""
    for name, content in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(root)


def read_tree(root):
    """Every file below root but git's and the lock, as path -> (bytes, permissions)."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith(".git/") or name == ".cupola/lock":
            continue
        if path.is_file() and not path.is_symlink():
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def sources(root):
    """The texts of a tree outside .cupola, by path."""
    return {n: b.decode() for n, (b, _) in read_tree(root).items() if not n.startswith(".cupola")}


def environment(**more):
    """An environment in which the converter can be run from the tree."""
    path = os.pathsep.join([str(HOME / "transpiler"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **more}


def cupola(*arguments, check=None, **more):
    """Runs the command in a process of its own; returns it with its output as text."""
    command = [sys.executable, "-m", "cupola_transpiler", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment(**more)
    )
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done
