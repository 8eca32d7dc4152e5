#!/usr/bin/env python3
"""Feeds damaged checkpoints to cupola.load and watches what it does.

usage: fuzz_reader.py [--minutes M] [--seed S] [--out FOLDER] [--memory MB]

Inputs are mutations of small checkpoints of every format, and of the pickles inside them. Each must
load or raise CheckpointError. It is a finding when anything else is raised, when a program, a
module or code is run, when one input takes longer than ten seconds, or when the process grows
beyond the limit. Inputs that lead to a new message are kept and mutated further. Findings are
written to FOLDER; the exit code is 1 if there are any. An input can be tried again with
`fuzz_reader.py FILE`.
"""

from __future__ import annotations

import argparse
import codecs
import io
import pathlib
import pickle
import random
import re
import resource
import struct
import sys
import time
import traceback
import zipfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = 10.0
EVERY = 10.0
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
    return found


def with_pickle(archive: bytes, change) -> bytes:
    """The archive with its pickle changed, the checksum right again."""
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, change(data) if name.endswith(".pkl") else data)
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
    return bytes(result[: 1 << 20])


def tried(data: bytes) -> tuple[str, str | None]:
    """Reads one input; returns what came of it, and what was wrong with that, if anything."""
    global watching
    from cupola.io import CheckpointError, load

    events: list[str] = []
    begun = time.perf_counter()
    watching = events
    problem = None
    try:
        load(io.BytesIO(data))
        outcome = "loads"
    except CheckpointError as error:
        outcome = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "…", str(error))[:120]
    except BaseException as error:  # the point of the exercise
        outcome = type(error).__name__
        problem = "".join(traceback.format_exception(error))
        if isinstance(error, KeyboardInterrupt):
            raise
    finally:
        watching = None
    if events:
        problem = f"it ran something: {events[0]}"
    took = time.perf_counter() - begun
    if took > SLOW:
        problem = f"it took {took:.0f} s"
    return outcome, problem


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="inputs to try again")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=1024, help="MB that the process may grow by")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "fuzz-out")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "runtime"))
    sys.addaudithook(hook)
    if args.files:
        problems = [tried(path.read_bytes())[1] for path in args.files]
        print("\n".join(str(p) for p in problems))
        return 1 if any(problems) else 0
    # Python imports the codec of an opcode's text when it is first used: before, then.
    codecs.lookup("raw-unicode-escape")
    corpus = seeds()
    for data in corpus:
        tried(data)  # whatever is imported late is imported now
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    limit = used + (args.memory << 20)
    rng, known, findings = random.Random(args.seed), {"loads"}, {}
    begun = told = time.perf_counter()
    count = 0
    while (now := time.perf_counter()) - begun < 60 * args.minutes:
        data = rng.choice(corpus)
        if rng.random() < 0.5:
            data = with_pickle(data, lambda pkl: mutated(pkl, rng, corpus))
        else:
            data = mutated(data, rng, corpus)
        outcome, problem = tried(data)
        count += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        if peak > limit:
            problem = f"the process grew to {peak >> 20} MB"
            limit = peak + (args.memory << 20)
        if problem and (key := problem.strip().splitlines()[-1][:100]) not in findings:
            args.out.mkdir(parents=True, exist_ok=True)
            path = args.out / f"finding-{len(findings)}.bin"
            path.write_bytes(data)
            findings[key] = path
            print(f"FINDING {path}\n{problem}", flush=True)
        if outcome not in known:
            known.add(outcome)
            corpus.append(data)
        if now - told >= EVERY:
            told = now
            left = 60 * args.minutes - (now - begun)
            print(
                f"{count:,} inputs, {len(known)} outcomes, {len(findings)} findings, "
                f"{peak >> 20} MB, {left:.0f} s left",
                flush=True,
            )
    took = time.perf_counter() - begun
    print(
        f"fuzz: {count:,} inputs in {took / 60:.1f} minutes (seed {args.seed}), {len(known)} "
        f"different outcomes, {len(findings)} findings"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
