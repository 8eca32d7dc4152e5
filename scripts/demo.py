#!/usr/bin/env python3
"""`make demo`: converts a published face detector in place and runs it without torch.

The detector is MTCNN of the PyPI package facenet-pytorch, with its trained weights; the photograph
ships in scikit-image. Results in demo-out/: faces.png, report.html, boxes.json and the converted
package. The boxes are compared with those that torch gives (fixtures/demo/astronaut.json, made by
scripts/record_demo.py). Ends with one plain line; the exit code is 0 when they agree.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "demo-out"
WHEELS = ROOT / ".cache/wheels"
EXPECTED = ROOT / "fixtures/demo/astronaut.json"
PACKAGE = "facenet-pytorch==2.6.0"
PIXELS = 0.01
STEPS = 5


class Failed(Exception):
    """A step did not do what it should; the message is the demonstration's last line."""


def step(number: int, text: str) -> None:
    print(f"[{number}/{STEPS}] {text}", flush=True)


def fetch() -> pathlib.Path:
    """Returns the package's wheel, downloaded once."""
    found = sorted(WHEELS.glob("facenet_pytorch-2.6.0-*.whl"))
    if not found:
        WHEELS.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(WHEELS), PACKAGE]
        if subprocess.run(command).returncode:
            raise Failed(f"{PACKAGE} could not be downloaded (is the network there?)")
        found = sorted(WHEELS.glob("facenet_pytorch-2.6.0-*.whl"))
    return found[0]


def unpack(wheel: pathlib.Path, target: pathlib.Path) -> None:
    """Unpacks a wheel into an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def convert(target: pathlib.Path, report: pathlib.Path) -> float:
    """Converts the folder in place and keeps the HTML report; returns the seconds it took."""
    command = [sys.executable, "-m", "cupola_transpiler", "convert", str(target), "--force"]
    started = time.perf_counter()
    done = subprocess.run([*command, "--report", "html", "--report-file", str(report)])
    if done.returncode:
        raise Failed(f"cupola convert ended with {done.returncode}; see {report.name}")
    return time.perf_counter() - started


def detect(target: pathlib.Path, result: pathlib.Path) -> dict:
    """Runs the converted detector in a process of its own; returns what it found."""
    env = dict(os.environ, PYTHONPATH=str(target))
    script = pathlib.Path(__file__).with_name("detect.py")
    if subprocess.run([sys.executable, str(script), str(result)], env=env).returncode:
        raise Failed("the converted detector stopped with an error")
    return json.loads(result.read_text(encoding="utf-8"))


def draw(found: dict, path: pathlib.Path) -> None:
    """Writes the photograph with a box and five points on each face."""
    from detect import photograph
    from PIL import ImageDraw

    image = photograph()
    pen = ImageDraw.Draw(image)
    for box, score, points in zip(
        found["boxes"], found["probabilities"], found["landmarks"], strict=True
    ):
        pen.rectangle(box, outline=(0, 255, 80), width=3)
        pen.text((box[0] + 4, box[1] - 14), f"face {score:.4f}", fill=(0, 255, 80))
        for x, y in points:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(255, 60, 60))
    image.save(path)


def largest_difference(found: dict, expected: dict) -> float:
    """Returns the largest distance, in pixels, between a coordinate and torch's."""
    import numpy as np

    worst = 0.0
    for key in ("boxes", "landmarks"):
        ours, theirs = np.array(found[key]), np.array(expected[key])
        if ours.shape != theirs.shape:
            raise Failed(f"{len(ours)} face(s) found; torch finds {len(theirs)}")
        worst = max(worst, float(np.abs(ours - theirs).max(initial=0)))
    return worst


def run() -> str:
    """Runs the steps; returns the last line."""
    step(1, "torch must not be importable here")
    if importlib.util.find_spec("torch") is not None:
        raise Failed("torch can be imported in this environment: the result would prove nothing")
    step(2, f"fetch {PACKAGE}")
    wheel = fetch()
    started = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    target, report = OUT / "facenet", OUT / "report.html"
    step(3, f"convert a copy of it in place ({target.relative_to(ROOT)})")
    unpack(wheel, target)
    seconds = convert(target, report)
    print(f"      converted in {seconds:.1f} s")
    step(4, "find the faces on a photograph with the converted detector")
    found = detect(target, OUT / "boxes.json")
    took = found["seconds"]
    print(f"      imported in {took['import']:.1f} s, detected in {took['detect']:.1f} s")
    for box, score in zip(found["boxes"], found["probabilities"], strict=True):
        corners = ", ".join(f"{v:.4f}" for v in box)
        print(f"      face at ({corners}), probability {score:.6f}")
    step(5, "draw them, and compare with the boxes that torch gives")
    draw(found, OUT / "faces.png")
    worst = largest_difference(found, json.loads(EXPECTED.read_text(encoding="utf-8")))
    if worst > PIXELS:
        raise Failed(f"a coordinate is {worst:.4f} pixels from torch's, {PIXELS} are allowed")
    took = time.perf_counter() - started
    return (
        f"make demo: {len(found['boxes'])} face found without torch, within {worst:.5f} pixel of "
        f"torch's box ({took:.1f} s); see demo-out/faces.png and demo-out/report.html"
    )


def main() -> int:
    try:
        print(run())
    except Failed as error:
        print(f"make demo: FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
