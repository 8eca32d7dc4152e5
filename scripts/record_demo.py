#!/usr/bin/env python3
"""Regenerates fixtures/demo/astronaut.json: the faces that torch finds, for `make demo`.

usage: record_demo.py    (in the environment that `make test` makes: it has torch and torchvision)
"""

from __future__ import annotations

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

import demo  # noqa: E402
import detect  # noqa: E402

import harness  # noqa: E402


def main() -> int:
    harness.torchvision()
    import torch

    original = ROOT / ".cache/facenet-original"
    demo.unpack(demo.fetch(), original)
    sys.path.insert(0, str(original))
    found = detect.detect()
    del found["seconds"]
    found["made_with"] = f"{demo.PACKAGE}, torch {torch.__version__}"
    demo.EXPECTED.parent.mkdir(parents=True, exist_ok=True)
    demo.EXPECTED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {demo.EXPECTED.relative_to(ROOT)}: {len(found['boxes'])} face(s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
