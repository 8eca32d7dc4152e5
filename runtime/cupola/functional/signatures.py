"""Further ways to call: sizes and dimensions by keyword, NumPy's names of arguments, the
number-first forms of old PyTorch.

Imported last: it wraps what the other families published.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cupola.functional._register import PUBLIC
from cupola.tensor import Size, Tensor, protocol

# Functions whose sizes come one by one or as a sequence, and the keyword that names the sequence.
_KEYWORDS = {
    "size": (
        *("zeros", "ones", "empty", "rand", "randn"),
        *("new_zeros", "new_ones", "new_empty", "view", "expand"),
    ),
    "shape": ("reshape",),
    "dims": ("permute", "flip", "tile"),
    "repeats": ("repeat",),
    "sizes": ("repeat",),
}


def _with_keyword(f: Callable[..., Any], keyword: str) -> Callable[..., Any]:
    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if keyword in kwargs:
            args = (*args, kwargs.pop(keyword))
        return f(*args, **kwargs)

    return wrapper


def _number_first(f: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Accepts numbers between the tensors, as in ``x.addcmul_(0.5, a, b)`` or ``x.add(2, y)``."""
    fixed = 1 if names == ("alpha",) else 2

    @functools.wraps(f)
    def wrapper(input: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > fixed:
            numbers = [a for a in args if not isinstance(a, Tensor)]
            tensors = [a for a in args if isinstance(a, Tensor)]
            if len(tensors) == fixed and len(numbers) <= len(names):
                # One number of (beta, alpha) is beta.
                kwargs.update(zip(names, numbers, strict=False))
                args = tuple(tensors)
        return f(input, *args, **kwargs)

    return wrapper


def _new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """Sizes, or data, as a tensor of this one's dtype and device (Tensor.new)."""
    if not args:
        return self.new_empty(0)
    first = args[0]
    if len(args) == 1 and (
        isinstance(first, (list, tuple, Tensor)) and not isinstance(first, Size)
    ):
        return self.new_tensor(first)
    return self.new_empty(first if isinstance(first, Size) else args)


Tensor.new = _new


_NUMBERS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("value",): ("addcmul", "addcdiv"),
    ("beta", "alpha"): ("addmm", "addmv", "addr", "baddbmm", "addbmm"),
    ("alpha",): ("add", "sub"),
}


def _wrap(name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    if name in PUBLIC:
        PUBLIC[name] = change(PUBLIC[name])
    if name in vars(Tensor):
        setattr(Tensor, name, change(vars(Tensor)[name]))


# PyTorch's own parser takes NumPy's names of arguments as well.
_NUMPY = {"axis": "dim", "keepdims": "keepdim"}
_REDUCTIONS = (
    "all any amax amin argmax argmin count_nonzero kthvalue logsumexp median mode nanmean "
    "nanmedian nanquantile nansum prod quantile std std_mean var var_mean"
).split()
_ALONG = (
    "argsort chunk cross cummax cummin cumprod cumsum diff gather index_add index_copy index_fill "
    "index_select log_softmax logcumsumexp narrow repeat_interleave scatter scatter_add select "
    "softmax sort squeeze stack take_along_dim tensor_split topk trapezoid unbind unsqueeze"
).split()
_IN_PLACE = (
    "cumprod cumsum index_add index_copy index_fill scatter scatter_add squeeze unsqueeze"
).split()


def _numpy_names(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs or "keepdims" in kwargs:
            kwargs = {_NUMPY.get(name, name): value for name, value in kwargs.items()}
        try:
            return f(*args, **kwargs)
        except (TypeError, AttributeError):
            return protocol.again(f, args, kwargs)

    return wrapper


for _name in (*_REDUCTIONS, *_ALONG, *(n + "_" for n in _IN_PLACE)):
    _wrap(_name, _numpy_names)
for _keyword, _names in _KEYWORDS.items():
    for _name in _names:
        _wrap(_name, functools.partial(_with_keyword, keyword=_keyword))
for _fields, _names in _NUMBERS.items():
    for _name in _names:
        _wrap(_name, functools.partial(_number_first, names=_fields))
        _wrap(_name + "_", functools.partial(_number_first, names=_fields))
