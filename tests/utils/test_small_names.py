"""Names of torch that packages ask for in passing, beside torch's."""

from __future__ import annotations

import importlib

import pytest
import torch
import torch.utils.checkpoint

import cupola
import cupola.utils.checkpoint

BOTH = pytest.mark.parametrize("m", [torch, cupola], ids=["torch", "cupola"])


@BOTH
def test_numbers(m):
    """Symbolic numbers' functions take plain ones."""
    assert m.sym_int(2.7) == 2
    assert m.sym_float(3) == 3.0
    assert isinstance(m.sym_max(1, 2.0), float)
    assert m.sym_min(3, 2) == 2
    assert isinstance(m.sym_min(1, 2.0), float)
    assert m.sym_not(False) is True
    assert m.sym_ite(False, 1, 2) == 2
    assert m.sym_sum([1, 2, 3]) == 6
    assert not isinstance(3, (m.SymInt, m.SymFloat, m.SymBool))


@BOTH
def test_tasks_and_scripts(m):
    """Tasks give their result; what TorchScript would change is returned as it is."""
    task = m.jit.fork(lambda a, b: a + b, m.ones(2), 3)
    assert m.jit.wait(task).tolist() == [4.0, 4.0]
    assert m.jit.annotate(list[int], [1]) == [1]
    assert m.jit.script_if_tracing(len)([1, 2]) == 2
    assert m.jit.Attribute(3, int).value == 3
    with pytest.raises(RuntimeError, match="eval"):
        m.jit.freeze(m.jit.script(m.nn.Linear(2, 2)))


def test_conditions():
    """cond and while_loop run as written."""
    x = cupola.arange(3.0)
    assert cupola.cond(x.sum() > 2, lambda v: v + 1, lambda v: v - 1, (x,)).tolist() == [1, 2, 3]
    assert cupola.cond(False, lambda: 1, lambda: 2) == 2
    (found,) = cupola.while_loop(lambda v: v.sum() < 40, lambda v: (v * 2,), (x,))
    assert found.tolist() == [0.0, 16.0, 32.0]
    with pytest.raises(RuntimeError, match="tuple or a list"):
        cupola.cond(True, len, len, x)


@BOTH
def test_assertions(m):
    """Conditions on tensors and sizes."""
    m._assert_async(m.tensor(True))
    m._assert_async(m.tensor(1), "message")
    m._check_is_size(3)
    m._check_is_size(0)
    with pytest.raises(RuntimeError, match="shown"):
        m._check_is_size(-1, lambda: "shown")
    with pytest.raises(RuntimeError, match="more than one value"):
        m._assert_async(m.tensor([True, True]))
    with pytest.raises(RuntimeError, match="wrong"):
        m._assert_async(m.tensor(False), "wrong")


@BOTH
def test_checkpoint_helpers(m):
    """What packages with their own checkpointing import."""
    home = m.utils.checkpoint
    x = m.ones(2, requires_grad=True)
    y, n = home.detach_variable((x * 2, 3))
    assert y.is_leaf and y.requires_grad and n == 3
    assert home.get_device_states(x) == ([], [])
    with pytest.warns(UserWarning, match="requires_grad"):
        home.check_backward_validity([m.ones(2)])
    with pytest.raises(RuntimeError, match="Only tuple"):
        home.detach_variable([x])


@pytest.mark.parametrize(
    "path",
    [
        "autograd.function.once_differentiable",
        "autograd.function.FunctionCtx",
        "autograd.function.InplaceFunction",
        "cuda.random.manual_seed_all",
        "cuda.random.get_rng_state_all",
        "nn.functional.has_torch_function_variadic",
        "torch_version.TorchVersion",
        "OutOfMemoryError",
    ],
)
def test_import(path):
    """``from torch.x import y`` gives what is there, not a placeholder."""
    module, _, name = f"cupola.{path}".rpartition(".")
    value = getattr(importlib.import_module(module), name)
    assert type(value).__name__ != "_Unsupported"
    assert callable(value)


@BOTH
def test_build(m):
    """What programs look for in the description of the build."""
    assert "USE_MKL=" in m.__config__.show()
    assert "get_num_threads" in m.__config__.parallel_info()


def test_device_module():
    """A device's module."""
    assert cupola.get_device_module("cuda:0") is cupola.cuda
    assert cupola.get_device_module(cupola.device("cpu")).device_count() == 1
    with pytest.raises(RuntimeError, match="'xpu'"):
        cupola.get_device_module("xpu")


@BOTH
def test_inside_a_transformation(m):
    """Packages ask whether vmap or grad is at work before they look at values."""
    ask = m._C._are_functorch_transforms_active
    seen = []
    m.func.grad(lambda x: (seen.append(ask()), x.sum())[1])(m.ones(2))
    m.func.vmap(lambda x: (seen.append(ask()), x * 2)[1])(m.ones(2))
    assert [*seen[:2], ask()] == [True, True, False]


def test_registered_operators():
    """A package may name an operator of torch's registry while it is imported."""
    operator = cupola.ops.aten.sum.dim_IntList
    with pytest.raises(NotImplementedError, match="registry"):
        operator(cupola.ones(2), [0])
