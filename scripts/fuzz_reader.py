#!/usr/bin/env python3
"""Feeds damaged checkpoints to cupola.load and watches what it does.

usage: fuzz_reader.py [--minutes M] [--seed S] [--out FOLDER] [--memory MB] [--jobs N]

Inputs are mutations of small checkpoints of every format, and of the pickles and tables inside
them; some are read through a memory map. Each must load or raise CheckpointError. It is a finding
when anything else is raised, when a program, a module or code is run, when one input takes longer
than ten seconds, when the process grows beyond the limit, dies or does not come back. Inputs that
lead to a new message are kept and mutated further; with Python 3.12 so are those that reach a new
line of `cupola.io` or of the standard library's readers. Findings are written to FOLDER; the exit
code is 1 if there are any. An input can be tried again with `fuzz_reader.py FILE`.

With `--jobs N` there are N processes with seeds S to S + N - 1, and a summary in JSON at the end.
Needs NumPy and cupola.
"""

from __future__ import annotations

import argparse
import codecs
import collections
import concurrent.futures
import io
import itertools
import json
import mmap
import os
import pathlib
import pickle
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = 10.0
EVERY = 10.0
LARGEST = 1 << 20
# A process that has not ended so many seconds after its time is held by one input.
GRACE = 60.0
# Events of Python's audit system that no reading of data causes.
FORBIDDEN = re.compile(
    r"os\.(system|exec|posix_spawn|spawn|fork|remove|rename|rmdir|mkdir|chmod|kill|putenv)|"
    r"subprocess|exec$|compile$|import$|ctypes|socket|urllib|marshal|shutil|code\.__new__|pty"
)
watching: list[str] | None = None


def hook(event: str, arguments: tuple) -> None:
    """Notes forbidden events while an input is read."""
    if watching is not None and FORBIDDEN.match(event):
        watching.append(f"{event} {arguments!r:.200}")


def seeds() -> list[bytes]:
    """Small checkpoints of every format, written without torch."""
    import cupola
    from cupola.io import safetensors

    base = cupola.arange(12).float().reshape(3, 4)
    state = {
        "w": base,
        "t": base.t(),
        "half": cupola.ones(3, dtype=cupola.bfloat16),
        "flags": cupola.tensor([True, False]),
        "p": cupola.nn.Parameter(cupola.ones(2)),
        "n": {"list": [1, 2.5, None, "text", (3, b"bytes")], "set": {1, 2}, "big": 1 << 70},
        "array": np.arange(5),
    }
    found = []
    for zipped in (True, False):
        file = io.BytesIO()
        cupola.save(state, file, _use_new_zipfile_serialization=zipped)
        found.append(file.getvalue())
    found.append(safetensors.save({"a": base, "b": cupola.ones(2, dtype=cupola.int64)}))
    found.append(b'{"metadata": {"total_size": 8}, "weight_map": {"a": "x.safetensors"}}')
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(found[0])) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    found.append(packed.getvalue())
    found.append(script(found[0]))
    return found


def script(archive: bytes) -> bytes:
    """A TorchScript archive whose one module has the attributes that another archive holds."""
    out = io.BytesIO()
    head, tail = b"c__torch__\nNet\n)\x81", b"b."
    declared = 'class Net(Module):\n  __parameters__ = ["w", "p", ]\n  __buffers__ = ["half", ]\n'
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/data.pkl"):
                data = data[:2] + head + data[2:-1] + tail
            new.writestr(name, data)
        root = old.namelist()[0].partition("/")[0]
        new.writestr(f"{root}/constants.pkl", b"\x80\x02).")
        new.writestr(f"{root}/code/__torch__.py", declared)
    return out.getvalue()


def with_pickle(archive: bytes, change) -> bytes:
    """The archive with its pickle and code changed, the checksum right again."""
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, change(data) if name.endswith((".pkl", ".py")) else data)
    except Exception:  # the archive is damaged already
        return change(archive)
    return out.getvalue()


GLOBALS = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\ngetattr\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n", b"cnumpy._core.multiarray\n_reconstruct\n", b"ctorch\nSize\n",
    b"csubprocess\nPopen\n", b"cbuiltins\nset\n", b"c_codecs\nencode\n", b"ctorch.nn\nLinear\n",
]  # fmt: skip
OPCODES = [bytes([value[0]]) for name, value in vars(pickle).items()
           if name.isupper() and isinstance(value, bytes) and len(value) == 1]  # fmt: skip
NUMBERS = [0, 1, 255, 256, 65535]
NUMBERS += [(1 << bits) - less for bits in (31, 32, 63, 64) for less in (0, 1)]


def mutated(data: bytes, rng: random.Random, corpus: list[bytes]) -> bytes:
    """The data with a few changes."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8, 30))):
        at = rng.randrange(len(result) + 1)
        kind = rng.randrange(9)
        if kind == 0 and result:
            result[min(at, len(result) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1 and result:
            result[min(at, len(result) - 1)] = rng.randrange(256)
        elif kind == 2:
            del result[at : at + rng.choice((1, 2, 4, 16, 200))]
        elif kind == 3:
            piece = bytes(result[at : at + rng.choice((1, 4, 30, 300))])
            result[at:at] = piece * rng.choice((1, 2, 50))
        elif kind == 4:
            number, layout = rng.choice(NUMBERS), rng.choice("<B <H <I <Q >I".split())
            size = struct.calcsize(layout)
            result[at : at + size] = struct.pack(layout, number % (1 << (8 * size)))
        elif kind == 5:
            result[at:at] = rng.choice(GLOBALS)
        elif kind == 6:
            result[at:at] = b"".join(rng.choices(OPCODES, k=rng.choice((1, 2, 5))))
        elif kind == 7:
            other = rng.choice(corpus)
            start = rng.randrange(len(other) + 1)
            result[at:at] = other[start : start + rng.choice((4, 40, 400))]
        else:
            result[at:at] = rng.choice((b"\x00", b"\xff", b"(", b"R", b"b", b"}")) * rng.choice(
                (1, 9, 999)
            )
    return bytes(result[:LARGEST])


class Lines:
    """Tells whether an input reached a line that no other had (before Python 3.12: never)."""

    def __init__(self) -> None:
        self.count = self._before = 0
        monitor = getattr(sys, "monitoring", None)
        if monitor is None:
            return
        import cupola.io

        readers = (os.path.dirname(cupola.io.__file__), zipfile.__file__, json.__file__)
        readers = tuple(p.removesuffix("__init__.py") for p in readers)

        def line(code, number):
            self.count += code.co_filename.startswith(readers)
            return monitor.DISABLE  # each line is told once: after that it costs nothing

        monitor.use_tool_id(monitor.COVERAGE_ID, "fuzz")
        monitor.register_callback(monitor.COVERAGE_ID, monitor.events.LINE, line)
        monitor.set_events(monitor.COVERAGE_ID, monitor.events.LINE)

    def new(self) -> bool:
        """Whether there were new lines since the last question."""
        before, self._before = self._before, self.count
        return self.count > before


class Notebook:
    """A mapped file with the input that is being read: it outlives the process."""

    def __init__(self, path: pathlib.Path) -> None:
        with open(path, "wb+") as file:
            file.truncate(8 + LARGEST)
            self._map = mmap.mmap(file.fileno(), 0)

    def write(self, data: bytes) -> None:
        self._map[: 8 + len(data)] = struct.pack("<Q", len(data)) + data

    @staticmethod
    def read(path: pathlib.Path) -> bytes:
        data = path.read_bytes() if path.exists() else b""
        return data[8 : 8 + struct.unpack("<Q", data[:8])[0]] if data else b""


def tried(data: bytes, path: pathlib.Path | None = None) -> tuple[str, str | None]:
    """Reads one input, from memory or through a map of the file that is written for it; returns
    what came of it, and what was wrong with that, if anything.
    """
    global watching
    from cupola.io import CheckpointError, load

    if path is not None:
        path.write_bytes(data)
    events: list[str] = []
    begun = time.perf_counter()
    watching = events
    problem = None
    try:
        load(io.BytesIO(data)) if path is None else load(path, mmap=True)
        outcome = "loads"
    except CheckpointError as error:
        outcome = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "…", str(error))[:120]
    except BaseException as error:  # the point of the exercise
        watching = None  # to print it, Python compiles lines
        outcome = type(error).__name__
        if isinstance(error, KeyboardInterrupt):
            raise
        # An index names a file that is not there, or whose name is too long.
        if path is None or not isinstance(error, OSError):
            problem = "".join(traceback.format_exception(error))
    finally:
        watching = None
    if events:
        problem = f"it ran something: {events[0]}"
    took = time.perf_counter() - begun
    if took > SLOW:
        problem = f"it took {took:.0f} s"
    return outcome, problem


class Findings:
    """What was wrong, once each, with its input in a file."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}

    def add(self, data: bytes, problem: str) -> None:
        key = problem.strip().splitlines()[-1][:100]
        if key in self.said:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"finding-{len(self.said)}.bin"
        path.write_bytes(data)
        self.said[key] = str(path)
        print(f"FINDING {path}\n{problem}", flush=True)


def megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def fuzz(args: argparse.Namespace, place: pathlib.Path) -> dict:
    """Tries inputs until the time is over; returns counts and findings."""
    # Python imports the codec of an opcode's text when it is first used: before, then.
    codecs.lookup("raw-unicode-escape")
    corpus = seeds()
    whole = list(corpus)  # what loads: from here mutations go deep
    for data in corpus:
        tried(data)  # whatever is imported late is imported now
        tried(data, place / "input.bin")
    place.joinpath("x.safetensors").write_bytes(corpus[2])  # the shard that the index names
    lines, notebook = Lines(), Notebook(args.out / "current.bin")
    started = megabytes()
    limit = started + args.memory
    rng, known, findings = random.Random(args.seed), {"loads"}, Findings(args.out)
    begun = told = time.perf_counter()
    count = loaded = mapped = 0
    while (now := time.perf_counter()) - begun < 60 * args.minutes:
        data = rng.choice(corpus if rng.random() < 0.5 else whole)
        if rng.random() < 0.5:
            data = with_pickle(data, lambda pkl: mutated(pkl, rng, corpus))[:LARGEST]
        else:
            data = mutated(data, rng, corpus)
        notebook.write(data)
        by_map = rng.random() < 0.05
        outcome, problem = tried(data, place / "input.bin" if by_map else None)
        count, mapped, loaded = count + 1, mapped + by_map, loaded + (outcome == "loads")
        if megabytes() > limit:
            problem = f"the process grew to {megabytes()} MB"
            limit = megabytes() + args.memory
        if problem:
            findings.add(data, problem)
        if lines.new() or outcome not in known:
            known.add(outcome)
            corpus.append(data)
            if outcome == "loads":
                whole.append(data)
        if now - told >= EVERY:
            told = now
            left = 60 * args.minutes - (now - begun)
            print(
                f"{count:,} inputs, {len(known)} outcomes, {lines.count} lines, "
                f"{len(findings.said)} findings, {megabytes()} MB, {left:.0f} s left",
                flush=True,
            )
    return {
        "seed": args.seed,
        "minutes": round((time.perf_counter() - begun) / 60, 3),
        "processor_minutes": round(time.process_time() / 60, 3),
        "inputs": count,
        "loaded": loaded,
        "mapped": mapped,
        "outcomes": len(known),
        "lines": lines.count,
        "grew_mb": megabytes() - started,
        "findings": findings.said,
    }


def one_of(args: argparse.Namespace, seed: int) -> dict:
    """Runs a process with its own seed; returns its summary, or how it ended without one."""
    folder = args.out / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--minutes", str(args.minutes), "--seed", str(seed)]
    command += ["--memory", str(args.memory), "--out", str(folder)]
    with open(folder / "log", "w", encoding="utf-8") as log:
        try:
            ended = subprocess.run(
                command, stdout=log, stderr=log, timeout=60 * args.minutes + GRACE, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            ended = "no end: it was stopped"
    summary = folder / "summary.json"
    if ended in (0, 1) and summary.exists():
        return json.loads(summary.read_text(encoding="utf-8"))
    findings = Findings(folder)
    findings.add(Notebook.read(folder / "current.bin"), f"seed {seed}: the process ended: {ended}")
    return {"seed": seed, "findings": findings.said}


def several(args: argparse.Namespace) -> dict:
    """Runs `--jobs` processes at once and adds up their summaries."""
    every = range(args.seed, args.seed + args.jobs)
    for old in args.out.glob("seed-*/summary.json"):
        old.unlink()
    rows = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for row in concurrent.futures.as_completed(
            [pool.submit(one_of, args, seed) for seed in every]
        ):
            rows.append(row.result())
            print(f"[{len(rows)}/{args.jobs}] {json.dumps(rows[-1])}", flush=True)
    total: collections.Counter = collections.Counter()
    for name in ("processor_minutes", "inputs", "loaded", "mapped"):
        total[name] = round(sum(row.get(name, 0) for row in rows), 3)
    most = {
        name: max(row.get(name, 0) for row in rows) for name in ("outcomes", "lines", "grew_mb")
    }
    findings = {key: path for row in rows for key, path in row["findings"].items()}
    ended = sum("inputs" in row for row in rows)
    return {
        "jobs": args.jobs,
        "ended_by_themselves": ended,
        "seeds": [every[0], every[-1]],
        "python": sys.version.split()[0],
        **total,
        "most": most,
        "findings": findings,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="inputs to try again")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=1024, help="MB that the process may grow by")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "fuzz-out")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with its own seed")
    args = parser.parse_args()
    if args.jobs > 1:
        found = several(args)
        args.out.joinpath("summary.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(json.dumps(found))
        return 1 if found["findings"] else 0
    sys.path.insert(0, str(ROOT / "runtime"))
    sys.addaudithook(hook)
    with tempfile.TemporaryDirectory() as place:
        if args.files:
            ways = itertools.product(args.files, (None, pathlib.Path(place, "input.bin")))
            problems = [tried(file.read_bytes(), way)[1] for file, way in ways]
            print("\n".join(str(p) for p in problems))
            return 1 if any(problems) else 0
        args.out.mkdir(parents=True, exist_ok=True)
        found = fuzz(args, pathlib.Path(place))
    args.out.joinpath("summary.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(
        f"fuzz: {found['inputs']:,} inputs in {found['minutes']:.1f} minutes (seed {args.seed}), "
        f"{found['outcomes']} different outcomes, {len(found['findings'])} findings"
    )
    return 1 if found["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
