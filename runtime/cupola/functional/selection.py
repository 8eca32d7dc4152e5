"""Choosing, limiting and interpolating values; complex parts."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.functional._convert import cast_node, one_dtype, operands, result_type, to_float
from cupola.functional._register import (
    PUBLIC,
    first_tensor,
    only_tensors,
    operator,
    rounded_once,
    some_tensor,
    with_out,
)
from cupola.functional.comparison import eq, ge, gt, isinf, isnan, logical_and, lt, truth
from cupola.functional.pointwise import (
    abs,
    add,
    atan2,
    cos,
    div,
    exp,
    log,
    log1p,
    mul,
    rsub,
    sin,
    sub,
)
from cupola.ir.node import Node
from cupola.ops import elementwise as ew
from cupola.tensor import Tensor, apply, reread, wrap


@operator(inplace=True, out=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)); the input is clamped to [eps, 1 - eps] if given (torch.logit)."""
    input = wrap(to_float(input))
    if eps is not None:
        input = clamp(input, eps, 1 - eps)
    return log(div(input, rsub(input, 1)))


@operator(out=True)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)) without overflow (torch.logaddexp)."""
    only_tensors("logaddexp", input=input, other=other)
    return log_sum(input, other, lambda gap: log1p(exp(gap)))


def log_sum(x: Tensor, y: Tensor, further: Callable[[Tensor], Tensor]) -> Tensor:
    """The larger of two logarithms (of complex ones: by their real parts) and what the smaller adds
    to it, a function of their difference; two equal infinities are their sum.
    """
    parts = (wrap(ew.real(z.node)) if z.dtype.is_complex else z for z in (x, y))
    ahead = ge(*parts)
    high, low = where(ahead, x, y), where(ahead, y, x)
    same = logical_and(eq(x, y), isinf(high))
    return where(same, high, add(high, further(sub(low, high))))


@operator(inplace=True, out=True)
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0 (torch.xlogy)."""
    some_tensor("xlogy", input, other)
    found = result_type(input, other)
    x, y = operands(
        input, other, dtype=found if found.category >= 2 else dtypes.get_default_dtype()
    )
    from cupola.ops._build import like

    unbounded = ew.logical_or(ew.le(y, like(y, 0)), ew.eq(y, like(y, math.inf)))
    zero = ew.logical_and(ew.eq(x, like(x, 0)), unbounded)
    return wrap(x * ew.where(zero, like(y, 0), ew.log(y)))


@operator(inplace=True, out=True)
@rounded_once
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input), computed from the nearer end as PyTorch does (torch.lerp)."""
    one_dtype("lerp", input, end, *([weight] if isinstance(weight, Tensor) else []))
    step = sub(end, input)
    if isinstance(weight, Tensor):
        near = lt(abs(weight), 0.5)
        return where(near, add(input, mul(weight, step)), sub(end, mul(step, rsub(weight, 1))))
    if builtins.abs(weight) < 0.5:
        return add(input, mul(step, weight))
    return sub(end, mul(step, 1 - weight))


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """Elements of ``input`` where the condition holds, else of ``other`` (torch.where)."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(
            f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}"
        )
    found = result_type(input, other)
    flag, x, y = _three(condition, input, other, found)
    return wrap(ew.where(flag, x, y))


def _three(condition: Tensor, a: Any, b: Any, dtype: DType) -> tuple[Node, Node, Node]:
    from cupola.functional._convert import _node, _place, broadcast_shapes

    xs = (condition, a, b)
    shape = broadcast_shapes(*(x._n.shape for x in xs if isinstance(x, Tensor)))
    place = _place(xs)
    flag = _node(wrap(truth(condition)), dtypes.bool, shape, place)
    return flag, _node(a, dtype, shape, place), _node(b, dtype, shape, place)


PUBLIC["where"] = with_out(where)
Tensor.where = lambda self, condition, y: where(condition, self, y)  # type: ignore[attr-defined]


@operator(inplace=True, out=True, aliases=("clip",))
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limits values to [min, max] (torch.clamp).

    Raises:
        RuntimeError: neither limit is given.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    given = [v for v in (min, max) if v is not None]
    found = result_type(input, *given)
    if all(not isinstance(v, Tensor) for v in given):
        return _clamp_numbers(input, min, max, found)
    out = wrap(cast_node(input.node, found))
    if min is not None:
        out = _limited(out, min, ew.lt)
    if max is not None:
        out = _limited(out, max, ew.gt)
    return out


def _limited(x: Tensor, bound: Any, beyond: Any) -> Tensor:
    """``bound`` where ``x`` lies beyond it. The gradient goes to the one that is taken: to ``x``
    where both are equal, as in PyTorch.
    """
    value, limit = operands(x, bound, dtype=x.dtype)
    taken = beyond(value, limit)
    if limit.dtype.category >= 2:  # NaN is a bound that nothing keeps
        taken = ew.logical_or(taken, ew.ne(limit, limit))
    return wrap(ew.where(taken, limit, value))


def _clamp_numbers(input: Tensor, low: Any, high: Any, dtype: DType) -> Tensor:
    """The gradient is 1 inside the limits, ends included, as in PyTorch; NaN passes."""
    x = cast_node(input.node, dtype)
    from cupola.ops._build import like

    y = x
    if low is not None:
        y = ew.where(ew.lt(x, like(x, low)), like(x, low), y)
    if high is not None:
        y = ew.where(ew.gt(y, like(x, high)), like(x, high), y)
    return wrap(y)


@operator(inplace=True, out=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Limits values from below (torch.clamp_min)."""
    first_tensor("clamp_min", input)
    return clamp(input, min=min)


@operator(inplace=True, out=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Limits values from above (torch.clamp_max)."""
    first_tensor("clamp_max", input)
    return clamp(input, max=max)


@operator(inplace=True, out=True)
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replaces NaN and infinities; None means the largest or lowest finite value
    (torch.nan_to_num).
    """
    if input.dtype.category < 2:
        return input.clone()
    from cupola.functional.info import finfo

    info = finfo(input.dtype)
    x = where(isnan(input), nan if nan is not None else 0.0, input)
    x = where(eq(x, math.inf), info.max if posinf is None else posinf, x)
    return where(eq(x, -math.inf), info.min if neginf is None else neginf, x)


@operator(inplace=True, out=True)
def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians (torch.deg2rad)."""
    return mul(wrap(to_float(input)), math.pi / 180)


@operator(inplace=True, out=True)
def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees (torch.rad2deg)."""
    return mul(wrap(to_float(input)), 180 / math.pi)


@operator(inplace=True, out=True)
@rounded_once
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0 (torch.sinc)."""
    x = mul(wrap(to_float(input)), math.pi)
    zero = eq(x, 0)
    safe = where(zero, 1.0, x)
    return where(zero, 1.0, div(sin(safe), safe))


@operator(inplace=True, out=True)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, ``values`` at zero (torch.heaviside)."""
    first_tensor("heaviside", input)
    first_tensor("heaviside", values)
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    step = gt(input, 0).to(input.dtype)
    return where(eq(input, 0), values, step)


@operator(out=True)
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Complex numbers from modulus and angle (torch.polar)."""
    only_tensors("polar", abs=abs, angle=angle)
    _parts("polar", abs, angle)
    return complex_(mul(abs, cos(angle)), mul(abs, sin(angle)))


@operator(name="complex", out=True, exact=True, method=False)
def complex_(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers from real and imaginary parts (torch.complex)."""
    only_tensors("complex", real=real, imag=imag)
    _parts("complex", real, imag)
    return joined(real, imag)


def joined(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers from parts of one dtype; of halves by way of complex64."""
    return wrap(reread.joined(*operands(real, imag)))


def _parts(name: str, a: Tensor, b: Tensor) -> None:
    allowed = (dtypes.float16, dtypes.float32, dtypes.float64)
    if a.dtype not in allowed or b.dtype not in allowed:
        raise RuntimeError(
            f"Expected both inputs of {name} to be Half, Float or Double tensors but got "
            f"{a.dtype} and {b.dtype}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {a.dtype} but got scalar type {b.dtype} for second "
            "argument"
        )


@operator(method="_conj", name="conj")
def conj_value(input: Tensor) -> Tensor:
    """The complex conjugate (torch.conj)."""
    return apply(ew.conj, input) if input._n.dtype.is_complex else input


Tensor.conj = conj_value  # type: ignore[attr-defined]


@operator(out=True, inplace=True)
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate (torch.conj_physical)."""
    return conj_value(input)


@operator(aliases=("resolve_neg",))
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates and negatives are values here, never a pending flag
    (torch.resolve_conj).
    """
    return input


@operator(out=True)
def angle(input: Tensor) -> Tensor:
    """Angle of complex numbers; 0 or pi for real ones (torch.angle)."""
    if input._n.dtype.is_complex:
        return atan2(apply(ew.imag, input), apply(ew.real, input))
    x = wrap(to_float(input))
    return where(isnan(x), x, where(lt(x, 0), math.pi, 0.0).to(x.dtype))
