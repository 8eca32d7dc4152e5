"""Nothing is lost, whenever the process dies and whoever else is at work."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from cupola_transpiler import journal
from cupola_transpiler.cli import main
from cupola_transpiler.journal import Journal, digest
from cupola_transpiler.lock import LockedError, locked
from transpiler.trees import cupola, environment, read_tree, sources, write_tree

FILES = {f"p{i % 5}/m{i}.py": f"import torch\nx = torch.ones({i})\n" * 3 for i in range(8)}
NEW = {name: text.replace("torch", "cupola") for name, text in FILES.items()}


def run_dying(after, *arguments):
    """Runs the command in a child that is killed at its n-th call that touches the disk."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    left = after

    def dying(function):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in ("replace", "rename", "fsync", "chmod", "unlink", "rmdir", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))
    try:
        os._exit(main([str(a) for a in arguments]))
    finally:
        os._exit(70)


def test_convert_and_revert_restore_every_byte(tmp_path):
    tree = write_tree(
        tmp_path / "t", {**FILES, "data.bin": b"\0torch", "s": "#!/usr/bin/python\nimport torch\n"}
    )
    (tree / "s").chmod(0o755)
    before = read_tree(tree)
    cupola("convert", tree, check=0)
    after = read_tree(tree)
    assert after["s"] == (b"#!/usr/bin/python\nimport cupola\n", 0o755)
    assert b"torch" not in after["p0/m0.py"][0]
    again = cupola("convert", tree, check=0)
    assert "Nothing to convert" in again.stderr
    assert read_tree(tree) == after
    cupola("revert", tree, check=0)
    assert read_tree(tree) == before
    assert not (tree / ".cupola").exists()


def changed_files(tree):
    """How many files are new; every other one must be as it was."""
    now = sources(tree)
    assert set(now) == set(FILES)
    assert all(now[n] in (FILES[n], NEW[n]) for n in now)
    return sum(now[n] != FILES[n] for n in now)


def test_killed_at_every_step(tmp_path, capsys):
    """Dies before each call that touches the disk, and the revert that follows dies as well."""
    tree, seen, code, step = tmp_path / "t", set(), -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        step += 1
        shutil.rmtree(tree, ignore_errors=True)
        write_tree(tree, FILES)
        code = run_dying(step, "convert", tree, "-j", "1")
        seen.add(changed_files(tree))
        if (tree / ".cupola" / "journal").is_dir():
            run_dying(random.randrange(1, 30), "revert", tree)
            changed_files(tree)
        if (tree / ".cupola" / "journal").is_dir():
            assert main(["revert", str(tree)]) == 0
        assert sources(tree) == FILES
        assert not (tree / ".cupola" / "journal").exists()
    assert code == 0
    assert seen == set(range(len(FILES) + 1)), "each number of new files was seen"


def test_killed_at_random_moments(tmp_path):
    tree = write_tree(tmp_path / "t", FILES)
    command = [sys.executable, "-m", "cupola_transpiler", "convert", str(tree), "-j", "2"]
    started = time.monotonic()
    subprocess.run(command, env=environment(), capture_output=True, check=True)
    whole = time.monotonic() - started
    assert main(["revert", str(tree)]) == 0
    for _ in range(5):
        process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.4, 1.0) * whole)
        process.kill()
        process.wait()
        changed_files(tree)
        assert main(["revert", str(tree)]) in (0, 2)
        assert sources(tree) == FILES


def test_convert_after_a_crash_starts_from_the_originals(tmp_path):
    tree = write_tree(tmp_path / "t", FILES)
    assert run_dying(22, "convert", tree) == -signal.SIGKILL
    assert changed_files(tree)
    done = cupola("convert", tree, check=0)
    assert "cut short" in done.stderr
    assert all("torch" not in text for text in sources(tree).values())
    cupola("revert", tree, check=0)
    assert sources(tree) == FILES


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_an_interrupt_takes_everything_back(tmp_path, monkeypatch, error):
    tree = write_tree(tmp_path / "t", FILES)
    left, real = 3, journal.replace

    def failing(*arguments):
        nonlocal left
        left -= 1
        if left == 0:
            raise error
        real(*arguments)

    monkeypatch.setattr(journal, "replace", failing)
    done = cupola("convert", tree, check=2)
    assert "every file is as it was" in done.stderr
    assert sources(tree) == FILES


def test_second_conversion_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path):
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n"})
    hold = (
        "import sys, time; from pathlib import Path; from cupola_transpiler.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tree)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        refused = cupola("convert", tree, check=2)
        assert f"process {holder.pid}" in refused.stderr
        assert sources(tree) == {"a.py": "import torch\n"}
    finally:
        holder.kill()
        holder.wait()
    cupola("convert", tree, check=0)
    assert sources(tree) == {"a.py": "import cupola\n"}


def test_lock_is_for_other_processes(tmp_path):
    with locked(tmp_path):
        pid = os.fork()
        if pid == 0:
            try:
                with locked(tmp_path):
                    os._exit(1)
            except LockedError:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


def test_edits_after_the_conversion_are_not_overwritten(tmp_path):
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n", "b.py": "import torch\n"})
    cupola("convert", tree, check=0)
    (tree / "a.py").write_text("import cupola\nmine = 1\n")
    done = cupola("revert", tree, check=1)
    assert "a.py" in done.stderr
    assert sources(tree) == {"a.py": "import cupola\nmine = 1\n", "b.py": "import torch\n"}
    cupola("revert", tree, "--force", check=0)
    assert sources(tree) == {"a.py": "import torch\n", "b.py": "import torch\n"}


def test_two_conversions_are_taken_back_together(tmp_path):
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n"})
    cupola("convert", tree, check=0)
    write_tree(tree, {"b.py": "import torch.nn\n"})
    cupola("convert", tree, check=0)
    assert sources(tree) == {"a.py": "import cupola\n", "b.py": "import cupola.nn\n"}
    cupola("revert", tree, check=0)
    assert sources(tree) == {"a.py": "import torch\n", "b.py": "import torch.nn\n"}


def test_a_file_saved_meanwhile_is_left(tmp_path):
    write_tree(tmp_path, {"a.py": "new", "b.py": "old"})
    outcome = Journal(tmp_path).apply(
        {n: (digest(b"old"), b"converted") for n in ("a.py", "b.py")}
    )  # fmt: skip
    assert (outcome.written, outcome.conflicts) == (["b.py"], ["a.py"])
    assert sources(tmp_path) == {"a.py": "new", "b.py": "converted"}


def test_damaged_journal_is_an_error_not_a_wrong_file(tmp_path):
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n"})
    cupola("convert", tree, check=0)
    pack = tree / ".cupola" / "journal" / "0001" / "before.pack"
    pack.write_bytes(b"x" * pack.stat().st_size)
    done = cupola("revert", tree, check=2)
    assert "damaged" in done.stderr
    assert sources(tree) == {"a.py": "import cupola\n"}


def test_bad_files_are_left_and_named(tmp_path):
    outside = write_tree(tmp_path / "outside", {"far.py": "import torch\n"})
    tree = write_tree(tmp_path / "t", {
        "good.py": "import torch\n", "broken.py": "import torch\ndef f(:\n",
        "latin.py": b"import torch  # \xe9\n", "ro.py": "import torch\n",
        "venv/pyvenv.cfg": "", "venv/lib/x.py": "import torch\n", ".git/hook.py": "import torch\n",
    })  # fmt: skip
    (tree / "ro.py").chmod(0o444)
    (tree / "link.py").symlink_to(outside / "far.py")
    (tree / "folder").symlink_to(outside)
    (tree / "inner.py").symlink_to("good.py")
    before = read_tree(tree)
    done = cupola("convert", tree, "--report", "json", "--force", check=1)
    done = cupola("revert", tree, check=0)
    assert read_tree(tree) == before
    done = cupola("convert", tree, "--report", "json", check=1)
    left = {f["path"]: f["reason"] for t in json.loads(done.stdout)["trees"]
            for f in t["files"] if f["status"] == "left"}  # fmt: skip
    assert set(left) == {"broken.py", "latin.py", "ro.py", "link.py", "folder"}
    assert "read-only" in left["ro.py"] and "symlink" in left["link.py"]
    after = read_tree(tree)
    assert after["good.py"][0] == b"import cupola\n"
    unchanged = set(before) - {"good.py"}
    assert {n: after[n] for n in unchanged} == {n: before[n] for n in unchanged}
    assert (outside / "far.py").read_text() == "import torch\n"
    assert (tree / "inner.py").is_symlink() and (tree / "link.py").is_symlink()
    assert not (outside / ".cupola").exists()


GIT = shutil.which("git")


@pytest.mark.skipif(GIT is None, reason="git is not installed")
@pytest.mark.parametrize("path", [None, ""], ids=["with git", "without git"])
def test_uncommitted_changes_are_refused(tmp_path, path):
    tree = write_tree(tmp_path / "t", {"sub/a.py": "import torch\n", "sub/b.py": "import torch\n"})

    def run(*arguments):
        subprocess.run([GIT, "-C", tree, *arguments], check=True, capture_output=True)

    run("init", "-q")
    run("add", ".")
    run("-c", "user.name=n", "-c", "user.email=e@x", "commit", "-qm", "first")
    more = {} if path is None else {"PATH": path}
    (tree / "sub/a.py").write_text("import torch\nmine = 1\n")
    done = cupola("convert", tree, check=2, **more)
    assert "uncommitted" in done.stderr and "sub/a.py" in done.stderr
    assert sources(tree)["sub/b.py"] == "import torch\n"
    cupola("convert", tree / "sub", check=2, **more)
    cupola("convert", tree, "--check", check=1, **more)
    cupola("convert", tree, "--force", check=0, **more)
    # What cupola itself changed is no reason to refuse.
    (tree / "sub/b.py").write_text("import cupola\n")
    cupola("convert", tree, check=0, **more)
    cupola("revert", tree, check=0, **more)
    assert sources(tree)["sub/a.py"] == "import torch\nmine = 1\n"
