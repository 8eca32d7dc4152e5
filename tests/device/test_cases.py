"""Every sample of tests/cases, on every backend of this machine: values, dtypes, shapes and gradients equal torch's."""

from __future__ import annotations

import importlib
import pkgutil
import zlib

import numpy as np
import pytest
import torch

import cupola
import tests.cases as families
from cupola import engine
from cupola.backends.cpu import CPUBackend
from cupola.backends.reference import ReferenceBackend
from tests.cases import Case, In

ALL = [
    case
    for info in pkgutil.iter_modules(families.__path__)
    for case in importlib.import_module(f"tests.cases.{info.name}").CASES
]


@pytest.fixture(params=["cpu", "reference"])
def backend(request):
    """Runs the test with the compiled CPU backend, then with the NumPy oracle."""
    old = engine.backend("cpu")
    engine.use_backend("cpu", CPUBackend() if request.param == "cpu" else ReferenceBackend())
    yield request.param
    engine.use_backend("cpu", old)


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
        inputs.append(t.requires_grad_() if case.grad and spec.grad and spec.dtype == "float32" else t)
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


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
def test_case(case, backend):
    """Forward, dtype, shape and gradient of one sample."""
    want, want_grads = run(torch, case)
    got, got_grads = run(cupola, case)
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        assert tuple(w.shape) == tuple(g.shape)
        assert str(w.dtype) == str(g.dtype)
        np.testing.assert_allclose(
            g.detach().numpy(), w.detach().numpy(), rtol=case.tolerance, atol=case.tolerance, equal_nan=True
        )
    for w, g in zip(want_grads, got_grads, strict=True):
        assert (w is None) == (g is None)
        if w is not None:
            np.testing.assert_allclose(g.numpy(), w.numpy(force=True), rtol=10 * case.tolerance, atol=10 * case.tolerance)
