"""Pruning beside torch's: masks, outputs, gradients, saved names and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.utils.prune

import cupola

X = np.random.default_rng(1).standard_normal((2, 6)).astype(np.float32)
WAYS = {
    "l1": lambda p, a, b: p.l1_unstructured(a, "weight", 0.4),
    "l1 number": lambda p, a, b: p.l1_unstructured(a, "weight", 7),
    "random": lambda p, a, b: p.random_unstructured(a, "weight", 0.3),
    "ln": lambda p, a, b: p.ln_structured(a, "weight", 0.5, n=2, dim=0),
    "ln columns": lambda p, a, b: p.ln_structured(a, "weight", 2, n=1, dim=1),
    "random rows": lambda p, a, b: p.random_structured(a, "weight", 2, dim=0),
    "identity": lambda p, a, b: p.identity(a, "bias"),
    "global": lambda p, a, b: p.global_unstructured(
        [(a, "weight"), (b, "weight"), (b, "bias")], pruning_method=p.L1Unstructured, amount=0.35
    ),
    "twice": lambda p, a, b: p.ln_structured(
        p.l1_unstructured(a, "weight", 0.3), "weight", 0.5, n=2, dim=0
    ),
    "three times": lambda p, a, b: p.l1_unstructured(
        p.l1_unstructured(p.ln_structured(a, "weight", 2, n=2, dim=1), "weight", 0.2), "weight", 3
    ),
}


def outcome(m, way, removed):
    rng = np.random.default_rng(0)
    a, b = m.nn.Linear(6, 5), m.nn.Linear(5, 3)
    net = m.nn.Sequential(a, m.nn.Tanh(), b)
    with m.no_grad():
        for p in net.parameters():
            p.copy_(m.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32)))
    m.manual_seed(5)
    prune = m.nn.utils.prune
    way(prune, a, b)
    assert prune.is_pruned(net)
    y = net(m.from_numpy(X))
    y.sum().backward()
    found = {f"grad {n}": p.grad for n, p in net.named_parameters()}
    if removed:
        for layer in (a, b):
            for name in ("weight", "bias"):
                if hasattr(layer, name + "_mask"):
                    prune.remove(layer, name)
        assert not prune.is_pruned(net)
        found["after"] = net(m.from_numpy(X))
    found |= {"y": y, **net.state_dict()}
    return {k: v.detach().numpy() for k, v in found.items()}


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("name", WAYS)
def test_ways(name, removed):
    """The same entries are pruned, and the names in a checkpoint are the same."""
    want, got = (outcome(m, WAYS[name], removed) for m in (torch, cupola))
    assert list(want) == list(got)
    for key in want:
        np.testing.assert_allclose(got[key], want[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_own_method():
    """A class of one's own derives from BasePruningMethod."""

    def program(m):
        class Every(m.nn.utils.prune.BasePruningMethod):
            def compute_mask(self, t, default_mask):
                mask = default_mask.clone()
                mask.view(-1)[::2] = 0
                return mask

        layer = m.nn.Linear(3, 2)
        with m.no_grad():
            layer.weight.fill_(2.0)
        Every.apply(layer, "weight")
        return layer.weight.detach().numpy(), Every().prune(m.ones(2, 3)).numpy()

    for want, got in zip(program(torch), program(cupola), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "call",
    [
        lambda p, layer: p.l1_unstructured(layer, "weight", 1.5),
        lambda p, layer: p.l1_unstructured(layer, "weight", 1000),
        lambda p, layer: p.random_unstructured(layer, "weight", "half"),
        lambda p, layer: p.ln_structured(layer, "bias", 0.5, n=2, dim=0),
        lambda p, layer: p.ln_structured(layer, "weight", 0.5, n=2, dim=2),
        lambda p, layer: p.remove(layer, "weight"),
    ],
)
def test_errors(call):
    """What torch refuses is refused with its class of error."""
    kinds = []
    for m in (torch, cupola):
        with pytest.raises(Exception) as error:
            call(m.nn.utils.prune, m.nn.Linear(4, 3))
        kinds.append(type(error.value))
    assert kinds[0] is kinds[1]
