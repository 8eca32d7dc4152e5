"""Runs samples: the same inputs through torch or cupola, outputs and gradients in order."""

from __future__ import annotations

import importlib
import pkgutil
import zlib

import numpy as np

import cases
from cases import Case, In


def draw(spec: In, seed: int) -> np.ndarray:
    """The same numbers for both sides."""
    rng = np.random.default_rng(seed)
    if spec.dtype == "float32":
        return rng.uniform(spec.low, spec.high, spec.shape).astype(np.float32)
    values = rng.integers(int(spec.low), int(spec.high), spec.shape)
    return values.astype(bool) if spec.dtype == "bool" else values.astype(np.int64)


def flatten(x):
    """All tensors of a result in order."""
    if isinstance(x, (tuple, list)):
        return [t for part in x for t in flatten(part)]
    return [x]


def run(module, case: Case):
    """Outputs and gradients as NumPy arrays."""
    seed = zlib.crc32(case.name.encode())
    inputs = []
    for k, spec in enumerate(case.inputs):
        t = module.tensor(draw(spec, seed + k))
        inputs.append(
            t.requires_grad_() if case.grad and spec.grad and spec.dtype == "float32" else t
        )
    outputs = flatten(case.function(module, *inputs))
    grads = []
    if case.grad:
        total = 0
        for k, out in enumerate(outputs):
            if out.requires_grad:
                weight = np.random.default_rng(k).uniform(0.5, 1.5, tuple(out.shape))
                total = total + (out * module.tensor(weight).to(out.dtype)).sum().double()
        total.backward()
        grads = [t.grad for t in inputs if t.requires_grad]
    return outputs, grads


def every_case() -> list[Case]:
    """All samples of all families."""
    names = [info.name for info in pkgutil.iter_modules(cases.__path__) if info.name != "running"]
    return [case for name in names for case in importlib.import_module(f"cases.{name}").CASES]
