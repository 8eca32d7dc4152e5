"""Scaling of losses over 50 steps with injected infinities: torch's scale, steps and weights."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

import cupola
from nn.twin import PAIR

STEPS = 50
BAD = {3: "inf", 4: "nan", 17: "-inf", 30: "inf", 31: "inf"}


def model(lib):
    lib.manual_seed(0)
    return lib.nn.Sequential(lib.nn.Linear(6, 8), lib.nn.Tanh(), lib.nn.Linear(8, 3))


def spelled(lib, name, **options):
    if name == "amp":
        return lib.amp.GradScaler("cpu", **options)
    return lib.cpu.amp.GradScaler(**options)


def run(lib, spelling, unscaled, clipped, optimizers):
    """Rows of (scale, loss, gradient norm, saved state) and the last weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scaler = spelled(lib, spelling, init_scale=2.0**10, growth_interval=5, growth_factor=1.7)
    net = model(lib)
    halves = [list(net[0].parameters()), list(net[2].parameters())]
    if optimizers == 1:
        halves = [halves[0] + halves[1]]
    steppers = [lib.optim.Adam(part, lr=1e-2) for part in halves]
    random = np.random.default_rng(0)
    rows = []
    for step in range(STEPS):
        x = lib.tensor(random.standard_normal((5, 6)).astype("float32"))
        y = lib.tensor(random.integers(0, 3, 5))
        for optimizer in steppers:
            optimizer.zero_grad()
        loss = lib.nn.functional.cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        if step in BAD:
            (net[0] if step < 20 else net[2]).weight.grad[1, 2] = float(BAD[step])
        if unscaled:
            for optimizer in steppers:
                scaler.unscale_(optimizer)
        norm = 0.0
        if clipped:
            norm = float(lib.nn.utils.clip_grad_norm_(net.parameters(), 0.5))
        for optimizer in steppers:
            scaler.step(optimizer)
        scaler.update(4096.0 if step == 40 else None)
        rows.append([scaler.get_scale(), float(loss), norm, scaler.state_dict()["_growth_tracker"]])
        if step == 25:
            saved = copy.deepcopy(scaler.state_dict())
            scaler = spelled(lib, "amp")
            scaler.load_state_dict(saved)
    return rows, [p.detach().numpy().copy() for p in net.parameters()]


@pytest.mark.parametrize("optimizers", [1, 2])
@pytest.mark.parametrize(
    ("unscaled", "clipped"), [(False, False), (True, False), (True, True), (False, True)]
)
@pytest.mark.parametrize("spelling", ["amp", "cpu.amp"])
def test_fifty_steps(spelling, unscaled, clipped, optimizers):
    (expected, weights), (found, ours) = (
        run(lib, spelling, unscaled, clipped, optimizers) for lib in PAIR
    )
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert [row[3] for row in found] == [row[3] for row in expected]
    np.testing.assert_allclose(
        [row[1:3] for row in found], [row[1:3] for row in expected], rtol=2e-5
    )
    for a, b in zip(ours, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def _used(lib, **options):
    """A scaler that has scaled a loss, the optimizer of its parameter."""
    scaler = lib.amp.GradScaler("cpu", **options)
    param = lib.nn.Parameter(lib.ones(2))
    optimizer = lib.optim.SGD([param], 0.1)
    scaler.scale(param.sum()).backward()
    return scaler, optimizer


def _twice(lib):
    scaler, optimizer = _used(lib)
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)


def _after_step(lib):
    scaler, optimizer = _used(lib)
    scaler.step(optimizer)
    scaler.unscale_(optimizer)


def _step_twice(lib):
    scaler, optimizer = _used(lib)
    scaler.step(optimizer)
    scaler.step(optimizer)


def _closure(lib):
    scaler, optimizer = _used(lib)
    scaler.step(optimizer, closure=lambda: 0)


def _half(lib):
    scaler, _ = _used(lib)
    param = lib.nn.Parameter(lib.ones(2, dtype=lib.float16))
    param.grad = lib.ones(2, dtype=lib.float16)
    scaler.step(lib.optim.SGD([param], 0.1))


def _no_gradient(lib):
    scaler, _ = _used(lib)
    scaler.step(lib.optim.SGD([lib.nn.Parameter(lib.ones(2))], 0.1))


ERRORS = {
    "growth": lambda lib: lib.amp.GradScaler("cpu", growth_factor=1.0),
    "backoff": lambda lib: lib.amp.GradScaler("cpu", backoff_factor=1.0),
    "unused step": lambda lib: lib.amp.GradScaler("cpu").step(
        lib.optim.SGD([lib.nn.Parameter(lib.ones(1))], 0.1)
    ),
    "unused update": lambda lib: lib.amp.GradScaler("cpu").update(),
    "update without a step": lambda lib: _used(lib)[0].update(),
    "no tensor": lambda lib: lib.amp.GradScaler("cpu").scale(3),
    "empty state": lambda lib: lib.amp.GradScaler("cpu").load_state_dict({}),
    "unscaled twice": _twice,
    "unscaled after step": _after_step,
    "stepped twice": _step_twice,
    "closure": _closure,
    "half": _half,
    "no gradient": _no_gradient,
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    found = []
    for lib in PAIR:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - compared below
            ERRORS[name](lib)
        found.append((type(caught.value).__name__, str(caught.value)[:34]))
    assert found[1] == found[0]


def test_nested_outputs():
    for lib in PAIR:
        scaler = lib.amp.GradScaler("cpu", init_scale=4.0)
        one = lib.ones(2)
        a, (b, c) = scaler.scale([one, (one, 2 * one)])
        assert [t.tolist() for t in (a, b, c)] == [[4, 4], [4, 4], [8, 8]]
        assert [t.tolist() for t in scaler.scale(t for t in (one,))] == [[4, 4]]


@pytest.mark.skipif(cupola.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("spelling", ["amp", "cuda.amp"])
def test_disabled_without_gpu(spelling):
    shown = []
    for lib in PAIR:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scaler = lib.amp.GradScaler() if spelling == "amp" else lib.cuda.amp.GradScaler()
            region = (
                lib.autocast("cuda") if spelling == "amp" else lib.cuda.amp.autocast(enabled=True)
            )
            with region:
                enabled = lib.is_autocast_enabled("cuda")
        texts = {str(w.message)[:20] for w in caught if w.category is UserWarning}
        x = lib.ones(2, requires_grad=True)
        scaler.scale(x.sum()).backward()
        optimizer = lib.optim.SGD([x], 0.5)
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        state = (scaler.is_enabled(), scaler.get_scale(), scaler.state_dict(), enabled)
        shown.append((state, texts, x.tolist()))
    assert shown[1] == shown[0]


def test_scale_is_single_precision():
    scales = []
    for lib in (torch, cupola):
        scaler, optimizer = _used(lib, init_scale=3e38, growth_interval=1, growth_factor=1.1)
        scaler.step(optimizer)
        scaler.update()
        scales.append([scaler.get_scale(), optimizer.param_groups[0]["params"][0].tolist()])
    assert scales[1] == scales[0]


def test_growth_tracker_and_out_in_a_region():
    for lib in (torch, cupola):
        assert lib.amp.GradScaler("cpu", enabled=False)._get_growth_tracker() == 0
        a, out = lib.ones(2, 2), lib.zeros(2, 2)
        with lib.autocast("cpu", dtype=lib.bfloat16):
            assert lib.mm(a, a, out=out).dtype is lib.float32 and out[0, 0] == 2
            assert lib.chain_matmul(a, a, a).dtype is lib.bfloat16
