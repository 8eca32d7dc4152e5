"""From torch's objects to cupola's: functions by name, tensors by value, the rest by kind."""

from __future__ import annotations

import contextlib
import functools
import importlib
import types
from typing import Any

import torch
from torch.masked import _ops
from torch.testing import _utils
from torch.testing._internal import common_methods_invocations, common_utils

import cupola

# Where public functions live; the first place that holds an object names it.
_NAMESPACES = (
    "",
    "Tensor",
    "nn.functional",
    "nn.init",
    "linalg",
    "fft",
    "special",
    "signal.windows",
    "masked",
    "random",
    "autograd",
    "nn",
    "optim",
)


@contextlib.contextmanager
def _freeze_rng_state() -> Any:
    state = cupola.get_rng_state()
    try:
        yield
    finally:
        cupola.set_rng_state(state)


def _masked_operation(op: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """An operator of torch.masked with zeros where its result is masked out."""
    out = op(input, *args, **kwargs)
    if kwargs.get("mask") is None:
        return out
    kept = translate(_ops._output_mask)(op, input, *args, **kwargs)
    return cupola.where(kept, out, out.new_zeros([]))


def _masked_pointwise(op: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
    """The same for an operator of two masked operands."""
    out = op(input, *args, **kwargs)
    masks = (kwargs.get("input_mask"), kwargs.get("other_mask"))
    if any(m is None for m in masks):
        return out
    both = {**kwargs, "mask": cupola.logical_and(*masks)}
    kept = translate(_ops._input_mask)(input, *args, **both)
    return cupola.where(kept, out, out.new_zeros([]))


# Helpers of torch's own tests that reach into torch's internals: the same for cupola.
_HELPERS = {
    common_utils.freeze_rng_state: _freeze_rng_state,
    _utils.freeze_rng_state: _freeze_rng_state,
    common_methods_invocations.gradcheck_wrapper_masked_operation: _masked_operation,
    common_methods_invocations.gradcheck_wrapper_masked_pointwise_operation: _masked_pointwise,
}


# Where cupola's tensors live while torch's stay on the CPU; set once, before the first sample.
_place = {"device": "cpu"}


def target() -> str:
    """The device on which cupola runs the samples."""
    return _place["device"]


def set_target(device: str) -> None:
    """Chooses the device on which cupola runs the samples."""
    _place["device"] = device
    if device != "cpu":
        cupola.set_default_device(device)
        cupola.backends.cudnn.allow_tf32 = False  # the tolerances are those of float32


class Missing(Exception):
    """cupola has no such name."""


class Skipped(Exception):
    """A sample that holds something on the list of excluded layouts."""


@functools.cache
def _names() -> dict[int, str]:
    """The path below ``torch`` of each public object, by identity."""
    found: dict[int, str] = {}
    for space in _NAMESPACES:
        holder = torch
        for part in filter(None, space.split(".")):
            holder = getattr(holder, part)
        for name in sorted(dir(holder), key=lambda n: n.startswith("_")):
            value = getattr(holder, name, None)
            if name.startswith("_") and isinstance(value, types.FunctionType) and space != "Tensor":
                continue  # a private Python function is translated, not looked up
            if callable(value) or isinstance(value, types.ModuleType):
                found.setdefault(id(value), f"{space}.{name}" if space else name)
    found[id(torch)] = ""
    return found


def by_path(path: str) -> Any:
    """The cupola object of a path below ``torch``.

    Raises:
        Missing: there is none, or what is there only says that it is not supported.
    """
    value: Any = cupola
    for part in filter(None, path.split(".")):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise Missing(f"cupola.{path}") from None
        if type(value).__module__ == "cupola.unsupported":
            raise Missing(f"cupola.{path}")
    return value


def _from_function(f: types.FunctionType, memo: dict[int, Any]) -> Any:
    """The same Python function, reading cupola wherever it reads torch."""
    names: set[str] = set()
    codes = [f.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    space: dict[str, Any] = {"__builtins__": __builtins__, "__name__": f.__name__}
    cells = tuple(types.CellType() for _ in f.__closure__ or ())
    made = types.FunctionType(f.__code__, space, f.__name__, None, cells)
    memo[id(f)] = made
    for name in names & f.__globals__.keys():
        space[name] = translate(f.__globals__[name], memo)
    for cell, old in zip(cells, f.__closure__ or (), strict=True):
        cell.cell_contents = translate(old.cell_contents, memo)
    made.__defaults__ = translate(f.__defaults__, memo)
    made.__kwdefaults__ = translate(f.__kwdefaults__, memo)
    return made


def _from_module(x: torch.nn.Module, memo: dict[int, Any]) -> Any:
    """A layer of the same class with the same attributes."""
    kind = by_path(f"{type(x).__module__}.{type(x).__name__}".removeprefix("torch."))
    memo[id(x)] = made = kind.__new__(kind)
    cupola.nn.Module.__init__(made)
    for name, value in x.__dict__.items():
        made.__dict__[name] = translate(value, memo)
    return made


def to_cupola(t: torch.Tensor, memo: dict[Any, Any] | None = None) -> Any:
    """A cupola tensor of the same values, dtype, strides and need of a gradient.

    Tensors that share memory in torch do so in cupola if they are given the same ``memo``.
    """
    memo = {} if memo is None else memo
    t, leaf = t.detach().resolve_conj().resolve_neg(), t
    for kind, found in (
        ("sparse", t.layout is not torch.strided),
        ("quantized", t.is_quantized),
        ("nested", t.is_nested),
        ("float8", "float8" in str(t.dtype)),
    ):
        if found:
            raise Skipped(kind)
    place = (t.untyped_storage().data_ptr(), t.dtype)
    memo[id(t), "alive"] = t  # else its memory may be another tensor's, found under this place
    if t.ndim > 64:  # more than NumPy has
        out = _placed(_values(t.reshape(-1))).reshape(t.shape).detach()
    elif t.is_contiguous() and _stored(t) == t.numel():
        whole = memo.get(place)
        out = _placed(_values(t)) if whole is None else whole.view(t.shape)
        if place[0]:
            memo.setdefault(place, out.detach().view(-1))
    else:  # the memory around the tensor goes along: an operator may look at it
        base = memo.get(place)
        if base is None:
            base = memo[place] = _placed(_values(t.as_strided((_stored(t),), (1,), 0)))
        out = base.as_strided(tuple(t.shape), t.stride(), t.storage_offset()).detach()
    return out.requires_grad_() if leaf.requires_grad else out


def _stored(t: torch.Tensor) -> int:
    """How many elements the memory holds in which a tensor lies."""
    return t.untyped_storage().nbytes() // t.element_size()


def _placed(x: Any) -> Any:
    return x if target() == "cpu" or x.is_meta else x.to(target())


def _values(t: torch.Tensor) -> Any:
    if t.is_meta:
        return cupola.empty(t.shape, dtype=translate(t.dtype), device="meta")
    if t.dtype is torch.bfloat16:
        return cupola.from_numpy(t.float().numpy().copy()).to(cupola.bfloat16)
    if t.dtype is torch.complex32:
        return cupola.from_numpy(t.to(torch.complex64).numpy().copy()).to(cupola.complex32)
    return cupola.from_numpy(t.numpy().copy())


def translate(x: Any, memo: dict[int, Any] | None = None) -> Any:
    """What takes the place of an object in a call to cupola.

    Raises:
        Missing: a function or class that cupola does not have.
        Skipped: a tensor of an excluded layout.
    """
    memo = {} if memo is None else memo
    if id(x) in memo:
        return memo[id(x)]
    if isinstance(x, torch.nn.Parameter):
        memo[id(x)] = made = cupola.nn.Parameter(to_cupola(x.detach()), x.requires_grad)
        return made
    if isinstance(x, torch.Tensor):
        memo[id(x)] = made = to_cupola(x, memo)
        return made
    if isinstance(x, torch.nn.Module):
        return _from_module(x, memo)
    if isinstance(x, (torch.dtype, torch.layout, torch.memory_format)):
        return by_path(str(x).removeprefix("torch."))
    if isinstance(x, torch.device):
        return cupola.device(target() if x.type == "cpu" else str(x))
    if isinstance(x, torch.Generator):
        return cupola.Generator(target()).manual_seed(x.initial_seed())
    if isinstance(x, torch.Size):
        return cupola.Size(x)
    if isinstance(x, (tuple, list)):
        parts = [translate(v, memo) for v in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    if isinstance(x, dict):
        return {
            k: target() if k == "device" and v == "cpu" else translate(v, memo)
            for k, v in x.items()
        }
    if isinstance(x, slice):
        return slice(translate(x.start), translate(x.stop), translate(x.step))
    if isinstance(x, functools.partial):
        parts = translate((x.func, x.args, x.keywords), memo)
        return functools.partial(parts[0], *parts[1], **parts[2])
    if id(x) in _names() and _names()[id(x)] != "":
        return by_path(_names()[id(x)])
    if x is torch:
        return cupola
    if isinstance(x, types.ModuleType) and x.__name__.startswith("torch."):
        return by_path(x.__name__.removeprefix("torch."))
    if isinstance(x, types.FunctionType) and x in _HELPERS:
        return _HELPERS[x]
    if isinstance(x, types.FunctionType) and (x.__module__ or "").startswith("torch."):
        return _from_function(x, memo)
    return x


def exception(kind: type[BaseException]) -> type[BaseException]:
    """cupola's class for an exception class of torch's; the built-in ones stand for themselves."""
    if kind.__module__ == "builtins":
        return kind
    errors = importlib.import_module("cupola.errors")
    return getattr(errors, kind.__name__.lstrip("_"), None) or exception(kind.__bases__[0])
