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
