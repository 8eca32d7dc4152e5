"""What a program gives, or which error it raises, on both sides: compared as a whole."""

from __future__ import annotations

import warnings

import numpy as np
import torch

import cupola


def plain(value):
    """A value that compares: tensors by dtype, shape, ``requires_grad`` and elements."""
    if isinstance(value, (torch.Tensor, cupola.Tensor)):
        array = value.detach().cpu()
        array = array.float() if str(value.dtype) == "torch.bfloat16" else array
        kind = (str(value.dtype), tuple(value.shape), bool(value.requires_grad))
        return [kind, np.array(array.resolve_conj().numpy())]
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return [[str(k), plain(v)] for k, v in value.items()]
    if isinstance(value, (bool, int, float, complex, str, type(None), np.ndarray)):
        return value
    return str(value).replace("cupola", "torch")


def outcome(program, m):
    """("value", what it gives) or ("error", the type's name), from seed 0."""
    m.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "value", plain(program(m))
        except Exception as error:
            return "error", type(error).__name__


def same(got, want, tolerance):
    """Whether two plain values agree."""
    if isinstance(want, (list, tuple)):
        alike = isinstance(got, (list, tuple)) and len(got) == len(want)
        return alike and all(same(a, b, tolerance) for a, b in zip(got, want, strict=True))
    if isinstance(want, np.ndarray):
        if not isinstance(got, np.ndarray) or got.shape != want.shape:
            return False
        if want.dtype.kind not in "fc":
            return bool((got == want).all())
        return np.allclose(got, want, tolerance, tolerance, equal_nan=True)
    if isinstance(want, float) and isinstance(got, float):
        return np.allclose(got, want, tolerance, tolerance, equal_nan=True)
    return got == want


def differences(programs, tolerance=1e-4):
    """Lines about the programs (by name) whose outcomes differ."""
    found = []
    for name, program in programs.items():
        got, want = outcome(program, cupola), outcome(program, torch)
        if not same(got, want, tolerance):
            found.append(f"{name}: {str(got)[:300]}, torch {str(want)[:300]}")
    return found
