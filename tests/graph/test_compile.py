"""Captured calls give what recorded ones give, and notice when they no longer hold."""

import copy

import numpy as np
import pytest

import cupola
from cupola import nn
from cupola.nn import functional as F


def _network():
    cupola.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def _close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def test_replays_follow_inputs_weights_and_modes():
    model = _network().eval()
    compiled = cupola.compile(model)
    assert list(compiled.state_dict()) == ["_orig_mod." + k for k in model.state_dict()]
    with cupola.no_grad():
        for k in range(8):
            x = cupola.randn(2 + k % 2, 3, 8, 8)
            _close(compiled(x), model(x))
            if k == 3:
                model[0].weight.mul_(1.5)
            if k == 5:
                model[1].running_mean.add_(0.25)
        assert not compiled._replayed.reason
        compiled.train()
        twin = copy.deepcopy(model)
        x = cupola.randn(4, 3, 8, 8)
        _close(compiled(x), twin(x))
        _close(compiled(x), twin(x))
        _close(model[1].running_mean, twin[1].running_mean)


def test_gradients_flow_through_a_compiled_module():
    model = _network()
    twin = copy.deepcopy(model)
    compiled = cupola.compile(model)
    for _ in range(2):
        x = cupola.randn(4, 3, 8, 8)
        compiled(x).square().sum().backward()
        twin(x).square().sum().backward()
    _close(model[0].weight.grad, twin[0].weight.grad, 1e-4)


def _training(make, compiled):
    model = _network()
    optimizer = make(model.parameters())
    schedule = cupola.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    call = cupola.compile(step) if compiled else step
    held = []
    losses = []
    cupola.manual_seed(1)
    for k in range(9):
        x, y = cupola.randn(4, 3, 8, 8), cupola.randint(0, 4, (4,))
        losses.append(call(x, y).item())
        schedule.step()
        if k == 5:
            weight = model[4].weight
            held = [weight.detach().clone(), weight * 2, weight.grad, weight.detach()]
    return call, model, losses, held


@pytest.mark.parametrize(
    "make",
    [
        lambda p: cupola.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-3),
        lambda p: cupola.optim.AdamW(p, 0.01),
    ],
    ids=["sgd", "adamw"],
)
def test_a_training_step_is_replayed(make):
    _, model, losses, held = _training(make, compiled=False)
    call, twin, again, kept = _training(make, compiled=True)
    assert not call.reason and call._entries
    np.testing.assert_allclose(again, losses, rtol=1e-4)
    for a, b in zip(twin.parameters(), model.parameters(), strict=True):
        _close(a, b, 1e-4)
    _close(twin[1].running_var, model[1].running_var, 1e-4)
    for a, b in zip(kept, held, strict=True):
        _close(a, b, 1e-4)


def test_step_counts_survive_in_the_state():
    call, model, _, _ = _training(lambda p: cupola.optim.Adam(p, 0.01), compiled=True)
    optimizer = call.function.__closure__
    states = [c.cell_contents for c in optimizer if hasattr(c.cell_contents, "param_groups")]
    assert {s["step"] for s in states[0].state.values()} == {9.0}
    del model


def test_what_cannot_be_replayed_runs_as_it_is():
    dropout = cupola.compile(lambda x: F.dropout(x, 0.5))
    a, b = dropout(cupola.ones(64)), dropout(cupola.ones(64))
    assert not bool((a == b).all())
    assert "random" in dropout.reason

    branch = cupola.compile(lambda x: x * 2 if x.sum() > 0 else x)
    assert branch(cupola.ones(2)).tolist() == [2.0, 2.0]
    assert branch(-cupola.ones(2)).tolist() == [-1.0, -1.0]
    assert "observes" in branch.reason

    hidden = [[[[cupola.ones(2)]]]]
    deep = cupola.compile(lambda x: x + hidden[0][0][0][0])
    assert deep(cupola.ones(2)).tolist() == [2.0, 2.0]
    hidden[0][0][0][0].add_(1)
    assert deep(cupola.ones(2)).tolist() == [3.0, 3.0]


def test_numbers_and_tensors_of_the_surroundings_are_read_anew():
    scale = 2.0
    table = {"shift": cupola.zeros(2)}

    def function(x):
        return x * scale + table["shift"]

    compiled = cupola.compile(function)
    for _ in range(3):
        assert compiled(cupola.ones(2)).tolist() == [2.0, 2.0]
    scale = 3.0
    assert compiled(cupola.ones(2)).tolist() == [3.0, 3.0]
    table["shift"].add_(1)
    assert compiled(cupola.ones(2)).tolist() == [4.0, 4.0]
    table["shift"] = cupola.full((2,), 5.0)
    assert compiled(cupola.ones(2)).tolist() == [8.0, 8.0]


def test_results_are_rebuilt_as_they_were():
    compiled = cupola.compile(lambda x, *, k: {"a": x + k, "b": (x, [x * k, k])})
    for _ in range(3):
        x = cupola.arange(3.0)
        out = compiled(x, k=2)
        assert out["b"][0] is x and out["b"][1][1] == 2
        assert out["a"].tolist() == [2.0, 3.0, 4.0]
        assert out["b"][1][0].tolist() == [0.0, 2.0, 4.0]


def test_writes_into_arguments_reach_memory_shared_with_numpy():
    array = np.zeros(3, np.float32)
    write = cupola.compile(lambda x: x.add_(1))
    for _ in range(3):
        write(cupola.from_numpy(array))
    assert array.tolist() == [3.0, 3.0, 3.0]


def _epochs(compiled):
    """Losses of a training whose epochs end with a smaller batch, and with an average of weights
    swapped in and a checkpoint loaded between them."""
    model = _network()
    optimizer = cupola.optim.AdamW(model.parameters(), 0.01)

    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    call = cupola.compile(step) if compiled else step
    losses, held, entries = [], [], []
    cupola.manual_seed(1)
    for epoch in range(6):
        for size in (4, 4, 2):
            x, y = cupola.randn(size, 3, 8, 8), cupola.randint(0, 4, (size,))
            losses.append(call(x, y).item())
            if epoch > 2:
                weight = model[4].weight
                held += [weight.detach(), weight * 2, weight.grad]
        if epoch == 1:
            saved = copy.deepcopy(model.state_dict())
        if epoch == 3:
            model.load_state_dict(saved)
        if epoch == 4:
            with cupola.no_grad():
                for p in model.parameters():
                    p.lerp_(cupola.ones_like(p), 0.01)
        entries.append(list(call._entries.values()) if compiled else [])
    # Aliases follow the weight; what was computed from it does not.
    return losses, held, entries


def test_entries_take_over_what_others_wrote():
    losses, held, _ = _epochs(compiled=False)
    again, kept, entries = _epochs(compiled=True)
    np.testing.assert_allclose(again, losses, rtol=1e-4)
    for a, b in zip(kept, held, strict=True):
        _close(a, b, 1e-4)
    assert len(entries[-1]) == 2
    assert entries[-1] == entries[1]  # nothing was traced again after the first two epochs
