"""`dtype=int`, `.to(float)`: Python's number types name element types; NumPy's and texts do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola

F = {m: m.nn.functional for m in (torch, cupola)}
CALLS = {
    "to": lambda m, d: m.ones(2).to(d),
    "to.dtype": lambda m, d: m.ones(2).to(dtype=d),
    "to.device": lambda m, d: m.ones(2).to("cpu", d),
    "as_tensor": lambda m, d: m.as_tensor(m.ones(2), dtype=d),
    "as_tensor.list": lambda m, d: m.as_tensor([1, 0], dtype=d),
    "asarray": lambda m, d: m.asarray(np.ones(2), dtype=d),
    "tensor": lambda m, d: m.tensor([1, 0], dtype=d),
    "zeros": lambda m, d: m.zeros(2, dtype=d),
    "empty": lambda m, d: m.empty(0, dtype=d),
    "empty_strided": lambda m, d: m.empty_strided((0,), (1,), dtype=d),
    "full": lambda m, d: m.full((2,), 1, dtype=d),
    "eye": lambda m, d: m.eye(2, dtype=d),
    "scalar_tensor": lambda m, d: m.scalar_tensor(1, dtype=d),
    "zeros_like": lambda m, d: m.zeros_like(m.ones(2), dtype=d),
    "full_like": lambda m, d: m.full_like(m.ones(2), 1, dtype=d),
    "new_zeros": lambda m, d: m.ones(2).new_zeros(2, dtype=d),
    "new_full": lambda m, d: m.ones(2).new_full((2,), 1, dtype=d),
    "new_tensor": lambda m, d: m.ones(2).new_tensor([1], dtype=d),
    "sum": lambda m, d: m.ones(2).sum(dtype=d),
    "prod": lambda m, d: m.prod(m.ones(2), 0, dtype=d),
    "view": lambda m, d: m.ones(2, dtype=m.float64).view(d),
    "can_cast": lambda m, d: m.can_cast(d, m.float32),
}
FLOATING = {
    "arange": lambda m, d: m.arange(2, dtype=d),
    "linspace": lambda m, d: m.linspace(0, 1, 2, dtype=d),
    "logspace": lambda m, d: m.logspace(0, 1, 2, dtype=d),
    "mean": lambda m, d: m.ones(2).mean(dtype=d),
    "nansum": lambda m, d: m.ones(2).nansum(dtype=d),
    "cumsum": lambda m, d: m.ones(2).cumsum(0, dtype=d),
    "softmax": lambda m, d: m.ones(2).softmax(0, dtype=d),
    "softmax.placed": lambda m, d: m.softmax(m.ones(2), 0, d),
    "F.softmax": lambda m, d: F[m].softmax(m.ones(2), 0, dtype=d),
    "F.log_softmax": lambda m, d: F[m].log_softmax(m.ones(2), 0, dtype=d),
    "vector_norm": lambda m, d: m.linalg.vector_norm(m.ones(2), dtype=d),
    "rand": lambda m, d: m.rand(2, dtype=d),
    "randn_like": lambda m, d: m.randn_like(m.ones(2), dtype=d),
    "normal": lambda m, d: m.normal(0.0, 1.0, (2,), dtype=d),
    "hann_window": lambda m, d: m.hann_window(3, dtype=d),
    "fftfreq": lambda m, d: m.fft.fftfreq(3, dtype=d),
    "Linear": lambda m, d: m.nn.Linear(2, 2, dtype=d).weight,
    "Module.to": lambda m, d: m.nn.Linear(2, 2).to(d).bias,
    "finfo": lambda m, d: m.zeros(1) + m.finfo(d).bits,
}
WHOLE = {
    "randint": lambda m, d: m.randint(0, 2, (2,), dtype=d),
    "randperm": lambda m, d: m.randperm(2, dtype=d),
    "tril_indices": lambda m, d: m.tril_indices(2, 2, dtype=d),
    "iinfo": lambda m, d: m.zeros(1) + m.iinfo(d).bits,
}
CASES = [(name, call, d) for name, call in CALLS.items() for d in (int, float, bool, complex)]
CASES += [(name, call, float) for name, call in FLOATING.items()]
CASES += [(name, call, int) for name, call in WHOLE.items()]


@pytest.mark.parametrize(("name", "call", "kind"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_python_types(name, call, kind):
    for m in (torch, cupola):
        m.manual_seed(0)
    theirs, ours = call(torch, kind), call(cupola, kind)
    if name == "can_cast":
        assert ours is theirs
        return
    assert str(ours.dtype) == str(theirs.dtype)
    if name not in ("Linear", "Module.to"):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.dtype("int32"), "float32", str, 3])
@pytest.mark.parametrize("name", ["tensor", "zeros", "sum", "mean", "softmax", "rand", "to.dtype"])
def test_others_are_refused(name, kind):
    call = {**CALLS, **FLOATING}[name]
    for m in (torch, cupola):
        with pytest.raises(TypeError):
            call(m, kind)


@pytest.mark.parametrize("kind", [int, float, np.dtype("int32")])
def test_type_takes_tensor_types_only(kind):
    for m in (torch, cupola):
        with pytest.raises((TypeError, ValueError)):
            m.ones(2).type(kind)


def test_results_are_computed_in_the_type():
    def program(m):
        x = m.tensor([1.5, 2.5, -0.5])
        total = x.to(int).sum() + m.arange(3, dtype=float).to(bool).sum()
        mask = m.zeros(3, dtype=bool)
        mask[1] = True
        return total.tolist(), x[mask].tolist(), (x * m.ones(3, dtype=float)).dtype.itemsize

    assert program(cupola) == program(torch)
