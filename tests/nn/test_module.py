"""``nn.Module``: registration, state, hooks, copies; results and messages are torch's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import cupola
from nn.twin import PAIR, seed, values


def network(lib):
    """A module with a parameter, buffers of both kinds and nested modules."""

    class Net(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = lib.nn.Linear(3, 4)
            self.b = lib.nn.Sequential(lib.nn.Linear(4, 2), lib.nn.ReLU())
            self.register_buffer("buf", lib.ones(2))
            self.register_buffer("tmp", lib.ones(2), persistent=False)
            self.p = lib.nn.Parameter(lib.zeros(2))

        def forward(self, x):
            return self.b(self.a(x)) * self.buf + self.p

    return Net()


def outcome(function, module, lib):
    """What a function returns or raises, as text without the library's name."""
    try:
        result = repr(function(module, lib))
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    return result.replace("torch", "cupola")


def edited(lib, module, strict=True):
    state = module.state_dict()
    state["zzz"] = state["a.yyy"] = lib.zeros(1)
    del state["p"]
    if strict:
        state["a.weight"] = lib.zeros(2, 2)
    return module.load_state_dict(state, strict=strict)


def hooked(module, lib):
    """Everything that hooks see in one forward and backward pass."""
    seen = []

    def total(grads):
        return [None if g is None else round(float(g.abs().sum()), 3) for g in grads]

    module.zero_grad()
    handles = [
        module.register_forward_pre_hook(lambda m, args: seen.append("before")),
        module.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape))),
        module.a.register_full_backward_hook(lambda m, gi, go: seen.append([total(gi), total(go)])),
        module.b.register_full_backward_hook(lambda m, gi, go: tuple(g * 2 for g in gi)),
        module.a.register_full_backward_pre_hook(lambda m, go: seen.append(total(go))),
        module.register_forward_hook(lambda m, args, kw, out: out * 2, with_kwargs=True),
    ]
    module(lib.ones(5, 3)).sum().backward()
    seen.append(total(p.grad for p in module.parameters()))
    leaf = lib.ones(5, 3, requires_grad=True)
    module(leaf).sum().backward()
    seen.append(total([leaf.grad]))
    for handle in handles:
        handle.remove()
    module(lib.ones(5, 3))
    return seen


CASES = {
    "names": lambda m, lib: [
        [name for name, _ in pairs]
        for pairs in (m.named_parameters(), m.named_buffers(), m.named_modules())
    ],
    "repr": lambda m, lib: m,
    "keys": lambda m, lib: list(m.state_dict(prefix="x.")),
    "metadata": lambda m, lib: dict(m.state_dict()._metadata),
    "strict": lambda m, lib: edited(lib, m),
    "not strict": lambda m, lib: edited(lib, m, strict=False),
    "assign": lambda m, lib: m.load_state_dict(m.state_dict(), assign=True),
    "missing attribute": lambda m, lib: m.nope,
    "tensor as parameter": lambda m, lib: setattr(m, "p", lib.zeros(2)),
    "number as module": lambda m, lib: setattr(m, "a", 3),
    "number as buffer": lambda m, lib: setattr(m, "buf", 3),
    "taken name": lambda m, lib: m.register_buffer("a", lib.zeros(1)),
    "dotted name": lambda m, lib: m.register_parameter("x.y", None),
    "empty name": lambda m, lib: m.register_parameter("", None),
    "no parameter": lambda m, lib: m.register_parameter("w", lib.zeros(2)),
    "submodule": lambda m, lib: m.get_submodule("b.0"),
    "no submodule": lambda m, lib: m.get_submodule("b.9"),
    "no buffer": lambda m, lib: m.get_buffer("a"),
    "integer dtype": lambda m, lib: m.to(lib.int64),
    "double": lambda m, lib: [str(p.dtype) for p in m.double().state_dict().values()],
    "half": lambda m, lib: [str(p.dtype) for p in m.half().state_dict().values()],
    "no forward": lambda m, lib: lib.nn.Module()(1),
    "argument": lambda m, lib: lib.nn.Module(3),
    "hooks": hooked,
    "slice": lambda m, lib: lib.nn.Sequential(*[lib.nn.ReLU() for _ in range(4)])[1:3],
    "list": lambda m, lib: lib.nn.ModuleList([lib.nn.Linear(1, 1)] * 3 + [lib.nn.ReLU()]),
    "dict": lambda m, lib: lib.nn.ModuleDict({"x": lib.nn.ReLU(), "y": lib.nn.Tanh()}),
    "parameters": lambda m, lib: lib.nn.ParameterList([lib.zeros(2), 3]),
    "parameter dict": lambda m, lib: lib.nn.ParameterDict({"x": lib.zeros(2), "y": None}),
    "parameter": lambda m, lib: lib.nn.Parameter(lib.zeros(2)),
    "training": lambda m, lib: [x.training for x in m.eval().modules()],
    "frozen": lambda m, lib: [p.requires_grad for p in m.requires_grad_(False).parameters()],
}


@pytest.mark.parametrize("name", CASES)
def test_as_torch(name):
    seed()
    expected, found = (outcome(CASES[name], network(lib), lib) for lib in PAIR)
    assert found == expected


def test_state_dict_round_trip_and_sharing():
    first, second = network(cupola), network(cupola)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(values(a), values(b))
    # The state dict shows the module's own memory.
    state = first.state_dict()
    with cupola.no_grad():
        first.p.fill_(7.0)
    assert state["p"].tolist() == [7.0, 7.0]


def test_copies():
    module = cupola.nn.Sequential(cupola.nn.Linear(2, 2), cupola.nn.BatchNorm1d(2))
    module[0].register_forward_hook(_double)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        x = cupola.ones(3, 2)
        np.testing.assert_allclose(values(twin.eval()(x)), values(module.eval()(x)))
        twin[0].weight.data.zero_()
        assert float(module[0].weight.abs().sum()) > 0


def _double(module, args, output):
    return output * 2


def test_hooks_of_state_dicts_and_loading():
    for lib in PAIR:
        module, seen = network(lib), []
        module.register_state_dict_pre_hook(lambda m, prefix, keep, seen=seen: seen.append("pre"))
        module.register_state_dict_post_hook(
            lambda m, state, prefix, meta: state.__delitem__("buf")
        )
        module.register_load_state_dict_pre_hook(
            lambda m, state, prefix, *rest: state.update({"buf": state["p"]})
        )
        module.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
        state = module.state_dict()
        assert "buf" not in state and seen == ["pre"]
        assert str(module.load_state_dict(state)) == "<All keys matched successfully>"
        assert module.buf.tolist() == [0.0, 0.0]


def test_always_called_hook_runs_after_an_error():
    for lib in PAIR:
        module, seen = lib.nn.Linear(2, 2), []
        module.register_forward_hook(
            lambda m, args, out, seen=seen: seen.append(out), always_call=True
        )
        with pytest.raises((RuntimeError, TypeError, AttributeError)):
            module("no tensor")
        assert seen == [None]


def test_global_hooks():
    seen = []
    handle = cupola.nn.modules.module.register_module_forward_hook(
        lambda m, args, out: seen.append(type(m).__name__)
    )
    network(cupola)(cupola.ones(1, 3))
    handle.remove()
    network(cupola)(cupola.ones(1, 3))
    assert seen == ["Linear", "Linear", "ReLU", "Sequential", "Net"]


def test_containers_change():
    found = []
    for lib in PAIR:
        chain = lib.nn.Sequential(lib.nn.ReLU(), lib.nn.Tanh())
        chain.append(lib.nn.Sigmoid()).insert(1, lib.nn.GELU())
        chain.extend([lib.nn.Identity()])
        del chain[0]
        last = chain.pop(-1)
        items = lib.nn.ModuleList([lib.nn.ReLU()])
        items.append(lib.nn.Tanh())
        items.insert(0, lib.nn.ELU())
        items += [lib.nn.SiLU()]
        found.append(repr([chain, last, items, chain * 2, len(chain), chain[-1]]))
    assert found[0] == found[1]


def test_functional_call():
    found = []
    for lib, call in ((torch, torch.func.functional_call), (cupola, None)):
        seed()
        module = network(lib)
        call = call or cupola.nn.utils.stateless.functional_call
        weights = {name: p.detach() * 2 for name, p in module.named_parameters()}
        found.append(values(call(module, weights, (lib.ones(2, 3),))))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_module_compiles_its_calls():
    module = cupola.nn.Linear(2, 3)
    x = cupola.ones(1, 2)
    expected = values(module(x))
    module.compile()
    np.testing.assert_allclose(values(module(x)), expected)
