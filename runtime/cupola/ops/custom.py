"""Operators that users or other layers define at run time: custom gradients, host functions,
several results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.ir.node import Node
from cupola.ir.op import Primitive


def _output_infer(value: Node, joint: Node, index: int) -> Any:
    return value.shape, value.dtype


# One result of a hand-written function: its value, and the joint node through which gradients of
# all results flow.
custom_output = Primitive(
    "custom_output", "alias", _output_infer, lambda xp, value, *_, index: value, (None, None)
).register()


def _joint_infer(*inputs: Node, **_: Any) -> Any:
    raise TypeError("joint nodes are built by autograd.Function")


# Never computed: it ties the results of a function to its inputs. Its rule is
# ``meta["backward"](gs)``, which returns
# one gradient (or None) an input.
joint = Primitive("joint", "alias", _joint_infer, multi=True).register()


def host_function(
    name: str,
    function: Callable[..., Any],
    infer: Callable[..., Any],
    vjp: Any = None,
    multi: bool = False,
) -> Primitive:
    """A library primitive whose reference is any NumPy-style function (linear algebra, FFT)."""
    return Primitive(name, "library", infer, function, vjp, multi=multi).register()


def _code_infer(*inputs: Node, operator: Any, shapes: Any, numbers: Any) -> Any:
    return shapes, operator.dtypes


def _code_reference(
    xp: Any, *arrays: Any, operator: Any, shapes: Any, numbers: Any
) -> tuple[Any, ...]:
    """Runs the operator's source for the arrays' device; NumPy's terms have none."""
    found: tuple[Any, ...] = operator.run(xp, arrays, shapes, numbers)
    return found


def _code_rule(gs: Any, node: Node, *srcs: Node, operator: Any, shapes: Any, numbers: Any) -> Any:
    return operator.gradients(gs, node, srcs, shapes, numbers)


# ``cupola.code``: an operator whose source the user wrote. ``operator`` compares by identity, so
# that plans are found again; it knows how to run itself and how gradients pass through it.
# It is not in the table of primitives: without an operator it means nothing.
code = Primitive("code", "library", _code_infer, _code_reference, _code_rule, multi=True)
