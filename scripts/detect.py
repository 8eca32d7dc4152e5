#!/usr/bin/env python3
"""Detects faces on a photograph with whichever facenet_pytorch can be imported.

usage: detect.py OUTPUT.json

The same program runs on the original package with torch and on the converted one without: it names
neither framework. Writes boxes (x1, y1, x2, y2), scores and five landmarks a face, in pixels.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time

import numpy as np


def photograph():
    """Returns the photograph as a PIL image, 512 x 512, RGB."""
    from PIL import Image
    from skimage import data

    return Image.fromarray(data.astronaut())


def detect() -> dict:
    """Returns the faces, and the seconds that importing and detecting took."""
    started = time.perf_counter()
    from facenet_pytorch import MTCNN

    imported = time.perf_counter()
    detector = MTCNN(keep_all=True, device="cpu")
    boxes, scores, landmarks = detector.detect(photograph(), landmarks=True)
    if boxes is None:
        boxes, scores, landmarks = [], [], []
    done = time.perf_counter()
    return {
        "boxes": np.asarray(boxes, dtype=np.float64).tolist(),
        "probabilities": np.asarray(scores, dtype=np.float64).tolist(),
        "landmarks": np.asarray(landmarks, dtype=np.float64).tolist(),
        "seconds": {"import": imported - started, "detect": done - imported},
    }


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print(__doc__)
        return 2
    pathlib.Path(argv[0]).write_text(json.dumps(detect(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
