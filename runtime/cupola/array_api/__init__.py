"""The Array API standard, version 2024.12, with its linalg and fft extensions.

``x.__array_namespace__()`` of any Tensor returns this module. Its functions take Tensors and make
``Array`` objects: Tensors whose operators follow the standard where torch's do not.

Of a Tensor that torch's names made, operators and subscripts stay torch's. They differ from the
standard's in this: tensors of no dimensions, and the numbers among them, count less in type
promotion; uint16, uint32 and uint64 do not promote with signed types; slices have no negative
steps; uint8 indices are masks; ``//`` and ``%`` have torch's results for infinities and signed
zeros; ``size`` is a method. ``asarray(x, copy=True)`` makes an Array of it.

The default dtypes are torch's: float32 (``cupola.set_default_dtype``), complex64, int64.
"""

from math import e, inf, nan, pi

from cupola.array_api import fft, linalg, operators
from cupola.array_api.arithmetic import (
    add,
    atan2,
    bitwise_and,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    clip,
    copysign,
    divide,
    equal,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    less,
    less_equal,
    logaddexp,
    logical_and,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    nextafter,
    not_equal,
    pow,
    remainder,
    subtract,
)
from cupola.array_api.array_object import Array
from cupola.array_api.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from cupola.array_api.data_types import astype, can_cast, finfo, iinfo, isdtype, result_type
from cupola.array_api.elementwise import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    bitwise_invert,
    ceil,
    conj,
    cos,
    cosh,
    exp,
    expm1,
    floor,
    imag,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    logical_not,
    negative,
    positive,
    real,
    reciprocal,
    round,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
    trunc,
)
from cupola.array_api.info import __array_namespace_info__
from cupola.array_api.linear_algebra import matmul, matrix_transpose, tensordot, vecdot
from cupola.array_api.manipulation import (
    broadcast_arrays,
    broadcast_shapes,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    moveaxis,
    permute_dims,
    repeat,
    reshape,
    roll,
    squeeze,
    stack,
    take,
    take_along_axis,
    tile,
    unstack,
)
from cupola.array_api.searching import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    count_nonzero,
    diff,
    nonzero,
    searchsorted,
    sort,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
    where,
)
from cupola.array_api.statistical import (
    cumulative_prod,
    cumulative_sum,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from cupola.dtypes import (
    bool,
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)

newaxis = None
__array_api_version__ = "2024.12"
__all__ = sorted(
    name
    for name in globals()
    if not name.startswith("_")
    and name
    not in (
        "arithmetic array_object creation data_types elementwise info linear_algebra "
        "manipulation operators searching statistical"
    ).split()
) + ["__array_api_version__", "__array_namespace_info__"]
