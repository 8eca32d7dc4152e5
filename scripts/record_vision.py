#!/usr/bin/env python3
"""Writes fixtures/vision/operators.npz: what torchvision's compiled operators compute.

usage: record_vision.py    in an environment where torch and torchvision fit each other
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]


def main() -> int:
    import torch
    import torchvision

    import vision_samples as samples

    if not torchvision.extension._has_ops():
        print("this torchvision has no compiled operators: install one that fits this torch")
        return 1
    found = {}
    for name, case in samples.CASES.items():
        for number, array in enumerate(samples.run(torch, torchvision.ops, case)):
            found[f"{name}/{number}"] = array
    samples.RECORDED.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(samples.RECORDED, **found)
    print(f"{len(found)} arrays of {len(samples.CASES)} cases in {samples.RECORDED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
