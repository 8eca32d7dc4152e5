"""Small repositories in temporary folders."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

from cupola_transpiler.cli import main

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
    """Runs the command, in a process of its own if it needs another environment.

    Returns an object with returncode, stdout and stderr; check is the code that it must end with.
    """
    given = [str(a) for a in arguments]
    if more:
        command = [sys.executable, "-m", "cupola_transpiler", *given]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=environment(**more)
        )
    else:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(given)
        done = SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done
