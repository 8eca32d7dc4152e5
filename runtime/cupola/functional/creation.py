"""New tensors (torch's "Creation Ops")."""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.functional._register import PUBLIC, operator
from cupola.functional._sizes import integer
from cupola.functional.strides import memory_order
from cupola.ir import source
from cupola.ir.device import resolve
from cupola.ops import elementwise as ew
from cupola.ops import movement as mv
from cupola.tensor import Tensor, wrap


def sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given as separate integers or as one sequence.

    Raises:
        RuntimeError: a negative size.
        TypeError: something else than integers.
    """
    if len(args) == 1 and not isinstance(args[0], int):
        try:
            args = tuple(args[0])
        except TypeError:
            args = (int(args[0]),)
    out = []
    for n in args:
        if isinstance(n, (float, str)) or n is None:
            raise TypeError(f"expected a size to be an int, but got {type(n).__name__}")
        n = integer(n)
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(args)}")
        out.append(n)
    return tuple(out)


def constant(
    value: Any, shape: tuple[int, ...], dtype: DType, device: Any, requires_grad: bool = False
) -> Tensor:
    """A tensor all of whose elements are one number."""
    dtype = dtypes.asked(dtype)
    place = resolve(device)
    if place.type == "cuda":
        engine.backend("cuda")  # a missing GPU is reported here, not when the value is observed
    out = wrap(source.const(source.rounded(value, dtype), shape, dtype, place))
    if requires_grad:
        out.requires_grad = True
    return out


def _filled(value: float, name: str, doc: str) -> Any:
    def function(
        *size: Any,
        out: Any = None,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        names: Any = None,
        memory_format: Any = None,
    ) -> Tensor:
        given = size or ((),)
        made = constant(
            value, sizes(given), dtype or dtypes.get_default_dtype(), device, requires_grad
        )
        return _into(made, out)

    def like(
        input: Tensor,
        *,
        dtype: DType | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        return _laid(value, input, dtype, device, requires_grad, memory_format)

    def new(
        self: Tensor,
        *size: Any,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        return constant(
            value, sizes(size or ((),)), dtype or self.dtype, device or self.device, requires_grad
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"A tensor {doc} (torch.{name})."
    like.__name__ = like.__qualname__ = f"{name}_like"
    like.__doc__ = f"A tensor {doc}, shaped like the input (torch.{name}_like)."
    new.__name__ = new.__qualname__ = f"new_{name}"
    new.__doc__ = f"A tensor {doc} with this tensor's dtype and device."
    PUBLIC[name], PUBLIC[f"{name}_like"] = function, like
    setattr(Tensor, f"new_{name}", new)
    return function, like


def _laid(
    value: Any,
    like: Tensor,
    dtype: DType | None,
    device: Any,
    requires_grad: bool,
    memory_format: Any,
) -> Tensor:
    """One value in the shape of ``like``, in memory in the order that the format asks for."""
    shape, order = like._n.shape, memory_order(like, memory_format)
    dtype, device = dtype or like.dtype, device or like.device
    if order is None:
        return constant(value, shape, dtype, device, requires_grad)
    inner = constant(value, tuple(shape[d] for d in order), dtype, device)
    made = wrap(mv.permute(inner.node, dims=mv.inverse_permutation(order)))
    made.requires_grad = requires_grad
    return made


def _into(made: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return made
    from cupola.functional._register import deliver

    result: Tensor = deliver(made, out)
    return result


zeros, zeros_like = _filled(0, "zeros", "of zeros")
ones, ones_like = _filled(1, "ones", "of ones")
# Uninitialised memory would not be reproducible, and a lazy zero costs nothing.
empty, empty_like = _filled(0, "empty", "whose elements are not specified (zeros here)")


@operator(method=False)
def full(
    size: Any,
    fill_value: Any,
    *,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of one value; the dtype follows the value (torch.full)."""
    if isinstance(fill_value, Tensor):
        dtype = dtype or fill_value.dtype
        fill_value = fill_value.item()
    shape = sizes((size,))
    return _into(
        constant(fill_value, shape, dtype or dtypes.of_number(fill_value), device, requires_grad),
        out,
    )


@operator(method=False)
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of one value, shaped like the input (torch.full_like)."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return _laid(value, input, dtype, device, requires_grad, memory_format)


def _new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of one value with this tensor's dtype and device."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return constant(
        value, sizes((size,)), dtype or self.dtype, device or self.device, requires_grad
    )


def _new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of ``data`` with this tensor's dtype and device."""
    from cupola.tensor import tensor

    return tensor(
        data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


Tensor.new_full = _new_full
Tensor.new_tensor = _new_tensor


def positions(n: int, device: Any) -> Tensor:
    """0 … n - 1 as int64."""
    return wrap(mv.iota(source.const(0, (n,), dtypes.int64, resolve(device)), dim=0))


@operator(method=False)
def arange(
    *bounds: Any,
    start: Any = None,
    end: Any = None,
    step: Any = None,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """start, start + step, … up to but not including end (torch.arange).

    Raises:
        RuntimeError: step is 0 or points away from end.
    """
    given = list(bounds)
    if len(given) == 1 and end is None:
        given = [0 if start is None else start, given[0]]
    if end is not None:
        given = [given[0] if given else (0 if start is None else start), end]
    if step is not None:
        given.append(step)
    given = [g.item() if isinstance(g, Tensor) else g for g in given]
    first, last, by = (*given, 1) if len(given) == 2 else given
    if dtype is None and out is not None:
        dtype = out.dtype
    if dtype is None:
        whole = all(
            isinstance(v, int) or dtypes.of_number(v).category < 2 for v in (first, last, by)
        )
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    if dtype is dtypes.int64:
        first, last, by = (int(v) if math.isfinite(v) else v for v in (first, last, by))
    if not all(math.isfinite(v) for v in (first, last, by) if not isinstance(v, complex)):
        raise RuntimeError(f"unsupported range: {first} -> {last}")
    if by == 0:
        raise (RuntimeError if given[-1] == 0 else ValueError)("step must be nonzero")
    if (last - first) * by < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = (
        math.ceil((last - first) / by)
        if dtype.category >= 2 or not _all_int(first, last, by)
        else -((first - last) // by)
    )
    place = positions(count, device).node
    if dtype.category >= 2:
        wide = ew.cast(place, dtype=dtypes.float64)
        made = (
            ew.cast(wide * float(by) + float(first), dtype=dtype)
            if (by != 1 or first != 0)
            else ew.cast(place, dtype=dtype)
        )
    else:
        made = place if by == 1 and first == 0 else place * int(by) + int(first)
        made = made if dtype is dtypes.int64 else ew.cast(made, dtype=dtype)
    result = wrap(made)
    if requires_grad:
        result.requires_grad = True
    return _into(result, out)


def _all_int(*xs: Any) -> bool:
    return all(isinstance(x, int) for x in xs)


@operator(name="range", method=False)
def closed_range(start: Any = 0, end: Any = None, step: Any = 1, **options: Any) -> Tensor:
    """start, start + step, … up to and including end, in the default dtype (torch.range)."""
    options.setdefault("dtype", dtypes.get_default_dtype())
    last = end + step if (end - start) % step == 0 else end
    return arange(start, last, step, **options)


@operator(method=False)
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` evenly spaced values from start to end, both included (torch.linspace)."""
    steps = integer(steps)
    start, end = _ends("linspace", start, end, steps)
    found = out_dtype(dtype, out)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if found.category == 1:
        start, end = int(start), int(end)
    if found in (dtypes.float16, dtypes.bfloat16):
        made = _half_line(*(source.rounded(v, found) for v in (start, end)), steps, found, device)
        if requires_grad:
            made.requires_grad = True
        return _into(made, out)
    work = dtypes.float64 if found.category < 2 or found is dtypes.float64 else dtypes.float32
    k = ew.cast(positions(steps, device).node, dtype=work)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    from cupola.ops._build import like

    # From both ends, as PyTorch does, so that the last value is exact.
    low = k * step + float(start)
    high = float(end) - (float(steps - 1) - k) * step
    made = (
        ew.where(ew.lt(k, like(k, steps // 2 if steps > 1 else 1)), low, high) if steps > 1 else low
    )
    result = wrap(made if made.dtype is found else ew.cast(made, dtype=found))
    if requires_grad:
        result.requires_grad = True
    return _into(result, out)


def _half_line(start: float, end: float, steps: int, dtype: DType, device: Any) -> Tensor:
    """linspace in a half type: PyTorch rounds the ends, the step, its multiples and the sums."""
    wide = dtypes.float32

    def narrow(node: Any) -> Any:
        return ew.cast(ew.cast(node, dtype=dtype), dtype=wide)

    k = ew.cast(positions(steps, device).node, dtype=wide)
    if steps < 2:
        return wrap(ew.cast(k * 0.0 + start, dtype=dtype))
    step = source.rounded(end - start, dtype) / source.rounded(steps - 1, dtype)
    step = source.rounded(step, dtype)
    low = narrow(narrow(k) * step) + start
    high = end - narrow(narrow(float(steps - 1) - k) * step)
    from cupola.ops._build import like

    return wrap(ew.cast(ew.where(ew.lt(k, like(k, steps // 2)), low, high), dtype=dtype))


def _ends(name: str, start: Any, end: Any, steps: Any) -> list[Any]:
    """Both ends as numbers.

    Raises:
        TypeError: the count is no integer.
        RuntimeError: an end is a tensor of more than one element.
    """
    if isinstance(steps, float):
        raise TypeError(f"{name}(): argument 'steps' must be int, not float")
    ends = (start, end)
    if any(isinstance(v, Tensor) and v.ndim for v in ends):
        dims = [v.ndim if isinstance(v, Tensor) else 0 for v in ends]
        raise RuntimeError(
            f"{name} only supports 0-dimensional start and end tensors, but got start with "
            f"{dims[0]} dimension(s) and end with {dims[1]} dimension(s)."
        )
    return [v.item() if isinstance(v, Tensor) else v for v in ends]


def out_dtype(dtype: DType | None, out: Tensor | None) -> DType:
    """The dtype asked for, or that of ``out=``.

    Raises:
        RuntimeError: they differ.
    """
    if out is None:
        return dtypes.asked(dtype) or dtypes.get_default_dtype()
    if dtype not in (None, out.dtype):
        raise RuntimeError(f"dtype {dtype} does not match dtype of out parameter ({out.dtype})")
    return out.dtype


@operator(method=False)
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, **kw: Any
) -> Tensor:
    """base to the power of evenly spaced exponents (torch.logspace)."""
    from cupola.functional.pointwise import pow

    start, end = _ends("logspace", start, end, steps)
    dtype = out_dtype(kw.pop("dtype", None), out)
    if dtype.category == 1 and steps != 1:
        start, end = (int(v) for v in (start, end))
    if dtype in (dtypes.float16, dtypes.bfloat16) and steps > 1:
        start, end = (source.rounded(v, dtype) for v in (start, end))
    grid = linspace(start, end, steps, dtype=dtypes.float64, **kw)
    made: Tensor = pow(float(base), grid).to(dtype)
    return _into(made, out)


@operator(method=False)
def eye(
    n: int,
    m: int | None = None,
    *,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal, zeros elsewhere (torch.eye)."""
    n = integer(n)
    shape = (n, n if m is None else integer(m))
    if n < 0:
        raise RuntimeError(f"n must be greater or equal to 0, got {n}")
    if shape[1] < 0:
        raise RuntimeError(f"m must be greater or equal to 0, got {m}")
    zero = source.const(0, shape, dtypes.int64, resolve(device))
    made = ew.cast(
        ew.eq(mv.iota(zero, dim=0), mv.iota(zero, dim=1)), dtype=dtype or dtypes.get_default_dtype()
    )
    result = wrap(made)
    if requires_grad:
        result.requires_grad = True
    return _into(result, out)


@operator(method=False)
def empty_strided(size: Any, stride: Any, **kw: Any) -> Tensor:
    """A tensor whose elements are not specified; strides are not kept (torch.empty_strided)."""
    made: Tensor = empty(size, **kw)
    return made


def _new_empty_strided(self: Tensor, size: Any, stride: Any, **kw: Any) -> Tensor:
    """A tensor whose elements are not specified, of this dtype and device."""
    kw = {"dtype": self.dtype, "device": self.device, **kw}
    made: Tensor = empty_strided(size, stride, **kw)
    return made


Tensor.new_empty_strided = _new_empty_strided  # type: ignore[attr-defined]


@operator(method=False)
def empty_permuted(size: Any, physical_layout: Any, **kw: Any) -> Tensor:
    """A tensor whose elements are not specified (torch.empty_permuted).

    Raises:
        RuntimeError: the layout is not a permutation of the dimensions.
    """
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(
            f"Number of dimensions in size does not match the layout: {list(physical_layout)} is "
            f"not a permutation of {len(size)} dimensions"
        )
    made: Tensor = empty(size, **kw)
    return made


@operator(method=False)
def scalar_tensor(
    value: Any, *, dtype: DType | None = None, device: Any = None, **kw: Any
) -> Tensor:
    """A 0-d tensor of the default dtype (torch.scalar_tensor)."""
    return constant(value, (), dtype or dtypes.get_default_dtype(), device)
