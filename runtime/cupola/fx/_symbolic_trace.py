"""Tracing: a module or function is called with stand-ins, and what happens to them becomes a graph
(torch.fx._symbolic_trace).
"""

from __future__ import annotations

import builtins
import functools
import inspect
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

from cupola.functional import PUBLIC
from cupola.fx.graph import Graph
from cupola.fx.graph_module import GraphModule
from cupola.fx.node import Node, map_aggregate
from cupola.fx.proxy import ParameterProxy, Proxy, TracerBase, base_types
from cupola.nn import Module, Parameter, Sequential
from cupola.tensor import Tensor, protocol

__all__ = ["PH", "ProxyableClassMeta", "Tracer", "is_fx_tracing", "symbolic_trace", "wrap"]

# (names of a module, name) of the functions that are recorded as they are called there.
_wrapped: dict[tuple[int, str], dict[str, Any]] = {}
_tracing = threading.local()


class PHBase:
    """In ``concrete_args``: this part is an argument all the same."""

    def __repr__(self) -> str:
        return "PH"


PH = PHBase()


def is_fx_tracing() -> bool:
    """Whether a graph is being traced."""
    return bool(getattr(_tracing, "depth", 0))


def wrap(fn_or_name: Any) -> Any:
    """Lets a function be recorded as a call of itself instead of being traced through; called
    where the function's name is defined, or as its decorator.

    Raises:
        RuntimeError: the argument is neither a function nor a name.
        NotImplementedError: not called at the top level of a module.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError(
            "Unsupported type for global function! Must be either a callable or string name"
        )
    name = fn_or_name if isinstance(fn_or_name, str) else fn_or_name.__name__
    frame = sys._getframe(1)
    if frame.f_code.co_name != "<module>":
        raise NotImplementedError("wrap must be called at the top level of a module")
    _wrapped[id(frame.f_globals), name] = frame.f_globals
    return fn_or_name


def _proxy_among(args: Any, kwargs: Any) -> Proxy | None:
    found: list[Proxy] = []

    def note(x: Any) -> Any:
        if isinstance(x, Proxy):
            found.append(x)
        return x

    map_aggregate((args, kwargs), note)
    return found[0] if found else None


def _recorded(original: Any) -> Any:
    """A function that, called with a stand-in, is recorded."""

    @functools.wraps(original)
    def called(*args: Any, **kwargs: Any) -> Any:
        proxy = _proxy_among(args, kwargs)
        if proxy is None:
            return original(*args, **kwargs)
        result = proxy.tracer.create_proxy("call_function", original, args, kwargs)
        result.node.meta["is_wrapped"] = True
        return result

    called._recorded = True  # type: ignore[attr-defined]
    return called


class _Patches:
    """Names that are other values while something is traced."""

    def __init__(self) -> None:
        self.before: list[tuple[Any, str, Any, bool]] = []

    def names(self, space: dict[str, Any], name: str, value: Any) -> None:
        self.before.append((space, name, space.get(name), name in space))
        space[name] = value

    def attribute(self, owner: type, name: str, value: Any) -> None:
        self.before.append((owner, name, vars(owner)[name], True))
        setattr(owner, name, value)

    def undo(self) -> None:
        for owner, name, value, existed in reversed(self.before):
            if isinstance(owner, type):
                setattr(owner, name, value)
            elif existed:
                owner[name] = value
            else:
                del owner[name]


class Tracer(TracerBase):
    """Traces modules and functions; subclasses decide what becomes one node.

    Args:
        autowrap_modules: modules whose functions are recorded as they are called.
        autowrap_functions: further such functions.
        param_shapes_constant: sizes of parameters are numbers, not nodes.
    """

    root: Module

    def __init__(
        self,
        autowrap_modules: tuple[ModuleType, ...] = (math,),
        autowrap_functions: tuple[Callable[..., Any], ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        self._autowrap_function_ids = {id(f) for f in autowrap_functions}
        for module in autowrap_modules:
            for name, value in vars(module).items():
                if not name.startswith("_") and callable(value):
                    self._autowrap_function_ids.add(id(value))
        self._autowrap_search = list(autowrap_modules)
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict[Module, str] | None = None
        self.root_module_name = ""
        self.scope: list[str] = []

    # --- what subclasses decide

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether calls of a module are one node: by default, of the library's own layers."""
        own = m.__module__.startswith("cupola.nn") or m.__module__.startswith("torch.nn")
        return own and not isinstance(m, Sequential)

    def path_of_module(self, mod: Module) -> str:
        """The name of a module inside the root.

        Raises:
            NameError: it is not inside.
        """
        if self.submodule_paths is not None:
            path = self.submodule_paths.get(mod)
            if path is None:
                raise NameError("module is not installed as a submodule")
            return path
        for name, inner in self.root.named_modules():
            if inner is mod:
                return name
        raise NameError("module is not installed as a submodule")

    def call_module(
        self, m: Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a call of a module becomes.

        Args:
            forward: calls the module, so that what it does is traced.
        """
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        return forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What reading a parameter (or buffer) of a module gives."""
        if isinstance(attr_val, Parameter):
            return self._stand_in(attr_val, self.root.named_parameters(), parameter_proxy_cache)
        if self.proxy_buffer_attributes and isinstance(attr_val, Tensor):
            return self._stand_in(attr_val, self.root.named_buffers(), parameter_proxy_cache)
        return attr_val

    def _stand_in(self, value: Any, named: Any, cache: dict[str, Any]) -> Any:
        for name, other in named:
            if other is value:
                if name not in cache:
                    factory = None
                    if self.param_shapes_constant:
                        factory = lambda node: ParameterProxy(self, node, name, value)  # noqa: B023
                    cache[name] = self.create_proxy(
                        "get_attr", name, (), {}, proxy_factory_fn=factory
                    )
                return cache[name]
        return value

    def create_arg(self, a: Any) -> Any:
        """A value as an argument of a node; tensors become attributes of the root."""
        if isinstance(a, Parameter):
            for name, p in self.root.named_parameters():
                if p is a:
                    return self.create_node("get_attr", name, (), {})
            raise NameError("parameter is not a member of this module")
        if isinstance(a, Tensor):
            for name, b in self.root.named_buffers():
                if b is a:
                    return self.create_node("get_attr", name, (), {})
            return self._constant(a, "_tensor_constant")
        if isinstance(a, Module):
            return self.create_node("get_attr", self.path_of_module(a), (), {})
        return super().create_arg(a)

    def _constant(self, a: Any, prefix: str) -> Node:
        """A tensor as an attribute of the root, under the name that it has or a new one."""
        name = self.tensor_attrs.get(id(a), ("", None))[0]
        if not name:
            name = self.get_fresh_qualname(prefix)
            self.tensor_attrs[id(a)] = name, a
            setattr(self.root, name, a)
        return self.create_node("get_attr", name, (), {})

    def get_fresh_qualname(self, prefix: str) -> str:
        """A name that the root has no attribute of yet."""
        count = 0
        while hasattr(self.root, f"{prefix}{count}"):
            count += 1
        return f"{prefix}{count}"

    # --- tracing

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: dict[str, Any] | None = None
    ) -> tuple[Any, list[Any]]:
        """The function to call, with placeholders for its arguments."""
        analysed: Any = inspect.unwrap(root_fn)
        code: CodeType = analysed.__code__
        names = list(code.co_varnames[: code.co_argcount])
        keywords = list(code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount])
        signature = inspect.signature(analysed)
        args: list[Any] = []
        if is_module:
            if not names:
                raise RuntimeError("``self`` argument cannot be part of *args expansion!")
            names.pop(0)
            args.append(self.root)
        rest = code.co_argcount + code.co_kwonlyargcount
        for flag, stars in ((inspect.CO_VARARGS, "*"), (inspect.CO_VARKEYWORDS, "**")):
            if code.co_flags & flag:
                keywords.append(stars + code.co_varnames[rest])
                rest += 1
        for name in names + keywords:
            args.append(self._argument(name, concrete_args or {}, signature, analysed))
        if keywords:
            root_fn = _all_positional(analysed, len(args))
        return root_fn, args

    def _argument(
        self, name: str, concrete: dict[str, Any], signature: inspect.Signature, function: Any
    ) -> Any:
        if name[0] == "*":
            return self.create_proxy("placeholder", name, (), {})
        default = signature.parameters[name].default
        given = () if default is inspect.Parameter.empty else (default,)
        if name not in concrete:
            return self._proxy_placeholder(name, given, function.__annotations__.get(name))
        value, count = concrete[name], 0

        def fixed(x: Any) -> Any:
            nonlocal count
            count += 1
            proxy = self.create_proxy("placeholder", f"{name}_{count}", given, {})
            if isinstance(x, PHBase):
                return proxy
            what = f"{name} has been specialized to have value {x} but got another value"
            if x is None:
                self.create_proxy("call_function", _assert_is_none, (proxy, what), {})
            elif isinstance(x, base_types) and not isinstance(x, Tensor):
                PUBLIC["_assert"](proxy == x, what)
            else:
                warnings.warn(
                    f"Was not able to add assertion to guarantee correct input {name} to "
                    "specialized function. It is up to the user to make sure that your inputs "
                    "match the inputs you specialized the function with.",
                    stacklevel=2,
                )
            return x

        return (
            map_aggregate(value, fixed) if isinstance(value, (tuple, list, dict)) else fixed(value)
        )

    def _proxy_placeholder(self, name: str, default: tuple[Any, ...], kind: Any) -> Any:
        return self.create_proxy("placeholder", name, default, {}, type_expr=kind)

    def trace(
        self,
        root: Module | Callable[..., Any],
        concrete_args: dict[str, Any] | None = None,
    ) -> Graph:
        """The graph of a module or function.

        Args:
            concrete_args: values of arguments that are not stand-ins, by name: branches may depend
                on them.

        Raises:
            TraceError: a branch or loop depends on a stand-in.
        """
        protocol.switch_on()
        if isinstance(root, Module):
            self.root = root
            name = self.traced_func_name
            if not hasattr(type(root), name):
                raise AssertionError(f"{type(root).__name__} has no method {name!r}")
            function = getattr(type(root), name)
            self.root_module_name = root._get_name()
            self.submodule_paths = {m: path for path, m in root.named_modules()}
        else:
            self.root, function = Module(), root
        self.graph = Graph(tracer_cls=type(self))
        self.tensor_attrs: dict[int, tuple[str, Any]] = {}
        for path, module in self.root.named_modules():
            for key, value in vars(module).items():
                if isinstance(value, Tensor):
                    self.tensor_attrs[id(value)] = f"{path}.{key}" if path else key, value
        space = inspect.unwrap(function).__globals__
        is_module = isinstance(root, Module)
        with self._patched(space):
            function, args = self.create_args_for_root(function, is_module, concrete_args)
            result = self.create_arg(function(*args))
        kind = getattr(function, "__annotations__", {}).get("return")
        self.create_node("output", "output", (result,), {}, type_expr=kind)
        self.submodule_paths = None
        return self.graph

    @contextmanager
    def _patched(self, space: dict[str, Any]) -> Iterator[None]:
        """While a graph is traced, modules and recorded functions answer with nodes."""
        patches = _Patches()
        cache: dict[str, Any] = {}
        plain_call, plain_getattr = Module.__call__, Module.__getattr__
        seen: set[int] = set()

        def search(names: dict[str, Any]) -> None:
            if id(names) in seen:
                return
            seen.add(id(names))
            for name, value in list(names.items()):
                if not name.startswith("_") and id(value) in self._autowrap_function_ids:
                    patches.names(names, name, _recorded(value))

        def attribute(mod: Module, name: str) -> Any:
            return self.getattr(name, plain_getattr(mod, name), cache)

        def call(mod: Module, *args: Any, **kwargs: Any) -> Any:
            search(getattr(getattr(mod, "forward", mod), "__globals__", {}))
            forward = lambda *a, **kw: plain_call(mod, *a, **kw)
            return self.call_module(mod, forward, args, kwargs)

        patches.attribute(Module, "__getattr__", attribute)
        patches.attribute(Module, "__call__", call)
        for (_, name), names in _wrapped.items():
            original = names.get(name, getattr(builtins, name, None))
            if original is not None and not hasattr(original, "_recorded"):
                patches.names(names, name, _recorded(original))
        search(space)
        for module in self._autowrap_search:
            search(vars(module))
        _tracing.depth = getattr(_tracing, "depth", 0) + 1
        try:
            yield
        finally:
            _tracing.depth -= 1
            patches.undo()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracer:
        import copy

        made = Tracer.__new__(type(self))
        memo[id(self)] = made
        for key, value in self.__dict__.items():
            kept = key in ("_autowrap_search", "root")
            made.__dict__[key] = value if kept else copy.deepcopy(value, memo)
        return made


def _assert_is_none(value: Any, msg: str) -> None:
    assert value is None, msg


def _all_positional(function: FunctionType, count: int) -> FunctionType:
    """A function whose every argument, ``*`` and ``**`` too, is an ordinary one."""
    code = function.__code__
    flags = code.co_flags & ~(inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    code = code.replace(
        co_flags=flags, co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0
    )
    made = FunctionType(code, function.__globals__, closure=function.__closure__)
    made.__annotations__ = function.__annotations__
    return made


class ProxyableClassMeta(type):
    """Metaclass: making an object of the class from stand-ins becomes a node."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        proxy = _proxy_among(args, kwargs)
        if proxy is not None:
            return proxy.tracer.create_proxy("call_function", cls, args, kwargs)
        return super().__call__(*args, **kwargs)


def symbolic_trace(
    root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None
) -> GraphModule:
    """A module that does what ``root`` does, with a graph that can be looked at and changed.

    Args:
        root: a module or function; called once, with stand-ins.
        concrete_args: as in ``Tracer.trace``.
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    name = type(root).__name__ if isinstance(root, Module) else root.__name__
    return GraphModule(tracer.root, graph, name)
