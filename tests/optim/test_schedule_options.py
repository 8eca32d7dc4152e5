"""Schedules over 60 steps with torch's numbers, warnings, saved states and errors, by options."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch

import cupola
from nn.twin import PAIR

STEPS = 60


class Decay:
    """A callable with a state of its own, which is saved."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


SCHEDULES = {
    "LambdaLR(function)": lambda s, o: s.LambdaLR(o, lambda e: 1 / (1 + e)),
    "LambdaLR(object)": lambda s, o: s.LambdaLR(o, [Decay(0.9), Decay(0.8)]),
    "MultiplicativeLR(object)": lambda s, o: s.MultiplicativeLR(o, Decay(0.99)),
    "MultiplicativeLR(list)": lambda s, o: s.MultiplicativeLR(
        o, [lambda e: 0.9, lambda e: 1.0 + 1 / e]
    ),
    "StepLR(1)": lambda s, o: s.StepLR(o, 1),
    "StepLR(7)": lambda s, o: s.StepLR(o, step_size=7, gamma=0.7),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [40, 5, 5, 17], gamma=0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=30),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.7, total_iters=40),
    "LinearLR(down)": lambda s, o: s.LinearLR(o, 1.0, 0.0, total_iters=50),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, gamma=0.97),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=45, power=0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, T_max=17, eta_min=1e-4),
    "CosineAnnealingLR(1)": lambda s, o: s.CosineAnnealingLR(o, T_max=1),
    "WarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
    "WarmRestarts(2)": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2, eta_min=1e-3),
    "CyclicLR": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], 7, 4),
    "CyclicLR(triangular2)": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 5, mode="triangular2"),
    "CyclicLR(exp_range)": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 5, mode="exp_range", gamma=0.98, base_momentum=[0.7, 0.6], max_momentum=0.95
    ),
    "CyclicLR(scale_fn)": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 5, scale_fn=Decay(0.9), scale_mode="iterations", cycle_momentum=False
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=70),
    "OneCycleLR(epochs)": lambda s, o: s.OneCycleLR(
        o, [0.5, 1.0], epochs=8, steps_per_epoch=8, pct_start=0.4, div_factor=10
    ),
    "OneCycleLR(linear, three)": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=61, anneal_strategy="linear", three_phase=True, final_div_factor=100
    ),
    "OneCycleLR(no momentum)": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=61, cycle_momentum=False
    ),
    "OneCycleLR(momenta)": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=61, base_momentum=[0.7, 0.8], max_momentum=[0.9, 0.99]
    ),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.01, 1, 10), s.CosineAnnealingLR(o, 30), s.StepLR(o, 4)], [10, 40]
    ),
    "SequentialLR(restarts)": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 5), s.CosineAnnealingWarmRestarts(o, 5, 2)], [5]
    ),
    "SequentialLR(of chained)": lambda s, o: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.1), s.SequentialLR(o, [s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], [9])],
        [6],
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.1, 1, 10), s.ExponentialLR(o, 0.95), s.MultiStepLR(o, [30])], optimizer=o
    ),
    "Plateau": lambda s, o: s.ReduceLROnPlateau(o, patience=2, factor=0.5, cooldown=2),
    "Plateau(max)": lambda s, o: s.ReduceLROnPlateau(o, "max", 0.3, 1, min_lr=[1e-3, 1e-2]),
    "Plateau(abs)": lambda s, o: s.ReduceLROnPlateau(
        o, factor=0.9, patience=0, threshold=0.05, threshold_mode="abs", eps=1e-3
    ),
    "Plateau(max, abs)": lambda s, o: s.ReduceLROnPlateau(
        o, "max", patience=3, threshold=0.01, threshold_mode="abs", min_lr=0.01
    ),
    "SWALR": lambda s, o: s.SWALR(o, swa_lr=0.05, anneal_epochs=20),
    "SWALR(linear)": lambda s, o: s.SWALR(
        o, swa_lr=[0.05, 0.5], anneal_epochs=11, anneal_strategy="linear"
    ),
    "SWALR(0)": lambda s, o: s.SWALR(o, swa_lr=0.05, anneal_epochs=0),
}
OPTIMIZERS = {
    "SGD": {"momentum": 0.9},
    "Adam": {},
    "AdamW": {"betas": (0.8, 0.95)},
    "RMSprop": {"momentum": 0.5},
    "Adagrad": {},
    "SGD(tensor)": {"momentum": 0.9},
}


class Space:
    """lr_scheduler's names and SWALR, of one library."""

    def __init__(self, lib):
        self.lib = lib

    def __getattr__(self, name):
        known = vars(self.lib.optim.lr_scheduler)
        return known[name] if name in known else getattr(self.lib.optim.swa_utils, name)


def _plain(value):
    """Comparable between the libraries."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in sorted(value.items()) if key[0] != "_" or key in KEPT}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, int | float | str | bool | None) else type(value).__name__


KEPT = ("_last_lr", "_step_count", "_schedulers", "_milestones")


def build(lib, kind, name):
    params = [lib.nn.Parameter(lib.zeros(2)), lib.nn.Parameter(lib.zeros(3))]
    rate = lib.tensor(0.1, dtype=lib.float64) if "tensor" in kind else 0.1
    second = lib.tensor(0.05, dtype=lib.float64) if "tensor" in kind else 0.05
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": second}]
    optimizer = getattr(lib.optim, kind.split("(")[0])(groups, lr=rate, **OPTIMIZERS[kind])
    return optimizer, SCHEDULES[name](Space(lib), optimizer)


def curve(lib, kind, name):
    """Everything that a schedule shows, step by step; begun anew from a saved state half-way."""
    rows = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer, schedule = build(lib, kind, name)
        rows.append(_plain(schedule.state_dict()))
        for step in range(STEPS):
            optimizer.step()
            metric = [math.cos(step / 9) + step / 50] if name.startswith("Plateau") else []
            schedule.step(*metric)
            keys = ("lr", "initial_lr", "momentum", "betas", "max_lr", "min_lr")
            rows.append([[_plain(g.get(k)) for k in keys] for g in optimizer.param_groups])
            rows.append(_plain(schedule.get_last_lr()))
            if step == 31:
                saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
                optimizer, schedule = build(lib, kind, name)
                optimizer.load_state_dict(saved[0])
                schedule.load_state_dict(saved[1])
        rows.append(_plain(schedule.state_dict()))
    return rows, [(w.category.__name__, str(w.message)[:40]) for w in caught]


def same(found, expected):
    """Equal, or for tensors as rates, as close as their arithmetic allows."""
    if isinstance(expected, float) and isinstance(found, float):
        return found == expected or math.isclose(found, expected, rel_tol=1e-12)
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, dict) and isinstance(found, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    return found == expected


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_curve(name, kind):
    try:
        expected, expected_warnings = curve(torch, kind, name)
    except Exception as error:
        with pytest.raises(Exception) as caught:
            curve(cupola, kind, name)
        assert type(caught.value).__name__ == type(error).__name__
        assert str(caught.value) == str(error)
        return
    found, found_warnings = curve(cupola, kind, name)
    if "tensor" in kind:
        assert same(found, expected)
    else:
        assert found == expected
    assert found_warnings == expected_warnings


def _sgd(lib, groups=1, **options):
    params = [{"params": [lib.nn.Parameter(lib.zeros(2))]} for _ in range(groups)]
    return lib.optim.SGD(params, lr=0.1, **options)


def _resumed(s, name, *rest):
    optimizer = _sgd(s.lib, momentum=0.9)
    return getattr(s, name)(optimizer, *rest, last_epoch=3)


def _late_group(s):
    optimizer = _sgd(s.lib)
    schedule = s.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0])
    optimizer.add_param_group({"params": [s.lib.nn.Parameter(s.lib.zeros(1))]})
    schedule.step(1.0)
    schedule.step(1.0)


def _too_far(s):
    optimizer = _sgd(s.lib, momentum=0.9)
    schedule = s.OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(4):
        optimizer.step()
        schedule.step()


ERRORS = {
    "no optimizer": lambda s: s.StepLR(3, 1),
    "cyclic, no optimizer": lambda s: s.CyclicLR(3, 1, 2),
    "onecycle, no optimizer": lambda s: s.OneCycleLR(3, 1, 2),
    "plateau, no optimizer": lambda s: s.ReduceLROnPlateau(3),
    "verbose": lambda s: s.StepLR(_sgd(s.lib), 1, verbose=True),
    "plateau, verbose": lambda s: s.ReduceLROnPlateau(_sgd(s.lib), verbose=True),
    "resumed": lambda s: _resumed(s, "StepLR", 1),
    "resumed cyclic": lambda s: _resumed(s, "CyclicLR", 0.1, 0.2),
    "resumed onecycle": lambda s: _resumed(s, "OneCycleLR", 0.1, 20),
    "lambdas": lambda s: s.LambdaLR(_sgd(s.lib), [abs, abs]),
    "multiplicative": lambda s: s.MultiplicativeLR(_sgd(s.lib), [abs, abs]),
    "constant": lambda s: s.ConstantLR(_sgd(s.lib), 1.5),
    "linear start": lambda s: s.LinearLR(_sgd(s.lib), 0),
    "linear end": lambda s: s.LinearLR(_sgd(s.lib), 0.5, 2),
    "sequential none": lambda s: s.SequentialLR(_sgd(s.lib), [], []),
    "sequential count": lambda s: (
        lambda o: s.SequentialLR(o, [s.StepLR(o, 1), s.StepLR(o, 1)], [1, 2])
    )(_sgd(s.lib)),
    "sequential other": lambda s: s.SequentialLR(
        _sgd(s.lib), [s.StepLR(_sgd(s.lib), 1), s.StepLR(_sgd(s.lib), 1)], [1]
    ),
    "sequential plateau": lambda s: (
        lambda o: s.SequentialLR(o, [s.StepLR(o, 1), s.ReduceLROnPlateau(o)], [1])
    )(_sgd(s.lib)),
    "sequential no scheduler": lambda s: s.SequentialLR(_sgd(s.lib), [3, 4], [1]),
    "chained none": lambda s: s.ChainedScheduler([]),
    "chained other": lambda s: s.ChainedScheduler(
        [s.StepLR(_sgd(s.lib), 1), s.StepLR(_sgd(s.lib), 1)]
    ),
    "chained plateau": lambda s: (
        lambda o: s.ChainedScheduler([s.StepLR(o, 1), s.ReduceLROnPlateau(o)])
    )(_sgd(s.lib)),
    "chained no scheduler": lambda s: s.ChainedScheduler([3]),
    "plateau factor": lambda s: s.ReduceLROnPlateau(_sgd(s.lib), factor=1.0),
    "plateau mode": lambda s: s.ReduceLROnPlateau(_sgd(s.lib), mode="least"),
    "plateau threshold mode": lambda s: s.ReduceLROnPlateau(_sgd(s.lib), threshold_mode="x"),
    "plateau min_lr": lambda s: s.ReduceLROnPlateau(_sgd(s.lib), min_lr=[1, 2]),
    "plateau group": _late_group,
    "plateau no metric": lambda s: s.ReduceLROnPlateau(_sgd(s.lib)).step(),
    "cyclic mode": lambda s: s.CyclicLR(_sgd(s.lib, momentum=0.9), 0.1, 0.2, mode="x"),
    "cyclic rates": lambda s: s.CyclicLR(_sgd(s.lib, momentum=0.9), [0.1, 0.2], 0.2),
    "cyclic max": lambda s: s.CyclicLR(_sgd(s.lib, momentum=0.9), 0.1, [0.1, 0.2]),
    "cyclic momentum": lambda s: s.CyclicLR(s.lib.optim.Adagrad([s.lib.zeros(1)]), 0.1, 0.2),
    "onecycle steps": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1),
    "onecycle total": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1, total_steps=0),
    "onecycle float": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1, total_steps=1.5),
    "onecycle epochs": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1, epochs=0, steps_per_epoch=3),
    "onecycle per epoch": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1, epochs=2, steps_per_epoch=0),
    "onecycle start": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1, 9, pct_start=2),
    "onecycle strategy": lambda s: s.OneCycleLR(_sgd(s.lib), 0.1, 9, anneal_strategy="x"),
    "onecycle momentum": lambda s: s.OneCycleLR(s.lib.optim.Adagrad([s.lib.zeros(1)]), 0.1, 9),
    "onecycle rates": lambda s: s.OneCycleLR(_sgd(s.lib, momentum=0.9), [0.1, 0.2], 9),
    "onecycle too far": _too_far,
    "restarts T_0": lambda s: s.CosineAnnealingWarmRestarts(_sgd(s.lib), 0),
    "restarts T_mult": lambda s: s.CosineAnnealingWarmRestarts(_sgd(s.lib), 1, 0),
    "restarts eta_min": lambda s: s.CosineAnnealingWarmRestarts(_sgd(s.lib), 1, 1, "x"),
    "restarts epoch": lambda s: s.CosineAnnealingWarmRestarts(_sgd(s.lib), 1).step(-1),
    "swalr count": lambda s: s.SWALR(_sgd(s.lib), [1, 2]),
    "swalr strategy": lambda s: s.SWALR(_sgd(s.lib), 1, anneal_strategy="x"),
    "swalr epochs": lambda s: s.SWALR(_sgd(s.lib), 1, anneal_epochs=-1),
    "base": lambda s: s.LRScheduler(_sgd(s.lib)),
    "no milestones": lambda s: s.MultiStepLR(_sgd(s.lib), 3),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.filterwarnings("ignore")
def test_error(name):
    errors = []
    for lib in (torch, cupola):
        try:
            ERRORS[name](Space(lib))
            errors.append(None)
        except Exception as error:
            errors.append((type(error).__name__, str(error)[:60]))
    assert errors[1] == errors[0]
    assert errors[0] is not None


def _warned(lib, action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer = _sgd(lib)
        action(Space(lib), optimizer)
    rates = [_plain(group["lr"]) for group in optimizer.param_groups]
    return rates, [(w.category.__name__, str(w.message)[:40]) for w in caught]


def _jumps(name, *rest):
    def action(s, optimizer):
        schedule = getattr(s, name)(optimizer, *rest)
        optimizer.step()
        for epoch in (1, 5, 2, 9):
            schedule.step(epoch)

    return action


def _overridden(s, optimizer):
    schedule = s.StepLR(optimizer, 1)
    optimizer.step = lambda: None
    schedule.step()


WARNINGS = {
    "order": lambda s, o: s.StepLR(o, 1).step(),
    "overridden": _overridden,
    "get_lr": lambda s, o: s.ExponentialLR(o, 0.9).get_lr(),
    "plateau epoch": lambda s, o: s.ReduceLROnPlateau(o).step(1.0, 3),
    "StepLR": _jumps("StepLR", 2),
    "MultiStepLR": _jumps("MultiStepLR", [2, 4]),
    "ConstantLR": _jumps("ConstantLR", 0.5, 3),
    "LinearLR": _jumps("LinearLR", 0.5, 1.0, 7),
    "ExponentialLR": _jumps("ExponentialLR", 0.9),
    "PolynomialLR": _jumps("PolynomialLR", 8, 2.0),
    "CosineAnnealingLR": _jumps("CosineAnnealingLR", 6),
    "LambdaLR": _jumps("LambdaLR", lambda e: 0.9**e),
    "CosineAnnealingWarmRestarts": _jumps("CosineAnnealingWarmRestarts", 3, 2),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warning(name):
    expected, found = (_warned(lib, WARNINGS[name]) for lib in PAIR)
    assert found == expected


def test_fractions_of_epochs():
    def run(lib):
        optimizer = _sgd(lib)
        schedule = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2)
        rates = []
        for epoch in range(20):
            for i in range(3):
                schedule.step(epoch + i / 3)
                rates.append(schedule.get_last_lr())
        return rates

    assert run(cupola) == run(torch)


def test_every_public_schedule_is_compared():
    used = {name.split("(")[0].split()[0] for name in SCHEDULES}
    used |= {"ReduceLROnPlateau", "CosineAnnealingWarmRestarts", "LRScheduler"}
    assert set(torch.optim.lr_scheduler.__all__) <= used
    assert set(torch.optim.lr_scheduler.__all__) <= set(cupola.optim.lr_scheduler.__all__)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_momenta_of_a_cycle_belong_to_the_groups(kind):
    """The optimizer's state carries the bounds; a step reads the schedule's own."""
    seen = []
    for m in (torch, cupola):
        options = {"momentum": 0.9} if kind == "SGD" else {}
        optimizer = getattr(m.optim, kind)([m.nn.Parameter(m.ones(2))], lr=0.5, **options)
        schedule = m.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.4, 4)
        (group,) = optimizer.state_dict()["param_groups"]
        optimizer.param_groups[0]["max_momentum"] = 0.95
        optimizer.step()
        schedule.step()
        (after,) = optimizer.state_dict()["param_groups"]
        seen.append((group, after))
    assert seen[0] == seen[1]
    assert seen[0][0]["base_momentum"] == 0.8
