"""Names for annotations (torch.types)."""

from __future__ import annotations

import builtins
import os
from typing import Any

from cupola.dtypes import dtype as _dtype
from cupola.ir.device import device as _device
from cupola.tensor import Size as _Size
from cupola.tensor import Tensor
from cupola.tensor.layout import layout as _layout

Number = builtins.int | builtins.float | builtins.bool
Device = _device | str | builtins.int | None
_int, _float, _bool, _complex = builtins.int, builtins.float, builtins.bool, builtins.complex
_size = _Size | list[builtins.int] | tuple[builtins.int, ...]
_TensorOrTensors = Tensor | tuple[Tensor, ...]
FileLike = str | os.PathLike | Any

__all__ = ["Device", "FileLike", "Number", "_device", "_dtype", "_layout", "_size"]
