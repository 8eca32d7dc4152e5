"""The engine's promises: reuse of plans, bounded recording, deep graphs, released memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

import cupola
from cupola import engine
from cupola.ir.op import pending


def step(x, w, lr):
    """One step of gradient descent on a small problem."""
    loss = ((x @ w).tanh() ** 2).mean()
    loss.backward()
    with cupola.no_grad():
        w -= lr * w.grad
    w.grad = None
    return loss.item()


def test_plans_are_reused_when_numbers_change():
    x = cupola.randn(6, 4)
    w = cupola.randn(4, 3).requires_grad_()
    for k in range(3):
        step(x, w, 0.1 + 0.01 * k)
    before = engine.stats["plans"]
    for k in range(20):
        step(x, w, 0.1 + 0.01 * k)
    assert engine.stats["plans"] == before


def test_a_new_size_compiles_nothing():
    kernels = set()
    backend = engine.backend("cpu")
    real = backend.compile

    def note(kernel):
        kernels.add(kernel)
        return real(kernel)

    backend.compile = note
    try:
        for n in (64, 48, 33):
            x = cupola.randn(n, 10)
            (x.exp() / x.exp().sum(1, keepdim=True)).mean().item()
            if n == 64:
                first = set(kernels)
    finally:
        del backend.compile
    assert kernels == first


def test_long_chains_of_operators():
    x = cupola.ones(5, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 1.0001 + 0.0001
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1.0001**3000, rtol=1e-3)
    z = cupola.zeros(3)
    for _ in range(20000):
        z = z + 1
    assert pending.count - pending.done <= engine.PENDING_LIMIT + 1
    assert z[0].item() == 20000


def test_a_training_loop_holds_no_more_objects():
    x = cupola.randn(6, 4)
    w = cupola.randn(4, 3).requires_grad_()
    for _ in range(5):
        step(x, w, 0.1)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        step(x, w, 0.1)
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_values_recorded_do_not_follow_later_changes_of_numpy_memory():
    array = np.ones(3, dtype=np.float32)
    shared = cupola.from_numpy(array)
    doubled = shared * 2
    array[:] = 5
    assert doubled.tolist() == [2, 2, 2]
    assert shared.tolist() == [5, 5, 5]
    shared.add_(1)
    assert array.tolist() == [6, 6, 6]


def test_shape_errors_are_raised_where_they_are_recorded():
    with pytest.raises(RuntimeError, match="must match the size of tensor b"):
        cupola.ones(3) + cupola.ones(4)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        cupola.ones(2, 3) @ cupola.ones(2, 3)


@pytest.mark.parametrize("variable", ["CUPOLA_EAGER=1", "CUPOLA_BACKEND=reference"])
def test_other_ways_to_run(variable):
    program = (
        "import cupola as c; c.manual_seed(0); x = c.randn(8, 4, requires_grad=True);"
        "y = (x.softmax(1) * c.arange(4)).sum(); y.backward();"
        "print(round(x.grad.abs().sum().item(), 5))"
    )

    def run(**extra):
        env = dict(os.environ, **extra)
        out = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True
        )
        assert out.returncode == 0, out.stderr
        return out.stdout

    name, value = variable.split("=")
    assert run(**{name: value}) == run()


def test_asking_for_a_missing_gpu_says_what_to_install():
    if cupola.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(cupola.BackendError, match=r"cupola\[cuda1"):
        cupola.ones(2).cuda()
