"""One side of a training comparison: a process that runs the script and sends a record a step."""

from __future__ import annotations

import os
import pathlib
import pickle
import shlex
import subprocess
import sys
import tempfile
from typing import Any

import cupola
import cupola_compat

# Options of the interpreter without a value, which may stand before the script.
_FLAGS = {"-u", "-O", "-OO", "-B", "-E", "-s", "-S", "-I", "-b", "-q"}
_TAIL = 40


class TrainingError(Exception):
    """A side that cannot be compared; the message says which one, why, and what to do."""


def command(entry: str) -> list[str]:
    """The script with its arguments from a command line, the interpreter's name left out.

    >>> command("python -u train.py --epochs 1")
    ['train.py', '--epochs', '1']

    Raises:
        TrainingError: no script is named.
    """
    try:
        words = shlex.split(entry)
    except ValueError as error:
        raise TrainingError(f"--entry {entry!r}: {error}") from None
    if words and pathlib.PurePath(words[0]).name.startswith("python"):
        words = words[1:]
        while words and words[0] in _FLAGS:
            words = words[1:]
    if words[:1] == ["-m"] and len(words) > 1:
        return words
    if not words or not words[0].endswith(".py"):
        raise TrainingError(
            f"--entry {entry!r} names no script: write it as 'python train.py --epochs 1' or "
            "'python -m package.train'; launchers (torchrun, accelerate) are left out"
        )
    return words


class Process:
    """A script that runs under observation in a folder of its own.

    Args:
        side: `original` or `converted`, for messages.
        framework: `torch` or `cupola`.
        folder: the working directory of the script.
        shim: let cupola answer `import torch`.
        layers: the step of which the outputs of all layers are wanted, 0 for none.
    """

    def __init__(
        self,
        side: str,
        framework: str,
        folder: pathlib.Path,
        script: list[str],
        steps: int,
        seed: int,
        shim: bool = False,
        layers: int = 0,
    ):
        self.side, self.framework, self.folder, self.steps = side, framework, folder, 0
        if not folder.is_dir():
            raise TrainingError(f"{folder}: no such folder")
        if script[0] != "-m" and not (folder / script[0]).is_file():
            raise TrainingError(f"{folder / script[0]}: no such file (the {side} side's --entry)")
        self.printed = tempfile.TemporaryFile()
        receive, send = os.pipe()
        homes = [
            str(pathlib.Path(p.__file__).resolve().parents[1]) for p in (cupola_compat, cupola)
        ]
        path = os.pathsep.join([*homes, *filter(None, [os.environ.get("PYTHONPATH")])])
        call = [sys.executable, "-m", "cupola_compat.parity.training.observe", framework, str(send)]
        call += [str(steps), str(seed), "shim" if shim else "-", str(layers), "--", *script]
        self.process = subprocess.Popen(
            call, cwd=folder, pass_fds=[send], stdin=subprocess.DEVNULL, stdout=self.printed,
            stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        os.close(send)
        self.records = os.fdopen(receive, "rb")

    def next(self) -> dict[str, Any] | None:
        """The next step's record, or None once the script has ended as it should.

        Raises:
            TrainingError: the script failed, never called `backward()` or never stepped.
        """
        try:
            record = pickle.load(self.records)
        except (EOFError, pickle.UnpicklingError):
            code = self.process.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise TrainingError(f"{self._who()} {how}{self._where()}:\n{self.tail()}") from None
        if record["kind"] == "step":
            self.steps += 1
            return record
        if record["end"] == "failed":
            text = f"{self._who()} failed{self._where()}:\n\n{record['failure'].rstrip()}"
            printed = self.tail()
            raise TrainingError(text + (f"\n\nIt had printed:\n{printed}" if printed else ""))
        if not record["steps"]:
            raise TrainingError(self._nothing(record))
        return None

    def _who(self) -> str:
        return f"the {self.side} side ({self.framework}, in {self.folder})"

    def _where(self) -> str:
        return f" after {self.steps} steps" if self.steps else " before its first step"

    def _nothing(self, record: dict[str, Any]) -> str:
        """Why a script that ended well has shown no step."""
        if record["torch"]:
            return (
                f"{self._who()} imports torch: it has not been converted. Run `cupola convert "
                f"{self.folder}` first, or leave CONVERTED out to let cupola answer `import torch`."
            )
        if not record["backwards"]:
            return (
                f"{self._who()} ended without calling backward(): --entry must name a script "
                "that trains, in the process that it starts, and far enough to reach a step."
            )
        return (
            f"{self._who()} called backward() {record['backwards']} times and no optimizer's "
            "step(): steps are seen by the optimizer's hooks, so weights moved by hand are not."
        )

    def tail(self) -> str:
        """The last lines that the script printed."""
        self.printed.seek(0)
        lines = self.printed.read().decode(errors="replace").rstrip().splitlines()
        return "\n".join(lines[-_TAIL:])

    def close(self) -> None:
        """Ends the process if it still runs."""
        self.records.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.printed.close()
