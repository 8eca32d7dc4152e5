"""Classes that take over operators: ``__torch_function__`` (torch's "Extending PyTorch").

Nothing of this costs anything until a class asks for it. The first subclass of Tensor, the first
mode or the first traced graph switches it on: the code of the public functions, methods and
properties is then exchanged for one that looks at its arguments first. The function objects stay
the same, so that tables of overrides and names imported earlier remain right.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any


class _State(threading.local):
    """Per-thread: what is taken over at present.

    Attributes:
        arguments: whether classes of arguments are asked.
        modes: the active modes, the innermost last; empty under ``DisableTorchFunction``.
    """

    arguments: bool = True
    modes: tuple[Any, ...] = ()


class _Faces:
    """The public functions, by where they are found."""

    def __init__(self) -> None:
        self.on = False
        self.tensor: type = object
        self.places: dict[str, dict[str, Any]] = {}
        self.of: dict[int, tuple[Any, str, str]] = {}  # by id: the function, its place, its name
        self.inside: dict[int, Any] = {}  # functions that public ones wrap


# Within the package: whoever looks for the user's line passes over what lies there.
_PLACE = os.path.join(os.path.dirname(__file__), "<taken over>")

state = _State()
faces = _Faces()

# Of Tensor's names those that PyTorch has not, or does not let classes take over.
OWN = frozenset(
    """
    __array_namespace__ __class_getitem__ __hash__ __init__ __init_subclass__ __iter__ __new__
    __setstate__ __torch_function__ accumulate_grad all_gather as_subclass assign hpu names node
    mpi_all_reduce mpi_broadcast mpi_reduce nccl_all_reduce nccl_broadcast nccl_reduce
    realize recv reduce_scatter send to_device turn unhooked view_by view_through
    """.split()
)
# Of the functions those whose arguments' classes are not asked; modes see them.
MODES_ONLY = frozenset(("tensor", "as_tensor", "asarray", "is_storage", "typename"))
NEVER = frozenset(
    """
    is_tensor get_rng_state set_rng_state set_printoptions broadcast_shapes handle_torch_function
    has_torch_function has_torch_function_unary has_torch_function_variadic
    """.split()
)
# Functions of torch.nn.functional that are told as they were called. The others are functions of
# Python there, which hand on every argument: the required ones by place, the rest by name.
AS_CALLED = frozenset(
    """
    adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear celu_ channel_shuffle conv1d
    conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity elu_
    gelu grouped_mm hardshrink hardsigmoid hardswish hardtanh_ leaky_relu_ linear logsigmoid
    native_channel_shuffle one_hot pairwise_distance pdist pixel_shuffle pixel_unshuffle prelu relu_
    rrelu_ scaled_dot_product_attention scaled_mm selu_ sigmoid softplus softshrink tanh threshold_
    upsample upsample_bilinear upsample_nearest
    """.split()
)
_NOT_THERE = frozenset(
    (("l1_loss", "weight"), ("layer_norm", "cudnn_enable"), ("group_norm", "cudnn_enabled"),
     ("rrelu", "generator"))
)  # fmt: skip
# Operators that PyTorch reports under the name of a method.
REPORTED = {
    "__str__": "__repr__",
    "__rand__": "bitwise_and",
    "__ror__": "bitwise_or",
    "__rxor__": "bitwise_xor",
} | {
    f"__{mark}{name}__": method + ("_" if mark == "i" else "")
    for name, method, marks in (
        ("add", "add", ("", "r", "i")),
        ("sub", "sub", ("", "i")),
        ("mul", "mul", ("", "r", "i")),
        ("truediv", "div", ("", "i")),
        ("floordiv", "floor_divide", ("i",)),
        ("mod", "remainder", ("", "i")),
        ("matmul", "matmul", ("",)),
        *((name, name, ("",)) for name in ("lt", "le", "ne", "gt", "ge", "neg", "abs")),
        ("pos", "positive", ("",)),
    )
    for mark in marks
}
_BINARY = frozenset(
    f"__{mark}{name}__"
    for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
    for mark in ("", "r", "i")
) | {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")}


def disabled(func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """The ``__torch_function__`` of classes that take over nothing, such as Parameter."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


class DisableTorchFunctionSubclass:
    """Inside, no class of an argument takes over an operator; modes still do."""

    def __enter__(self) -> None:
        self.before = state.arguments
        state.arguments = False

    def __exit__(self, *exc: object) -> None:
        state.arguments = self.before


class DisableTorchFunction:
    """Inside, neither classes of arguments nor modes take over an operator."""

    def __enter__(self) -> None:
        self.before = state.arguments, state.modes
        state.arguments, state.modes = False, ()

    def __exit__(self, *exc: object) -> None:
        state.arguments, state.modes = self.before


def takes_over(value: Any) -> bool:
    """Whether the class of a value has a ``__torch_function__`` of its own."""
    kind = type(value)
    if kind is faces.tensor:
        return False
    method = getattr(kind, "__torch_function__", None)
    return method is not None and method is not disabled


def taking_over(values: Iterable[Any]) -> list[Any]:
    """One value of each class that takes over operators, subclasses before their bases."""
    found: list[Any] = []
    for value in values:
        for x in value if isinstance(value, (tuple, list)) else (value,):
            kind = type(x)
            if takes_over(x) and not any(type(other) is kind for other in found):
                places = (k for k, other in enumerate(found) if issubclass(kind, type(other)))
                found.insert(next(places, len(found)), x)
    return found


def dispatch(
    function: Any, relevant: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What the innermost mode, else the classes of the arguments, make of a call.

    Raises:
        TypeError: all of them return NotImplemented.
    """
    types = tuple(type(x) for x in relevant)
    if state.modes:
        before = state.modes
        mode, state.modes = before[-1], before[:-1]
        try:
            result = mode.__torch_function__(function, types, args, kwargs)
        finally:
            state.modes = before
        if result is not NotImplemented:
            return result
    for x in relevant:
        result = x.__torch_function__(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(
        f"no implementation found for '{name_of(function)}' on types that implement "
        f"__torch_function__: {[t.__qualname__ for t in types]}"
    )


def keeps_kind(function: Any) -> bool:
    """Whether results of an operator stay as they are: it reads a gradient, or a view's base."""
    return function in unconverted()


def unconverted() -> set[Any]:
    """The operators whose results keep their own class."""
    tensor: Any = faces.tensor
    return {tensor.grad.__get__}


def convert(result: Any, cls: type) -> Any:
    """Tensors among the results of an operator, as instances of a subclass."""
    if cls is faces.tensor:
        return result
    if isinstance(result, faces.tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)  # type: ignore[attr-defined]
    if isinstance(result, (tuple, list)):
        parts = (convert(part, cls) for part in result)
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


# --- switching on


def defined(cls: type) -> None:
    """Called for every subclass of Tensor: the first that takes over operators switches on."""
    if not faces.on and getattr(cls, "__torch_function__", None) is not disabled:
        switch_on()


def noticed(args: Iterable[Any], kwargs: dict[str, Any]) -> bool:
    """Whether arguments that an operator failed at take over operators, which nobody had noticed:
    they are no tensors. From now on they are asked.
    """
    if faces.on or not taking_over((*args, *kwargs.values())):
        return False
    switch_on()
    return True


def again(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """In the handler of an error of ``f``: calls the public function that it belongs to, if some
    argument takes over operators and nobody had noticed; else raises the error.
    """
    if not noticed(args, kwargs):
        raise
    return public(f)(*args, **kwargs)


def public(function: Any) -> Any:
    """The public function that a part of it, of the same name, belongs to."""
    own = function.__name__
    named = (f for f, place, n in faces.of.values() if n == own and place != "Tensor")
    return next(named, function)


def publish(place: str, names: dict[str, Any]) -> None:
    """Names that the public finds in a module (without "torch.").

    Functions that were wrapped on their way say that they are from there: pickle looks them up.
    """
    faces.places[place] = names
    for name, found in names.items():
        if isinstance(found, FunctionType):
            _findable(found, f"cupola.{place}" if place else "cupola", name)
    if faces.on:
        _exchange_all(place, names)


def switch_on() -> None:
    """From now on public functions look at their arguments and at modes."""
    if faces.on:
        return
    faces.on = True
    for base in reversed(faces.tensor.__mro__[:-1]):
        _exchange_methods(base)
    for place in sorted(faces.places, key=lambda p: p != "nn.functional"):
        _exchange_all(place, faces.places[place])


def overridable(place: str) -> list[Any]:
    """The functions of a place ("Tensor", "", "linalg"…) that can be taken over."""
    switch_on()
    return [f for f, where, name in faces.of.values() if where == place and name not in MODES_ONLY]


def name_of(function: Any) -> str:
    """The public name of a function, method or property's accessor, such as "torch.add"."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, property):
        for base in faces.tensor.__mro__:
            for name, value in vars(base).items():
                if value is owner:
                    return f"torch.Tensor.{name}.{function.__name__}"
    found = faces.of.get(id(function))
    if found is None:
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', function)}"
    return ".".join(part for part in ("torch", *found[1:]) if part)


def is_method(function: Any) -> bool:
    """Whether a function is a method of Tensor, or reads or writes a property of it."""
    if isinstance(getattr(function, "__self__", None), property):
        return True
    found = faces.of.get(id(function))
    return found is not None and found[1] == "Tensor"


def own_methods(cls: type, shared: Iterable[Any]) -> None:
    """Makes functions that are methods of a class under several names, or also public functions,
    one object for each method: who takes over operators is told which was called.
    """
    seen = set()
    for f in shared:
        while f is not None:
            seen.add(id(f))
            f = getattr(f, "__wrapped__", None)
    for base in cls.__mro__[:-1]:
        for name, f in list(vars(base).items()):
            if isinstance(f, property) and id(f.fget) in seen:
                setattr(base, name, property(apart(f.fget, name), f.fset, f.fdel, f.__doc__))
            if type(f) is not FunctionType:
                continue
            own, before = f, len(seen)
            seen.add(id(f))
            if len(seen) == before:  # met before
                own = apart(f, name, f"Tensor.{name}")
                setattr(base, name, own)
            _findable(own, cls.__module__.partition(".")[0], f"{cls.__name__}.{name}")


def _findable(f: FunctionType, module: str, qualname: str) -> None:
    """Lets a function that is not where it says it is from say where it is: pickle looks it up."""
    found: Any = sys.modules.get(f.__module__ or "")
    for part in f.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not f:
        f.__module__, f.__qualname__ = module, qualname


def apart(f: Any, name: str, qualname: str = "") -> FunctionType:
    """A function that does the same and is another object."""
    copy = _copy(f)
    copy.__dict__.update(f.__dict__)
    copy.__name__, copy.__qualname__, copy.__doc__ = name, qualname or f.__qualname__, f.__doc__
    copy.__module__, copy.__annotations__ = f.__module__, f.__annotations__
    return copy


def _copy(f: FunctionType) -> FunctionType:
    copy = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    copy.__kwdefaults__ = f.__kwdefaults__
    return copy


def _exchange_methods(base: type) -> None:
    for name, value in vars(base).items():
        if name in OWN or name[0] == "_" and name[:2] != "__" and name != "_version":
            continue
        if type(value) is FunctionType:
            faces.of[id(value)] = value, "Tensor", name
            _exchange(value, functools.partial(_method, REPORTED.get(name, name)), name in _BINARY)
        elif isinstance(value, property):
            if value.fget is not None:
                _exchange(value.fget, functools.partial(_accessor, value, "__get__"))
            if value.fset is not None:
                _exchange(value.fset, functools.partial(_accessor, value, "__set__"))


def _method(name: str) -> Any:
    return getattr(faces.tensor, name)


def _accessor(value: property, name: str) -> Any:
    return getattr(value, name)


def _exchange_all(place: str, names: dict[str, Any]) -> None:
    for name, value in names.items():
        if type(value) is FunctionType and name not in NEVER and id(value) not in faces.of:
            faces.of[id(value)] = value, place, name
            spells = place == "nn.functional" and name not in AS_CALLED or name == "einsum"
            public = functools.partial(_same, value)
            inner = value.__dict__.get("__wrapped__")
            _exchange(value, public, False, name not in MODES_ONLY, spells)
            # What the runtime itself calls, without the options that the public has.
            while type(inner) is FunctionType:
                following = inner.__dict__.get("__wrapped__")
                if name not in MODES_ONLY and id(inner) not in faces.inside:
                    faces.inside[id(inner)] = inner
                    _exchange(inner, public, modes=False)
                inner = following


def _spelled(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with the required ones by place and all others by name."""
    if function.__name__ == "einsum":  # operands given as a sequence are told one by one
        given = args[1] if len(args) == 2 else ()
        return ((args[0], *given) if isinstance(given, (tuple, list)) and given else args), kwargs
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return args, kwargs
    bound.apply_defaults()
    by_place, by_name = [], {}
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
            return args, kwargs
        if parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
            by_place.append(bound.arguments[name])
        elif (function.__name__, name) not in _NOT_THERE:
            by_name[name] = bound.arguments[name]
    return tuple(by_place), by_name


def _same(value: Any) -> Any:
    return value


def _exchange(
    f: FunctionType,
    public: Callable[[], Any],
    binary: bool = False,
    asks: bool = True,
    spells: bool = False,
    modes: bool = True,
) -> None:
    """Lets a function look at its arguments before it does what it did."""
    original = _copy(f)
    if "__wrapped__" in f.__dict__:
        original.__dict__["__wrapped__"] = f.__dict__["__wrapped__"]

    def over(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ask = asks and state.arguments
        if ask or state.modes:
            relevant = taking_over((*args, *kwargs.values())) if ask else []
            if relevant or modes and state.modes:
                if spells:
                    args, kwargs = _spelled(original, args, kwargs)
                if not binary:
                    return dispatch(public(), relevant, args, kwargs)
                try:
                    return dispatch(public(), relevant, args, kwargs)
                except TypeError:
                    return NotImplemented
        if not asks and state.arguments:
            with DisableTorchFunctionSubclass():
                return original(*args, **kwargs)
        return original(*args, **kwargs)

    f.__dict__.setdefault("__wrapped__", original)
    f.__kwdefaults__ = {**(f.__kwdefaults__ or {}), "_over": over}
    f.__code__ = _looking(len(f.__code__.co_freevars))
    f.__defaults__ = None


@functools.cache
def _looking(cells: int) -> CodeType:
    """Code that hands its arguments over; a function's code has to name as many variables of
    enclosing functions as the one before.
    """
    names = ", ".join(f"c{k}" for k in range(cells))
    text = (
        f"def enclosing({names}):\n"
        " def operator(*args, _over, **kwargs):\n"
        "  return _over(args, kwargs)\n"
        f"  ({names})\n"
        " return operator\n"
    )
    made: dict[str, Any] = {}
    exec(compile(text, _PLACE, "exec"), made)  # our own text, free of anything given
    code: CodeType = made["enclosing"](*[None] * cells).__code__
    return code
