"""Every optimizer, step for step beside torch's, with a state dict in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from nn.twin import PAIR, given, seed, values

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True, "foreach": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "eps": 1e-4}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.3, "fused": False}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adamax", {"maximize": True}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02}),
    ("ASGD", {"t0": 5, "lambd": 0.01}),
    ("Rprop", {}),
    ("Adafactor", {"weight_decay": 0.1}),
]  # fmt: skip


def prepare(lib, bias=True):
    """A small network, and a function that leaves its gradients for one batch."""
    net = lib.nn.Sequential(
        lib.nn.Linear(6, 8, bias=bias), lib.nn.Tanh(), lib.nn.Linear(8, 3, bias=bias)
    )
    rng = np.random.default_rng(0)
    batches = rng.standard_normal((20, 5, 9)).astype(np.float32)

    def pull(step):
        batch = given(batches[step], lib)
        net.zero_grad()
        loss = ((net(batch[:, :6]) - batch[:, 6:]) ** 2).mean()
        loss.backward()
        return loss

    return net, pull


@pytest.mark.parametrize("name, options", OPTIMIZERS, ids=lambda value: str(value)[:60])
def test_step_for_step(name, options):
    seed()
    twins = []
    for lib in PAIR:
        net, pull = prepare(lib)
        groups = [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 0.03}]
        twins.append([net, pull, getattr(lib.optim, name)(groups, **options)])
    assert repr(twins[1][2]) == repr(twins[0][2])
    for step in range(20):
        losses = [pull(step).item() for _, pull, _ in twins]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
        for _, _, optimizer in twins:
            optimizer.step()
        if step == 9:
            theirs, ours = (optimizer.state_dict() for _, _, optimizer in twins)
            same_state(theirs, ours)
            net = twins[1][0]
            groups = [{"params": net[0].parameters()}, {"params": net[2].parameters()}]
            twins[1][2] = getattr(cupola.optim, name)(groups, **options)
            twins[1][2].load_state_dict(ours)
    for a, b in zip(twins[0][0].parameters(), twins[1][0].parameters(), strict=True):
        np.testing.assert_allclose(values(b), values(a), rtol=1e-3, atol=1e-4)


def same_state(theirs, ours):
    assert ours["param_groups"] == theirs["param_groups"]
    assert list(ours["state"]) == list(theirs["state"])
    for number, state in theirs["state"].items():
        assert list(ours["state"][number]) == list(state)
        for key, value in state.items():
            found = ours["state"][number][key]
            if not isinstance(value, torch.Tensor):
                assert found == value
                continue
            assert str(found.dtype) == str(value.dtype)
            np.testing.assert_allclose(values(found), values(value), rtol=1e-2, atol=1e-4)


def test_muon_follows_torch_as_closely_as_bfloat16_allows():
    seed()
    twins = []
    for lib in PAIR:
        net, pull = prepare(lib, bias=False)
        twins.append((net, pull, lib.optim.Muon(net.parameters(), lr=0.01)))
    for step in range(5):
        for _, pull, optimizer in twins:
            pull(step)
            optimizer.step()
    for a, b in zip(twins[0][0].parameters(), twins[1][0].parameters(), strict=True):
        np.testing.assert_allclose(values(b), values(a), atol=5e-3)


@pytest.mark.parametrize("options", [{}, {"line_search_fn": "strong_wolfe"}, {"history_size": 2}])
def test_lbfgs(options):
    seed()
    found = []
    for lib in PAIR:
        net, _ = prepare(lib)
        net = net.double()
        batch = given(np.random.default_rng(1).standard_normal((5, 9)), lib)
        optimizer = lib.optim.LBFGS(net.parameters(), max_iter=8, **options)

        def closure(net=net, batch=batch, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((net(batch[:, :6]) - batch[:, 6:]) ** 2).mean()
            loss.backward()
            return loss

        found.append([optimizer.step(closure).item() for _ in range(3)])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_hooks_run_around_steps():
    for lib in PAIR:
        net, pull = prepare(lib)
        optimizer, seen = lib.optim.SGD(net.parameters(), lr=0.1), []
        optimizer.register_step_pre_hook(lambda o, args, kwargs, seen=seen: seen.append("before"))
        optimizer.register_step_post_hook(lambda o, args, kwargs, seen=seen: seen.append("after"))
        pull(0)
        optimizer.step()
        assert seen == ["before", "after"]


ERRORS = {
    "tensor": lambda lib: lib.optim.SGD(lib.zeros(2), lr=0.1),
    "empty": lambda lib: lib.optim.SGD([], lr=0.1),
    "not leaf": lambda lib: lib.optim.SGD([lib.ones(2, requires_grad=True) * 2], lr=0.1),
    "rate": lambda lib: lib.optim.SGD([lib.zeros(2)], lr=-1),
    "betas": lambda lib: lib.optim.Adam([lib.zeros(2)], betas=(1.0, 0.9)),
    "nesterov": lambda lib: lib.optim.SGD([lib.zeros(2)], lr=0.1, nesterov=True),
    "twice": lambda lib: (lambda p: lib.optim.SGD([{"params": p}, {"params": p}], lr=0.1))(
        [lib.zeros(2)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    raised = []
    for lib in PAIR:
        with pytest.raises((ValueError, TypeError)) as caught:
            ERRORS[name](lib)
        raised.append(caught.type)
    assert raised[0] is raised[1]


def test_sparse_adam_leaves_other_rows_alone():
    """Dense values stand for sparse gradients: rows of zeros were not given."""
    start = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    moved = []
    for lib in PAIR:
        p = lib.nn.Parameter(lib.from_numpy(start.copy()))
        optimizer = lib.optim.SparseAdam([p], lr=0.1)
        for row in (1, 3, 1):
            grad = lib.zeros(4, 3)
            grad[row] = 2.0
            p.grad = grad.to_sparse()
            optimizer.step()
        moved.append(p.detach().numpy())
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-6)


def test_running_statistics_do_not_pile_up():
    """What a step leaves behind is computed: the recorded programs stay as large as one step."""
    norm = cupola.nn.BatchNorm1d(3)
    optimizer = cupola.optim.SGD(norm.parameters(), lr=0.1)
    for _ in range(4):
        norm(cupola.rand(5, 3)).sum().backward()
        optimizer.step()
        assert norm.running_mean.node.value is not None
        assert norm.num_batches_tracked.node.value is not None
