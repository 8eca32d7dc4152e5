"""Names beside the public ones that packages import, and what they do with them."""

import inspect
import warnings
from typing import Generic

import pytest

import cupola


def test_names_of_types_are_annotations():
    from cupola.utils.data.dataloader import _collate_fn_t, _worker_init_fn_t  # noqa: F401

    def load(function: _collate_fn_t | None) -> None: ...

    assert "function" in inspect.signature(load).parameters


def test_type_variables_make_generics():
    from cupola._compile import _T

    class Box(Generic[_T]): ...

    assert Box[int] is not None
    assert cupola._compile._T is _T


def test_exceptions_and_warnings_are_classes_of_their_kind():
    assert issubclass(cupola.jit.TracerWarning, Warning)
    assert cupola.jit.TracerWarning is cupola.jit.TracerWarning
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=cupola.jit.TracerWarning)
    try:
        raise ValueError("another")
    except cupola.jit.TracingCheckError:
        pytest.fail("it is another")
    except ValueError:
        pass


def test_reductions_are_of_redoptype():
    operation = cupola.distributed.ReduceOp.SUM
    assert isinstance(operation, cupola.distributed.ReduceOp.RedOpType)


def test_a_module_may_ask_what_to_is_asked_for():
    found = cupola._C._nn._parse_to("cpu", cupola.float64, non_blocking=True)
    assert found == (cupola.device("cpu"), cupola.float64, True, None)


class Passing(cupola.optim.Optimizer):
    """A wrapper that never calls Optimizer.__init__."""

    def __init__(self, inner):
        self.inner = inner

    def step(self, closure=None):
        return self.inner.step(closure)


class Twice(cupola.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        return super().step(closure)


def test_a_wrapper_of_an_optimizer_has_no_hooks_of_its_own():
    weight = cupola.ones(1, requires_grad=True)
    inner = cupola.optim.SGD([weight], lr=0.5)
    called = []
    inner.register_step_post_hook(lambda *_: called.append(1))
    weight.sum().backward()
    Passing(inner).step()
    assert weight.item() == 0.5
    assert called == [1]


def test_hooks_run_once_for_a_step_that_calls_its_base():
    weight = cupola.ones(1, requires_grad=True)
    optimizer = Twice([weight], lr=0.25)
    called = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    weight.sum().backward()
    optimizer.step()
    assert weight.item() == 0.5
    assert called[:1] == ["before"]
