"""The random streams of a loader's worker, which is a process or stands for one."""

from __future__ import annotations

import random

import numpy as np

from cupola.random import default_generator


def seed_streams(base_seed: int, number: int) -> None:
    """The random streams that PyTorch's worker has, for cupola, NumPy and ``random``."""
    low, high = base_seed & 0xFFFFFFFF, base_seed >> 32
    random.seed(base_seed + number)
    default_generator.manual_seed(base_seed + number)
    np.random.seed(np.random.SeedSequence([number, low, high, 0]).generate_state(4))
