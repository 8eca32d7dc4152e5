"""Padding layers."""

from __future__ import annotations

from typing import Any

from cupola.nn import functional as F
from cupola.nn.modules.module import Module
from cupola.nn.modules.utils import _ntuple
from cupola.tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _PadNd(Module):
    """Pads the last ``_n`` dimensions; ``padding`` is one number or (before, after) pairs."""

    _n = 2
    _mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self._n)(padding)

    def _check_input_dim(self, input: Tensor) -> None:
        if self._mode == "circular" and input.dim() not in (self._n + 1, self._n + 2):
            raise ValueError(
                f"expected {self._n + 1}D or {self._n + 2}D input (got {input.dim()}D input)"
            )

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads one dimension with a constant."""

    _n = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads two dimensions with a constant."""

    _n = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads three dimensions with a constant."""

    _n = 3


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd):
    """Pads one dimension with zeros."""

    _n = 1


class ZeroPad2d(_ZeroPadNd):
    """Pads two dimensions with zeros."""

    _n = 2


class ZeroPad3d(_ZeroPadNd):
    """Pads three dimensions with zeros."""

    _n = 3


class ReflectionPad1d(_PadNd):
    """Pads one dimension with its mirror image."""

    _n, _mode = 1, "reflect"


class ReflectionPad2d(_PadNd):
    """Pads two dimensions with their mirror image."""

    _n, _mode = 2, "reflect"


class ReflectionPad3d(_PadNd):
    """Pads three dimensions with their mirror image."""

    _n, _mode = 3, "reflect"


class ReplicationPad1d(_PadNd):
    """Pads one dimension with its edge."""

    _n, _mode = 1, "replicate"


class ReplicationPad2d(_PadNd):
    """Pads two dimensions with their edges."""

    _n, _mode = 2, "replicate"


class ReplicationPad3d(_PadNd):
    """Pads three dimensions with their edges."""

    _n, _mode = 3, "replicate"


class CircularPad1d(_PadNd):
    """Pads one dimension with its opposite end."""

    _n, _mode = 1, "circular"


class CircularPad2d(_PadNd):
    """Pads two dimensions with their opposite ends."""

    _n, _mode = 2, "circular"


class CircularPad3d(_PadNd):
    """Pads three dimensions with their opposite ends."""

    _n, _mode = 3, "circular"
