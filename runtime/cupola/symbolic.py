"""Numbers, conditions and loops in the words of PyTorch's compiler (torch.sym_int, torch.cond).

Shapes are numbers here, never symbols, so the functions work on numbers and nothing is an instance
of the classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any


class SymInt:
    """A size that is not known yet: there are none here (torch.SymInt)."""


class SymFloat:
    """A number computed from such sizes: there are none here (torch.SymFloat)."""


class SymBool:
    """A condition on such sizes: there are none here (torch.SymBool)."""


def sym_int(a: Any) -> int:
    """The integer part of a number (torch.sym_int)."""
    return int(a)


def sym_float(a: Any) -> float:
    """The number as a float (torch.sym_float)."""
    return float(a)


def sym_not(a: Any) -> bool:
    """The opposite of a condition (torch.sym_not)."""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers; a float if one of them is (torch.sym_max)."""
    found = max(a, b)
    return float(found) if isinstance(a, float) or isinstance(b, float) else found


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float if one of them is (torch.sym_min)."""
    found = min(a, b)
    return float(found) if isinstance(a, float) or isinstance(b, float) else found


def sym_sum(args: Sequence[Any]) -> Any:
    """The sum of numbers (torch.sym_sum)."""
    return sum(args)


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """``t`` where ``b`` holds, else ``f`` (torch.sym_ite)."""
    if type(t) is not type(f):
        raise AssertionError(f"type mismatch: {type(t)} != {type(f)}")
    return t if b else f


def sym_sqrt(a: Any) -> float:
    """The square root (torch.sym_sqrt)."""
    return math.sqrt(a)


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()
) -> Any:
    """Calls one of two functions (torch.cond).

    ``pred`` is a bool or a tensor of one bool: it is read, and the chosen function runs.

    Raises:
        RuntimeError: ``pred`` has more than one element, or ``operands`` is no sequence.
    """
    if not isinstance(operands, (tuple, list)):
        raise RuntimeError(f"Expect operands to be a tuple or a list, but got {operands}")
    if not isinstance(pred, bool) and getattr(pred, "numel", lambda: 1)() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}")
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Any
) -> tuple[Any, ...]:
    """Calls ``body_fn`` on what it returned last, as long as ``cond_fn`` holds of it."""
    state = tuple(carried_inputs)
    while bool(cond_fn(*state)):
        found = body_fn(*state)
        state = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return state


class Future:
    """What a task returned: it has run when it was begun (torch.jit.Future)."""

    def __init__(self, value: Any = None) -> None:
        self._value = value

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def wait(self) -> Any:
        """The task's result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """Whether the task has ended: always."""
        return True

    def then(self, callback: Callable[[Any], Any]) -> Future:
        """A task on this one."""
        return Future(callback(self))


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """Runs a task at once; what it computes stays lazy (torch.jit.fork)."""
    return Future(func(*args, **kwargs))


def wait(future: Any) -> Any:
    """A task's result (torch.jit.wait)."""
    return future.wait()
