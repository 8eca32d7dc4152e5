#!/usr/bin/env python3
"""Converts real packages whole and compares what they compute with what torch computes.

usage: corpus.py [NAME ...] [--work DIR] [--scripts DIR] [--again] [--write]

For each package of fixtures/corpus/packages.toml: install it into a folder of its own, convert that
folder and its entry points (try_NAME.py), run the entry points where torch cannot be imported, and
compare outputs and gradients with those of the originals under torch (relative error in the
Euclidean norm, 1e-4, float32; where only a gradient differs, once more in float64, in which a
rounding at a kink disappears and a wrong conversion does not; where it differs there as well, the
slope of torch's own outputs, measured along a random direction, tells whose gradient is right).
With --scripts, also the packages of a folder of scripts p_NAME.py that print JSON, beside what
torch printed (p_NAME.expected.json; 1e-3). Results are kept in the work folder; --write puts them
into docs/corpus.json, beside those of packages that were not run this time, and makes
docs/corpus.md from it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "fixtures" / "corpus"
TOLERANCE = 1e-4
KEPT = ROOT / "docs" / "corpus.json"
ENDED = "(ended)"  # among the arrays: why there are none
NAMES = "(names)"  # among the arrays: the entry points that were to be computed
SLOPE = 1e-5  # relative, of a slope measured in float64
# torch must not be there for converted code: what it computes would prove nothing.
WITHOUT_TORCH = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"{name} is not to be used here", name=name)
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# A CPU build of torch cannot load the library of PyPI's torchvision; the tests know the way around.
WITH_TORCH = """
import runpy, sys
import harness
harness.import_torchvision()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Failed(Exception):
    """A package could not be installed or converted."""


def call(command: list[object], log: pathlib.Path, **options: object) -> str:
    """Runs a command with its output in a file; gives how it failed, or an empty text."""
    with log.open("a") as file:
        file.write(f"$ {' '.join(map(str, command))}\n"[:2000])
        file.flush()
        start = log.stat().st_size
        words = [str(c) for c in command]
        try:
            code = subprocess.run(
                words, stdout=file, stderr=subprocess.STDOUT, **options
            ).returncode
        except subprocess.TimeoutExpired as error:
            return f"no end after {error.timeout:.0f} s"
    if not code:
        return ""
    lines = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    return f"exit code {code}: {lines[-1].strip()[:160] if lines else 'nothing was printed'}"


def install(spec: dict, home: pathlib.Path, log: pathlib.Path) -> None:
    """Downloads a package's parts, once."""
    if (home / "installed").exists():
        return
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for group, flags, folder in (("convert", ["--no-deps"], "original"), ("plain", [], "plain")):
        (home / folder).mkdir()
        command = [*pip, *flags, "--target", home / folder, *spec.get(group, ())]
        if spec.get(group) and (why := call(command, log)):
            raise Failed(f"packages did not install ({why})")
    for path in spec.get("remove", ()):
        shutil.rmtree(home / "original" / path, ignore_errors=True)
    for library in (home / "original").rglob("*.so"):
        library.unlink()  # compiled against torch; the Python parts work without
    (home / "installed").touch()


def convert(home: pathlib.Path, helpers: list[pathlib.Path], log: pathlib.Path) -> dict:
    """Converts a copy of a package with its entry points; returns the report's summary."""
    code = home / "converted"
    shutil.rmtree(code, ignore_errors=True)
    shutil.copytree(home / "original", code)
    for path in helpers:
        shutil.copy(path, code)
    report = home / "convert.json"
    report.unlink(missing_ok=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", "cupola_transpiler", "convert", code, "--force",
               "--report", "json", "-o", report]  # fmt: skip
    why = call(command, log)
    seconds = time.perf_counter() - started
    if why and not why.startswith("exit code 1:") or not report.exists():
        raise Failed(f"conversion failed ({why})")
    (tree,) = json.loads(report.read_text())["trees"]
    return {**tree["summary"], "verdict": tree["verdict"], "seconds": seconds}


def versions(home: pathlib.Path) -> list[str]:
    """Names and versions of what is installed for a package, and torch's."""
    found = [p.name for part in ("original", "plain") for p in (home / part).glob("*.dist-info")]
    return [f"torch-{importlib.metadata.version('torch')}", *sorted(found)]


def compute(home: pathlib.Path, script: str, kind: str, log: pathlib.Path, *more: str) -> dict:
    """Runs entry points on one side; returns the arrays that they wrote, and how it ended."""
    converted = kind == "converted"
    code, out = home / kind, home / f"{kind}.npz"
    path = [code, home / "plain", *([] if converted else [HOME, ROOT / "tests"])]
    dtype = "float64" if "float64" in more else "float32"
    chosen = [m for m in more if m != "float64"]
    env = dict(
        os.environ, CORPUS_DTYPE=dtype, HF_HUB_OFFLINE="1", CUPOLA_TV_DIR=str(_vision(home)),
        PYTHONPATH=os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")]),
    )  # fmt: skip
    if kind == "original":  # torch's answer to the same questions is kept
        asked = b"".join((HOME / f).read_bytes() for f in ("_entries.py", script))
        told = repr((dtype, chosen, versions(home)))
        key = hashlib.sha256(asked + told.encode()).hexdigest()[:12]
        out = home / f"original-{key}.npz"
        if out.exists():
            return dict(np.load(out))
    launcher = WITHOUT_TORCH if converted else WITH_TORCH
    file = (code if converted else HOME) / script
    part, found = home / f"{kind}-part.npz", {}
    while True:  # an entry point that ends its process is one that fails, not the last one
        part.unlink(missing_ok=True)
        command = [sys.executable, "-c", launcher, file, part, *chosen]
        why = call(command, log, env=env, cwd=home, timeout=3000) or "nothing was written"
        if not part.exists():
            return {ENDED: np.array(why)}
        found.update(np.load(part))
        done = {key.partition("/")[0] for key in found}
        left = [name for name in found.pop(NAMES).tolist() if name not in done]
        if left:
            found[f"{left[0]}/error"] = np.array(why)
        chosen = left[1:]
        if not chosen:
            np.savez(out, **found)
            return found


def _vision(home: pathlib.Path) -> pathlib.Path | str:
    own = home / "original" / "torchvision"
    return own.parent if own.is_dir() else os.environ.get("CUPOLA_TV_DIR", "")


def difference(want: np.ndarray, got: np.ndarray) -> float:
    """The relative error in the Euclidean norm."""
    if want.shape != got.shape:
        return float("inf")
    scale = float(np.linalg.norm(want))
    return float(np.linalg.norm(want - got)) / (scale or 1.0)


def judge(theirs: dict, ours: dict) -> dict[str, str]:
    """For each entry point, why it does not agree; an empty text where it does.

    Raises:
        Failed: torch's side computed nothing.
    """
    if ENDED in theirs:
        raise Failed(f"under torch: {theirs[ENDED]}")
    names = dict.fromkeys(key.partition("/")[0] for key in theirs)
    verdicts = {}
    for name in names:
        if f"{name}/error" in theirs:
            verdicts[name] = f"fails under torch: {theirs[f'{name}/error']}"
            continue
        if f"{name}/error" in ours:
            verdicts[name] = str(ours[f"{name}/error"])
            continue
        keys = [k for k in theirs if k.startswith(f"{name}/") and not k.endswith("slope")]
        if any(key not in ours for key in keys):
            verdicts[name] = f"computed nothing: {ours.get(ENDED, 'some results are missing')}"
            continue
        errors = {key.partition("/")[2]: difference(theirs[key], ours[key]) for key in keys}
        outputs = {k: e for k, e in errors.items() if "gradient" not in k and not e <= TOLERANCE}
        errors = outputs or errors  # a gradient excuses no output
        worst = max(errors, key=lambda key: errors[key])
        bad = not errors[worst] <= TOLERANCE
        verdicts[name] = f"{worst} differs by {errors[worst]:.1e}" if bad else ""
    return verdicts


def is_torch_wrong(name: str, theirs: dict, ours: dict) -> bool:
    """Whether our gradients have the slope of torch's own outputs, and torch's have not."""
    wrong = False
    for key in (f"{name}/slope", f"{name}/input_slope"):
        if key not in theirs or key not in ours:
            continue
        (said, measured), (our_own, _) = theirs[key], ours[key]
        if abs(our_own - measured) > SLOPE * abs(measured):
            return False
        wrong |= abs(said - measured) > 100 * SLOPE * abs(measured)
    return wrong


def check_package(name: str, spec: dict, work: pathlib.Path, again: bool = False) -> dict:
    """Installs, converts and runs one package with our own entry points.

    With ``again``, only those entry points which did not pass the last time.
    """
    home = work / name
    log = work / f"{name}.log"
    kept_file = work / "results" / f"{name}.json"
    kept = json.loads(KEPT.read_text()).get(name, {}) if again and KEPT.exists() else {}
    if again and kept_file.exists():
        kept = json.loads(kept_file.read_text())
    chosen = [n for n, why in kept.get("entries", {}).items() if why]
    if kept and not chosen:
        return kept
    install(spec, home, log)
    script = f"try_{name}.py"
    summary = convert(home, [*sorted(HOME.glob("_*.py")), HOME / script], log)
    if any(n.startswith("(") for n in chosen):  # it was not installed or converted
        kept, chosen = {}, []
    theirs = compute(home, script, "original", log, *chosen)
    ours = compute(home, script, "converted", log, *chosen)
    verdicts = judge(theirs, ours)
    exactly = [n for n, why in verdicts.items() if "gradient differs" in why]
    settled = []
    sides = [compute(home, script, side, log, "float64", *exactly)
             for side in ("original", "converted") if exactly]  # fmt: skip
    if exactly:
        ended = sides[0].get(ENDED)
        exact = judge(*sides) if ended is None else dict.fromkeys(exactly, f"under torch: {ended}")
        settled = [n for n, why in exact.items() if why and is_torch_wrong(n, *sides)]
        for n, why in exact.items():
            good = not why or n in settled
            verdicts[n] = "" if good else f"{verdicts[n]}; in float64, {why}"
    before = [n for n in kept.get("float64", []) if n not in verdicts]
    settled += [n for n in kept.get("slope", []) if n not in verdicts]
    commits = kept.get("commits", {}) | dict.fromkeys(verdicts, commit())
    return {"packages": spec["convert"], **summary, "entries": kept.get("entries", {}) | verdicts,
            "float64": before + exactly, "slope": settled, "commits": commits}  # fmt: skip


def commit() -> str:
    """The commit that is measured, with a plus where the tree differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout

    changed = git("status", "--porcelain", "--untracked-files=no").strip()
    return git("rev-parse", "--short=8", "HEAD").strip() + ("+" if changed else "")


def leaves(value: object, path: str = ""):
    """The numbers and texts in nested JSON, with their paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def check_script(script: pathlib.Path, spec: dict, work: pathlib.Path) -> dict:
    """Installs, converts and runs one script that prints JSON."""
    name = script.stem[2:]
    home, log = work / name, work / f"{name}.log"
    install(spec, home, log)
    helpers = [p for p in script.parent.glob("_*.py") if p.name != "_tvshim.py"]
    summary = convert(home, [script, *helpers], log)
    (home / "converted" / "_tvshim.py").write_text("")  # torchvision is cupola_compat's here
    path = f"{home / 'converted'}{os.pathsep}{home / 'plain'}{os.pathsep}"
    env = dict(os.environ, HF_HUB_OFFLINE="1", PYTHONPATH=path + os.environ.get("PYTHONPATH", ""))
    file = home / "converted" / script.name
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(file)], env=env, cwd=home / "converted",
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    log.write_text(done.stdout + done.stderr)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"name"')]
    why = ""
    if not lines:
        why = (done.stderr.strip().splitlines() or ["printed nothing"])[-1][:160]
    else:
        expected = json.loads(script.with_suffix("").with_suffix(".expected.json").read_text())
        want, got = dict(leaves(expected)), dict(leaves(json.loads(lines[-1])))
        bad = [f"{k}: {v} is {got.get(k)}" for k, v in want.items() if not _close(v, got.get(k))]
        why = f"{len(bad)} values differ, first {bad[0][:100]}" if bad else ""
    return {"packages": spec["convert"], **summary, "entries": {name: why}, "float64": [],
            "commits": {name: commit()}}  # fmt: skip


def _close(want: object, got: object) -> bool:
    if isinstance(want, float) and isinstance(got, (int, float)):
        return abs(want - got) <= 1e-3 * max(1e-2, abs(want))
    return want == got


PAGE = """\
# The corpus: real packages, converted whole

Written by `scripts/corpus.py --write` from `docs/corpus.json`, which keeps the last run of each
package. Each is downloaded, every file of it converted, and its entry points run where torch cannot
be imported; outputs and gradients are compared with those of torch (relative error 1e-4 in the
Euclidean norm, float32). *Lines* counts the lines of all files that were looked at, *edits* the
pieces of text that were rewritten, *unsupported* the places that name something cupola does not
have: an entry point that passes reaches none of them. An entry point marked with a star was
compared once more in float64, because in float32 a gradient at a kink fell to the other side. With
two stars, torch's gradient differs from ours in float64 as well, ours has the slope of torch's own
outputs along a random direction (measured in float64, 1e-5), and torch's has not.

| package | files | lines | seconds | edits | unsupported | entry points passed |
|---|--:|--:|--:|--:|--:|--:|
"""


def page(results: dict[str, dict]) -> str:
    """The page from the results of all packages."""
    text, failures, passed, total = PAGE, [], 0, 0
    for name, r in sorted(results.items()):
        good = sum(not why for why in r["entries"].values())
        passed, total = passed + good, total + len(r["entries"])
        text += (
            f"| {', '.join(r['packages'])} | {r['files']:,} | {r['lines']:,} | {r['seconds']:.0f}"
            f" | {r['edits']:,} | {r['unsupported']:,} | {good} of {len(r['entries'])} |\n"
        )
        failures += [f"* {name}, `{e}`: {why}" for e, why in r["entries"].items() if why]
    text += f"\n{passed} of {total} entry points of {len(results)} corpora pass.\n"
    stamps = Counter(c for r in results.values() for c in r.get("commits", {}).values())
    counts = [f"{n} at {c}" for c, n in stamps.most_common()]
    if 0 < (rest := total - stamps.total()):
        counts.append(f"{rest} at commits that were not kept")
    text += f"Entry points by commit: {', '.join(counts)}.\n"
    if failures:
        text += "\n## What does not pass\n\n" + "\n".join(failures) + "\n"
    text += "\n## Entry points\n\n"
    for name, r in sorted(results.items()):
        stars = dict.fromkeys(r["float64"], "*") | dict.fromkeys(r.get("slope", ()), "**")
        marked = [f"{e}{stars.get(e, '')}" for e in r["entries"]]
        text += f"* {name}: {', '.join(marked)}\n"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / ".cache" / "corpus")
    parser.add_argument("--scripts", type=pathlib.Path)
    parser.add_argument("--again", action="store_true", help="only entries that did not pass")
    parser.add_argument("--write", action="store_true", help="write docs/corpus.md")
    args = parser.parse_args()
    work = args.work.resolve()
    (work / "results").mkdir(parents=True, exist_ok=True)
    jobs = {
        name: lambda name=name, spec=spec: check_package(name, spec, work, args.again)
        for name, spec in tomllib.loads((HOME / "packages.toml").read_text()).items()
    }
    if args.scripts:
        specs = tomllib.loads((args.scripts / "packages.toml").read_text())
        for script in sorted(args.scripts.glob("p_*.py")):
            name = script.stem[2:]
            jobs[name] = lambda s=script, n=name: check_script(s.resolve(), specs[n], work)
    failed = 0
    for name in args.names or jobs:
        try:
            result = jobs[name]()
        except Failed as error:
            print(f"{name}: {error}; see {work / name}.log", flush=True)
            result = {"packages": [name], "files": 0, "lines": 0, "seconds": 0.0, "edits": 0,
                      "unsupported": 0, "entries": {"(all)": str(error)}, "float64": [],
                      "commits": {"(all)": commit()}}  # fmt: skip
        (work / "results" / f"{name}.json").write_text(json.dumps(result, indent=1))
        bad = {entry: why for entry, why in result["entries"].items() if why}
        failed += len(bad)
        print(f"{name}: {len(result['entries']) - len(bad)} of {len(result['entries'])} pass",
              f"({result['lines']:,} lines in {result['seconds']:.0f} s)", flush=True)  # fmt: skip
        for entry, why in bad.items():
            print(f"  {entry}: {why}", flush=True)
    if args.write:
        results = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        for path in (work / "results").glob("*.json"):
            results[path.stem] = json.loads(path.read_text())
        KEPT.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
        KEPT.with_suffix(".md").write_text(page(results))
    print(f"corpus: {failed} entry points failed" if failed else "corpus: every entry point passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
