"""Learning-rate schedules give exactly torch's numbers."""

from __future__ import annotations

import pytest

import cupola
from nn.twin import PAIR, agree

SCHEDULES = {
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5], 0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "LinearLR": lambda s, o: s.LinearLR(o, total_iters=7),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 6, 0.001),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (e + 1)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1, 3), s.CosineAnnealingLR(o, 5), s.ExponentialLR(o, 0.5)], [3, 9]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.5, 4), s.ExponentialLR(o, 0.9)]
    ),
    "chained in sequence": lambda s, o: s.SequentialLR(
        o,
        [
            s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)]),
            s.SequentialLR(o, [s.StepLR(o, 2), s.LinearLR(o, 0.1, 1, 3)], [2]),
        ],
        [40],
    ),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4, 6),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 4, mode="exp_range", gamma=0.99, cycle_momentum=False
    ),
    "warm restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, [0.5, 0.3], total_steps=20),
    "OneCycleLR three phases": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=20, three_phase=True, anneal_strategy="linear"
    ),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=1, cooldown=1, factor=0.5),
}
METRICS = [3, 2, 2, 2, 2, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9, 1, 1, 1, 1, 1, 1, 1, 1]


def curve(lib, kind, name):
    """All settings that a schedule touches, epoch by epoch; the state is saved half-way."""
    params = [lib.nn.Parameter(lib.zeros(2)), lib.nn.Parameter(lib.zeros(3))]
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.05}]
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(lib.optim, kind)(groups, lr=0.1, **options)
    schedule = SCHEDULES[name](lib.optim.lr_scheduler, optimizer)
    rows = [sorted(schedule.state_dict())]
    for epoch in range(19):
        optimizer.step()
        schedule.step(*([METRICS[epoch]] if name == "ReduceLROnPlateau" else []))
        rows.append([[g["lr"], g.get("momentum"), g.get("betas")] for g in optimizer.param_groups])
        rows.append(schedule.get_last_lr())
        if epoch == 8:
            schedule.load_state_dict(schedule.state_dict())
    return rows


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name, kind):
    expected, found = (curve(lib, kind, name) for lib in PAIR)
    assert found == expected


def test_averaged_model():
    model = cupola.nn.Linear(2, 1, bias=False)
    average = cupola.optim.swa_utils.AveragedModel(model)
    for value in (1.0, 2.0, 6.0):
        model.weight.data.fill_(value)
        average.update_parameters(model)
    assert average.module.weight.tolist() == [[3.0, 3.0]]
    assert int(average.n_averaged) == 3
    ema = cupola.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    average = cupola.optim.swa_utils.AveragedModel(model, multi_avg_fn=ema)
    for value in (1.0, 3.0):
        model.weight.data.fill_(value)
        average.update_parameters(model)
    assert average.module.weight.tolist() == [[2.0, 2.0]]


AVERAGES = {
    "equal": lambda u: {},
    "equal, many": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn()},
    "ema": lambda u: {"avg_fn": u.get_ema_avg_fn(0.9)},
    "ema, many": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.9)},
    "own": lambda u: {"avg_fn": lambda average, param, count: 0.7 * average + 0.3 * param},
}


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages_over_a_training(name, buffers):
    """Counters of batches are averaged as integers."""
    if name == "equal, many" and buffers:
        pytest.skip("torch divides no integers in one call for many tensors")
    found = []
    for lib in PAIR:
        lib.manual_seed(0)
        nn, utils = lib.nn, lib.optim.swa_utils
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
        average = utils.AveragedModel(net, use_buffers=buffers, **AVERAGES[name](utils))
        optimizer = lib.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        schedule = utils.SWALR(optimizer, 0.02, 3)
        data = lib.rand(32, 3, dtype=lib.float64)
        for step in range(12):
            optimizer.zero_grad()
            (net(data[step % 4 * 8 :][:8]) ** 2).mean().backward()
            optimizer.step()
            if step > 4:
                average.update_parameters(net)
                schedule.step()
        states = [{k: v.clone() for k, v in average.state_dict().items()}]
        utils.update_bn([data[:16], data[16:]], average)
        found.append([*states, dict(average.state_dict()), average(data)])
    agree(*found)
