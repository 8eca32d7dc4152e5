"""The modules that a program is in, forward and backward, are torch's."""

from __future__ import annotations

import importlib

import pytest

from nn.twin import PAIR


def _seen(m, asked):
    """What a tracker says inside calls, in hooks of gradients, between the passes and after."""
    tracker = importlib.import_module(f"{m.__name__}.utils.module_tracker").ModuleTracker()
    seen = []

    def note(*_):
        seen.append((sorted(tracker.parents), tracker.is_bw))

    class Net(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = m.nn.Linear(2, 2)
            self.rest = m.nn.Sequential(m.nn.Linear(2, 2), m.nn.ReLU())

        def forward(self, x):
            note()
            x = self.first(x)
            x.register_hook(note)
            y = self.rest(x)
            y.register_hook(note)
            return y

    net = Net()
    net.rest[0].register_forward_pre_hook(note)
    with tracker:
        for _ in range(2):
            y = net(m.ones(1, 2, requires_grad=asked))
            note()
            y.sum().backward()
            note()
    return seen


@pytest.mark.parametrize("asked", [True, False])
def test_parents(asked):
    """Parameters alone, or the input too, ask for gradients."""
    theirs, ours = (_seen(m, asked) for m in PAIR)
    assert ours == theirs
    assert ours[0] == (["Global", "Net"], False)
    assert ours[2] == ours[5] == (["Global"], False)
    assert all(backward for _, backward in ours[3:5])
