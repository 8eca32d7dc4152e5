"""torch.fx: the same modules traced on both sides give the same graphs, code, values."""

from __future__ import annotations

import copy
import importlib
import math
import operator
import pickle

import numpy as np
import pytest
import torch
import torch.fx
import torch.fx.experimental.optimization
import torch.fx.passes.shape_prop

import cupola
import cupola.fx
import cupola.fx.experimental.optimization
import cupola.fx.passes.shape_prop
import harness

SIDES = (torch, cupola)


def halved(x, times=1):
    return x / 2**times


torch.fx.wrap("halved")
cupola.fx.wrap("halved")
torch.fx.wrap("len")
cupola.fx.wrap("len")


def nodes(graph):
    def target(n):
        return n.target if isinstance(n.target, str) else n.target.__name__

    return [
        (n.op, n.name, target(n), str(n.args), str(n.kwargs), [user.name for user in n.users])
        for n in graph.nodes
    ]


def both(program):
    theirs, ours = (program(lib) for lib in SIDES)
    assert ours == theirs


def layered(lib):
    """A module with most of what a graph can hold."""

    class Inner(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = lib.nn.Parameter(lib.full((4,), 0.5))
            self.table = lib.arange(4.0)

        def forward(self, x, shift=0.0):
            return x * self.scale + shift - self.table

    class Model(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = lib.nn.Linear(3, 4)
            self.inner = Inner()
            self.rest = lib.nn.Sequential(lib.nn.ReLU(), lib.nn.Linear(4, 4), lib.nn.Dropout(0.1))
            self.register_buffer("offset", lib.ones(4))
            self.weight = lib.nn.Parameter(lib.ones(4, 4))

        def forward(self, x, double=False, *, power=2):
            y = self.inner(self.first(x), shift=1.5)
            y = lib.relu(y) @ self.weight.t() + self.offset
            a, b = self.rest(y).chunk(2, dim=-1)
            c = lib.nn.functional.softmax(lib.cat([a, b], dim=1), dim=-1)
            d = lib.nn.functional.max_pool1d(c, 2).sum(-1, keepdim=True)
            e = -((2 - d) ** power)
            f = c[:, None, 1:].reshape(c.shape[0], -1).float()
            f += lib.zeros(1)
            g = lib.where(f > 0.1, f, lib.full_like(f, 0.1))
            return {"values": [a, e], "more": (math.sqrt(len(x)), g)}, lib.nn.functional.gelu(d)

    lib.manual_seed(0)
    return Model().eval()


def numbers(result):
    if isinstance(result, (torch.Tensor, cupola.Tensor)):
        return np.round(result.detach().double().numpy(), 4).tolist()
    if isinstance(result, dict):
        return {k: numbers(v) for k, v in result.items()}
    if isinstance(result, (tuple, list)):
        return [numbers(x) for x in result]
    return result


def test_a_traced_module():
    def program(lib):
        model = layered(lib)
        traced = lib.fx.symbolic_trace(model)
        traced.graph.lint()
        x = lib.linspace(-1, 1, 6).reshape(2, 3)
        (kept, out), (kept2, out2) = model(x), traced(x)
        out2.sum().backward()
        assert numbers(kept) == numbers(kept2) and numbers(out) == numbers(out2)
        code = traced.code.replace("torch._C._nn.", "torch.nn.functional.")
        text = str(traced.graph).replace("torch._C._nn.", "torch.nn.functional.")
        return nodes(traced.graph), code, text, numbers(traced.first.weight.grad), numbers(out2)

    both(program)


MODELS = (
    *("resnet18", "resnet50", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "vgg11"),
    *("alexnet", "squeezenet1_0", "mnasnet0_5", "regnet_y_400mf", "googlenet", "efficientnet_b0"),
)


@pytest.mark.parametrize("name", MODELS)
def test_models_of_torchvision(name):
    theirs = getattr(harness.torchvision().models, name)(weights=None).eval()
    ours = getattr(cupola.models, name)(weights=None).eval()
    wanted, got = torch.fx.symbolic_trace(theirs), cupola.fx.symbolic_trace(ours)
    assert nodes(got.graph) == nodes(wanted.graph)
    x = cupola.ones(1, 3, 64, 64)
    with cupola.no_grad():
        harness.assert_close(got(x), ours(x), 1e-6, name)


@pytest.mark.parametrize("name, size", [("vit_b_32", 224), ("swin_t", 64), ("convnext_tiny", 64)])
def test_other_models_can_be_traced(name, size):
    model = getattr(cupola.models, name)(weights=None).eval()
    traced = cupola.fx.symbolic_trace(model)
    x = cupola.ones(1, 3, size, size)
    with cupola.no_grad():
        harness.assert_close(traced(x), model(x), 1e-6, name)


def test_concrete_arguments():
    def program(lib):
        def branching(x, deep, scale=2.0, mask=None):
            if mask is not None:
                x = x * mask
            if deep:
                x = lib.relu(x)
            return x * scale

        found = []
        for deep in (True, False):
            traced = lib.fx.symbolic_trace(branching, {"deep": deep, "mask": None})
            found.append((traced.code, numbers(traced(lib.tensor([-1.0, 2.0]), deep))))
            with pytest.raises(AssertionError):
                traced(lib.ones(2), not deep)
        with pytest.raises(lib.fx.proxy.TraceError):
            lib.fx.symbolic_trace(branching)
        return found

    both(program)


def test_wrapped_functions():
    def program(lib):
        def function(x):
            return halved(x, times=2) + len(x)

        traced = lib.fx.symbolic_trace(function)
        again = lib.fx.symbolic_trace(traced)
        assert nodes(again.graph) == nodes(traced.graph)
        return nodes(traced.graph), numbers(traced(lib.ones(3)))

    both(program)


def test_operators_of_proxies():
    def program(lib):
        def calls(x, y, *args, **kwargs):
            a = x + 1, 1 + x, x - y, 2 - x, x * y, 3 * x, x / y, 2 / x, x // 2, 7 // x, x % 2
            b = x**2, 2**x, x @ y, -x, +x, ~x, abs(x), x & y, x | 1, 1 ^ x, x << 1, 1 >> x
            c = x < y, x <= 1, x == y, x != 2, x > y, x >= y, 2 < x
            d = x.T, x.shape[0], x.view(2, -1), x.size(), x.real, x[0, ..., 1:]
            first, (second, third) = x.unbind(), y
            e = lib.ones(2) + x, lib.add(x, y), lib.stack((x, y)), lib.zeros(x.size(0)), args[0]
            return a, b, c, d, e, first, second, third, kwargs["k"]

        traced = lib.fx.symbolic_trace(calls)
        return nodes(traced.graph), traced.code

    both(program)


def test_what_cannot_be_traced():
    def program(lib):
        found = []
        for f in (
            lambda x: x if x.sum() > 0 else -x,
            lambda x: [y for y in x],  # noqa: C416
            lambda x: float(x),
            lambda x: {x: 1},
            lambda x: range(x),
        ):
            try:
                lib.fx.symbolic_trace(f)
            except Exception as error:
                found.append(type(error).__name__)
            else:
                found.append("traced")
        return found

    both(program)


def test_a_tracer_of_ones_own():
    def program(lib):
        class Deep(lib.fx.Tracer):
            def is_leaf_module(self, m, module_qualified_name):
                calls.append(module_qualified_name)
                return super().is_leaf_module(m, module_qualified_name) and not isinstance(
                    m, lib.nn.Linear
                )

            def call_module(self, m, forward, args, kwargs):
                calls.append(self.path_of_module(m))
                return super().call_module(m, forward, args, kwargs)

        calls: list[str] = []
        model = layered(lib)
        graph = Deep().trace(model)
        module = lib.fx.GraphModule(model, graph)
        assert not lib.fx._symbolic_trace.is_fx_tracing()
        names = [name for name, _ in module.named_parameters()]
        return calls, nodes(graph), names, sorted(module.state_dict())

    both(program)


def test_graphs_built_by_hand():
    def program(lib):
        fx = lib.fx
        graph = fx.Graph()
        x = graph.placeholder("x")
        k = graph.placeholder("k", default_value=3)
        w = graph.get_attr("inner.w")
        total = graph.call_function(operator.add, (x, w))
        doubled = graph.call_method("mul", (total, k))
        called = graph.call_module("inner.layer", (doubled,))
        dead = graph.call_function(lib.neg, (called,))
        with graph.inserting_before(doubled):
            graph.call_function(lib.relu, (total,), name="early")
        with graph.inserting_after(total):
            graph.call_function(lib.exp, (total,))
        graph.output((called, {"k": [total]}))
        root = lib.nn.Module()
        root.inner = lib.nn.Module()
        root.inner.w = lib.nn.Parameter(lib.ones(2))
        root.inner.layer = lib.nn.ReLU()
        module = fx.GraphModule(root, graph, "Handmade")
        graph.lint()
        before = nodes(graph), module.code, str(graph), repr(dead.all_input_nodes)
        with pytest.raises(RuntimeError):
            graph.erase_node(total)
        assert graph.eliminate_dead_code()
        doubled.replace_all_uses_with(total)
        graph.erase_node(doubled)
        called.args = (total,)
        called.update_kwarg("inplace", 1)
        called.kwargs = {}
        total.replace_input_with(w, x)
        total.meta["note"] = 1
        module.recompile()
        other = fx.Graph()
        values = {x: other.placeholder("z"), k: other.placeholder("q")}
        result = other.graph_copy(graph, values)
        other.output(result)
        with pytest.raises(RuntimeError):
            wrong = fx.Graph()
            wrong.call_function(lib.relu, (total,))
            wrong.lint()
        dict_rooted = fx.GraphModule(
            {"inner.layer": root.inner.layer, "inner.w": root.inner.w}, graph
        )
        return (
            before, nodes(graph), module.code, numbers(module(lib.ones(2))), nodes(other),
            type(module).__name__, len(graph.nodes), [n.name for n in reversed(graph.nodes)],
            [n.name for n in graph.find_nodes(op="placeholder")], numbers(dict_rooted(lib.ones(2))),
            total.next.name, total.prev.name, total.format_node(),
        )  # fmt: skip

    both(program)


def test_copies_and_pickles():
    def program(lib):
        traced = lib.fx.symbolic_trace(layered(lib))
        x = lib.linspace(-1, 1, 6).reshape(2, 3)
        wanted = numbers(traced(x))
        found = []
        makers = [copy.deepcopy, copy.copy]
        if lib is cupola:  # a module of this file cannot be traced again there
            makers.append(lambda m: pickle.loads(pickle.dumps(m)))
        for made in makers:
            other = made(traced)
            assert numbers(other(x)) == wanted and other.code == traced.code
            assert nodes(other.graph) == nodes(traced.graph)
            found.append(other.graph is traced.graph)
        deep = copy.deepcopy(traced)
        with lib.no_grad():
            deep.first.weight.zero_()
        assert numbers(traced(x)) == wanted
        traced.load_state_dict(deep.state_dict())
        assert numbers(traced(x)) == numbers(deep(x))
        return wanted, found[0], traced.training, deep.train().training

    both(program)


def test_modules_as_packages(tmp_path, monkeypatch):
    traced = cupola.fx.symbolic_trace(small_network(cupola))
    traced.to_folder(tmp_path / "written_module", "Written")
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("written_module").Written().eval()
    x = cupola.linspace(-1, 1, 25).reshape(1, 1, 5, 5)
    assert numbers(made(x)) == numbers(traced(x))
    assert sorted(made.state_dict()) == sorted(traced.state_dict())


def test_traced_modules_are_captured():
    traced = cupola.fx.symbolic_trace(small_network(cupola))
    captured = cupola.compile(traced)
    for k in range(3):
        x = cupola.linspace(-1, 1 + k, 25).reshape(1, 1, 5, 5)
        assert numbers(captured(x)) == numbers(traced(x))


def test_submodules():
    def program(lib):
        traced = lib.fx.symbolic_trace(layered(lib))
        added = traced.add_submodule("rest.more", lib.nn.ReLU())
        traced.add_submodule("unused.deep", lib.nn.ReLU())
        gone = traced.delete_submodule("rest.2"), traced.delete_submodule("nothing")
        before = [name for name, _ in traced.named_modules()]
        traced.delete_all_unused_submodules()
        return added, gone, before, [name for name, _ in traced.named_modules()]

    both(program)


def test_relu_becomes_gelu():
    def program(lib):
        model = lib.nn.Sequential(lib.nn.Linear(3, 3), lib.nn.ReLU(), lib.nn.Linear(3, 2))
        with lib.no_grad():
            for p in model.parameters():
                p.copy_(lib.linspace(-1, 1, p.numel()).reshape(p.shape))

        class Applied(lib.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, x):
                return lib.relu(self.model(lib.nn.functional.relu(x)))

        traced = lib.fx.symbolic_trace(Applied())
        modules = dict(traced.named_modules())
        for node in traced.graph.nodes:
            relu = node.target in (lib.relu, lib.nn.functional.relu)
            relu |= node.op == "call_module" and isinstance(modules[node.target], lib.nn.ReLU)
            if relu:
                with traced.graph.inserting_after(node):
                    new = traced.graph.call_function(lib.nn.functional.gelu, (node.args[0],))
                node.replace_all_uses_with(new)
                traced.graph.erase_node(node)
        traced.graph.lint()
        traced.recompile()
        x = lib.linspace(-1, 1, 6).reshape(2, 3).requires_grad_()
        out = traced(x)
        out.sum().backward()
        return nodes(traced.graph), numbers(out), numbers(x.grad)

    both(program)


def small_network(lib):
    class Network(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = lib.nn.Conv2d(1, 2, 3), lib.nn.BatchNorm2d(2)
            self.drop = lib.nn.Dropout()

        def forward(self, x):
            return self.drop(lib.relu(self.bn(self.conv(x))))

    network = Network()
    with lib.no_grad():
        for p in (*network.parameters(), network.bn.running_mean, network.bn.running_var):
            p.copy_(lib.linspace(0.1, 1, p.numel()).reshape(p.shape))
    return network.eval()


def test_normalization_goes_into_the_weights():
    def program(lib):
        network = small_network(lib)
        x = lib.linspace(-1, 1, 25).reshape(1, 1, 5, 5)
        fused = lib.fx.experimental.optimization.fuse(network)
        dry = lib.fx.experimental.optimization.remove_dropout(network)
        assert np.allclose(numbers(fused(x)), numbers(network(x)), atol=1e-3)
        return nodes(fused.graph), nodes(dry.graph), numbers(fused(x)), numbers(fused.conv.weight)

    both(program)


def test_interpreters():
    def program(lib):
        class Counting(lib.fx.Interpreter):
            def run_node(self, n):
                ran.append(n.name)
                return super().run_node(n)

            def call_function(self, target, args, kwargs):
                result = super().call_function(target, args, kwargs)
                return result * 2 if target is lib.relu else result

        class Negated(lib.fx.Transformer):
            def call_function(self, target, args, kwargs):
                if target is lib.relu:
                    return -super().call_function(lib.sigmoid, args, kwargs)
                return super().call_function(target, args, kwargs)

            def call_module(self, target, args, kwargs):
                return super().call_module(target, args, kwargs) + 1

        ran: list[str] = []
        traced = lib.fx.symbolic_trace(layered(lib))
        x = lib.linspace(-1, 1, 6).reshape(2, 3)
        run = lib.fx.Interpreter(traced).run(x)
        assert numbers(run) == numbers(traced(x))
        changed = Negated(traced).transform()
        return numbers(Counting(traced).run(x)), ran, nodes(changed.graph), numbers(changed(x))

    both(program)


def test_patterns_are_replaced():
    def program(lib):
        def function(x, w):
            a = lib.relu(x) + w
            b = lib.relu(a) + 1
            return lib.cat([a, lib.sigmoid(b) * b]).sum() + lib.relu(w)

        def wanted(x, y):
            return lib.relu(x) + y

        def instead(x, y):
            return lib.exp(x) - y * 2

        traced = lib.fx.symbolic_trace(function)
        matches = lib.fx.replace_pattern(traced, wanted, instead)
        traced.graph.lint()
        silu = lib.fx.symbolic_trace(function)
        other = lib.fx.replace_pattern(
            silu, lambda x: lib.sigmoid(x) * x, lambda x: lib.nn.functional.silu(x)
        )
        args = lib.tensor([0.5, -1.0]), lib.tensor([2.0, 1.0])
        return len(matches), numbers(traced(*args)), len(other), nodes(silu.graph)

    both(program)


def test_shapes_are_noted():
    def program(lib):
        traced = lib.fx.symbolic_trace(small_network(lib))
        lib.fx.passes.shape_prop.ShapeProp(traced).propagate(lib.ones(2, 1, 5, 6))
        found = []
        for node in traced.graph.nodes:
            meta = node.meta["tensor_meta"]
            found.append((node.name, tuple(meta.shape), str(meta.dtype), meta.stride,
                          str(meta.memory_format), meta.requires_grad))  # fmt: skip
        return found

    both(program)
