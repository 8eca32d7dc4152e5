"""The disk cache under everything that happens to files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from codegen.oracle import Maker
from cupola import dtypes as D
from cupola.backends.cache import DiskCache, cache_folder
from cupola.backends.cpu.jit import Jit
from cupola.backends.cpu.launch import Launcher
from cupola.codegen.form import Inst, Kernel


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_round_trip_and_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    cache = DiskCache("cpu", folder)
    assert cache.get(key("a")) is None
    cache.put(key("a"), b"code")
    assert DiskCache("cpu", folder).get(key("a")) == b"code"
    assert DiskCache("cuda", folder).get(key("a")) is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list((folder / "cpu").glob("*.tmp"))


def test_folder_is_chosen_by_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUPOLA_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("CUPOLA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "cupola"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cupola"


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "foreign"])
def test_damaged_entries_are_dropped(tmp_path: Path, damage: str) -> None:
    cache = DiskCache("cpu", tmp_path / "c")
    cache.put(key("a"), b"machine code" * 100)
    path = tmp_path / "c" / "cpu" / key("a")
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "truncate": data[:middle],
            "empty": b"",
            "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "foreign": b"something else entirely",
        }[damage]
    )
    assert cache.get(key("a")) is None
    assert not path.exists()
    cache.put(key("a"), b"again")
    assert cache.get(key("a")) == b"again"


def test_folder_that_others_can_write_is_refused_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskCache, "_warned", False)
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="CUPOLA_CACHE_DIR"):
        cache = DiskCache("cpu", folder)
    cache.put(key("a"), b"code")
    assert cache.get(key("a")) == b"code"
    assert not list(folder.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DiskCache("cpu", folder)


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskCache, "_warned", True)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    cache = DiskCache("cpu", tmp_path / "c")
    assert cache.folder is None
    assert "another user" in cache.problem


def test_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskCache, "_warned", True)
    (tmp_path / "file").write_text("")
    cache = DiskCache("cpu", tmp_path / "file" / "cache")
    assert cache.folder is None
    cache.put(key("a"), b"code")
    assert cache.get(key("a")) == b"code"


def test_folder_that_vanishes(tmp_path: Path) -> None:
    cache = DiskCache("cpu", tmp_path / "c")
    (tmp_path / "c" / "cpu").rmdir()
    cache.put(key("a"), b"code")
    assert cache.get(key("a")) is None


def test_size_is_bounded_and_old_entries_go_first(tmp_path: Path) -> None:
    cache = DiskCache("cpu", tmp_path / "c", limit=100_000)
    for i in range(40):
        cache.put(key(str(i)), bytes(5000))
        os.utime(tmp_path / "c" / "cpu" / key(str(i)), (1_000_000 + i, 1_000_000 + i))
        if i % 4 == 0:
            assert cache.get(key("0")) is not None  # being read keeps an entry
    files = list((tmp_path / "c" / "cpu").iterdir())
    assert sum(f.stat().st_size for f in files) <= 112_500
    assert cache.get(key("0")) is not None
    assert cache.get(key("1")) is None
    assert cache.get(key("39")) is not None


def test_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    cache = DiskCache("cpu", tmp_path / "c")
    old, new = tmp_path / "c" / "cpu" / ".old.tmp", tmp_path / "c" / "cpu" / ".new.tmp"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (1, 1))
    cache.prune()
    assert not old.exists() and new.exists()


HAMMER = """
import hashlib, os, random, sys
from pathlib import Path
from cupola.backends.cache import DiskCache

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
cache = DiskCache("cpu", folder, limit=60_000)
rng = random.Random(seed)
hits = 0
for step in range(400):
    name = str(rng.randrange(30))
    k = hashlib.sha256(name.encode()).hexdigest()
    want = (name.encode() * 2000)[:2500]
    got = cache.get(k)
    if got is not None:
        assert got == want, "a reader saw another entry's bytes, or half of one"
        hits += 1
    else:
        cache.put(k, want)
    if step % 50 == seed:
        try:
            with open(folder / "cpu" / k, "r+b") as f:
                f.truncate(rng.randrange(2000))
        except OSError:
            pass
print(hits)
"""


def test_eight_processes_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(tmp_path / "c"), str(seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for seed in range(8)
    ]
    hits = 0
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        hits += int(out)
    assert hits > 400


def double(d: D.dtype) -> tuple[Kernel, tuple[int, ...]]:
    m = Maker((10,))
    x, y = m.buffer(d), m.buffer(d)
    code = [Inst("load", d, (), m.access(x, (1,))), Inst("add", d, (0, 0))]
    m.stage("point", code, stores=[(m.access(y, (1,)), 1)])
    return m.kernel, m.meta


def test_kernels_come_from_disk_and_are_rebuilt_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "c"

    def run() -> int:
        """Builds that a fresh compiler needs for one kernel."""
        jit = Jit(DiskCache("cpu", folder))
        built = []
        build = jit._build
        monkeypatch.setattr(jit, "_build", lambda text: built.append(text) or build(text))
        kernel, meta = double(D.float32)
        x, y = np.arange(10, dtype=np.float32), np.zeros(10, np.float32)
        Launcher(jit).launch(kernel)([x, y], meta, ())
        np.testing.assert_array_equal(y, 2 * x)
        return len(built)

    assert run() == 2  # the kernel and the driver
    assert run() == 0
    for path in (folder / "cpu").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    assert run() == 2
    assert run() == 0
