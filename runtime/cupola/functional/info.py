"""Numerical limits of dtypes (torch.finfo, torch.iinfo)."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from cupola import dtypes
from cupola.dtypes import dtype as DType


class finfo:
    """Limits of a floating type: bits, eps, max, min, tiny, smallest_normal, resolution, dtype.

    Raises:
        TypeError: the type is not floating.
    """

    def __init__(self, type: DType | None = None) -> None:
        found = dtypes.asked(type) or dtypes.get_default_dtype()
        found = found.to_real()
        if not found.is_floating_point:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                f"'{found}'"
            )
        info = ml_dtypes.finfo(found.np)
        self.bits = int(info.bits)
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = float(f"{float(info.resolution):.0e}")  # a power of ten
        self.dtype = found.name

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer type: bits, max, min, dtype.

    Raises:
        TypeError: the type is not an integer type.
    """

    def __init__(self, type: DType) -> None:
        type = dtypes.asked(type)
        if type.category != 1:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'"
            )
        info = np.iinfo(type.np)
        self.bits, self.max, self.min, self.dtype = (
            int(info.bits),
            int(info.max),
            int(info.min),
            type.name,
        )

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
