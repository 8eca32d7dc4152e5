"""Primitive attributes.

Where scratch memory comes from, and the post-ops that make up an epilogue.
"""

from __future__ import annotations

import numpy as np

from cupola.backends.cpu.heavy import Activation
from cupola.backends.cpu.onednn.library import Handle, Library
from cupola.backends.cpu.onednn.primitive import F32, WEIGHTS, Descriptor

_BINARY_ADD = 0x1FFF0
_LINEAR = 0x26
_SCRATCHPAD_USER = 1
_SRC_1 = 2
_POST_OP = 32768  # an operand of the i-th post-op is argument _POST_OP * (i + 1) | its own number

# Epilogue name -> (oneDNN algorithm, alpha, beta). Only those that let NaN through, as PyTorch's
# functions do: the vectorised clip, elu, logistic and tanh of oneDNN 3.2 turn it into a number.
_ELTWISE: dict[str, tuple[int, float, float]] = {
    "leaky_relu": (0x20, 0.01, 0.0),
    "gelu_tanh": (0x2B, 0.0, 0.0),
    "silu": (0x2C, 1.0, 0.0),
    "gelu": (0x31, 0.0, 0.0),
    "hardswish": (0x34, 1 / 6, 0.5),
}
FIRST_OPERAND = _POST_OP | _SRC_1  # where `add`, as the first post-op, takes its operand
FUSED = frozenset(("relu", *_ELTWISE))
_ZERO = np.zeros(16, np.float32)


def fused(activation: Activation) -> bool:
    """Whether an epilogue can be part of a primitive."""
    return (
        activation is None
        or (activation if isinstance(activation, str) else activation[0]) in FUSED
    )


class Attributes:
    """A scratchpad that we provide, and post-ops in the order in which they were added.

    `constants` are arguments that the post-ops need: number -> (layout, array).
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.constants: dict[int, tuple[Descriptor, np.ndarray]] = {}
        self._handle = Handle(library, "primitive_attr", "primitive_attr_create")
        self._ops = Handle(library, "post_ops", "post_ops_create")
        self._count = 0
        library.check("primitive_attr_set_scratchpad_mode", self._handle, _SCRATCHPAD_USER)

    @property
    def _as_parameter_(self) -> Handle:
        return self._handle

    def _append(self, kind: str, *args: object) -> int:
        self.library.check(f"post_ops_append_{kind}", self._ops, *args)
        self.library.check("primitive_attr_set_post_ops", self._handle, self._ops)
        self._count += 1
        return _POST_OP * self._count

    def sum(self) -> None:
        """result += what the destination held before."""
        self._append("sum", 1.0, 0, 0)

    def add(self, operand: Descriptor) -> None:
        """result += operand, passed as FIRST_OPERAND: this must be the first post-op."""
        self._append("binary", _BINARY_ADD, operand)

    def activation(self, activation: str | tuple[str, float], ndim: int) -> None:
        """result = activation(result), one of `FUSED`, for a result with `ndim` axes."""
        name, *parameters = (activation,) if isinstance(activation, str) else activation
        if name == "relu":
            # oneDNN's relu is max(x, 0) in vector code, which gives 0 for NaN and so hides a run
            # that has diverged. A PReLU of slope 0 keeps NaN; adding 0 afterwards makes its
            # negative zeros positive. (It differs from relu at one value: minus infinity gives
            # NaN.)
            number = self._append("prelu", 0) | WEIGHTS
            ones = (1,) * ndim
            self.constants[number] = (Descriptor.strided(self.library, ones, ones, F32), _ZERO)
            self._append("eltwise", _LINEAR, 1.0, 0.0)
            return
        algorithm, alpha, beta = _ELTWISE[name]
        self._append("eltwise", algorithm, *(parameters or (alpha,)), beta)
