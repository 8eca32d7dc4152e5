"""What a function refers to beside its arguments: tensors, optimizers, plain numbers."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable
from typing import Any

from cupola.tensor import Tensor


class Free:
    """The tensors and plain numbers that a function refers to beside its arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._cells: list[Any] = []
        self._globals: list[tuple[dict[str, Any], str]] = []
        plain = getattr(function, "__func__", function)
        code = getattr(plain, "__code__", None)
        if code is not None:
            self._cells = list(plain.__closure__ or ())
            self._globals = [(plain.__globals__, n) for n in _names(code)]

    def numbers(self) -> list[Any]:
        """Plain values in closures and globals."""
        return [v for v in self._values() if isinstance(v, _PLAIN)]

    def _values(self) -> list[Any]:
        out = []
        for cell in self._cells:
            with contextlib.suppress(ValueError):  # an empty cell
                out.append(cell.cell_contents)
        out += [space[name] for space, name in self._globals if name in space]
        return out

    def hooked(self) -> bool:
        """Whether a module that the function owns has forward hooks."""
        owners = (self.function, getattr(self.function, "__self__", None))
        return any(
            m.__dict__.get("_forward_hooks") or m.__dict__.get("_forward_pre_hooks")
            for owner in owners
            if _is_module(owner)
            for m in owner.modules()
        )

    def optimizers(self) -> list[Any]:
        """Objects with parameter groups and a state, as optimizers have."""
        owner = getattr(self.function, "__self__", None)
        seen = {id(v): v for v in (owner, *self._values()) if _is_optimizer(v)}
        return list(seen.values())

    def handles(self) -> list[Tensor]:
        """Tensors found in the function's owner, closure, globals and defaults."""
        return list(self._search().tensors.values())

    def watched(self) -> list[tuple[Any, Any, Any]]:
        """(container, key, value) of tensors in plain containers, and of the surroundings."""
        places = [(cell.__getattribute__, "cell_contents") for cell in self._cells]
        places += [(space.__getitem__, name) for space, name in self._globals if name in space]
        direct = [(get, key, _look(get, key)) for get, key in places]
        objects = [p for p in direct if not isinstance(p[2], _PLAIN)]
        return objects + self._search().places

    def _search(self) -> Search:
        found = Search()
        owner = getattr(self.function, "__self__", None)
        defaults = getattr(self.function, "__defaults__", None) or ()
        for value in (self.function, owner, *defaults, *self._values()):
            found.visit(value, 3)
        return found


def unchanged(watched: list[tuple[Any, Any, Any]]) -> bool:
    """Whether every place still holds the same object."""
    return all(_look(get, key) is value for get, key, value in watched)


def _look(get: Any, key: Any) -> Any:
    try:
        return get(key)
    except (LookupError, ValueError, AttributeError):
        return None


_PLAIN = (int, float, bool, str, bytes, complex, type(None))


def _is_optimizer(value: Any) -> bool:
    return isinstance(getattr(value, "param_groups", None), list) and hasattr(value, "state")


def _is_module(value: Any) -> bool:
    return callable(getattr(value, "modules", None)) and callable(getattr(value, "buffers", None))


def _names(code: Any) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names |= _names(constant)
    return names


class Search:
    """Tensors reachable through a few levels of containers, modules and optimizers.

    Attributes:
        tensors: by identity.
        places: (lookup, key, tensor) where one was found in a dictionary, list or object: modules
            and optimizers say themselves when they change.
    """

    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}
        self.places: list[tuple[Any, Any, Any]] = []

    def visit(self, value: Any, depth: int) -> None:
        """Looks at a value, and ``depth`` levels into it."""
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value
        elif isinstance(value, _PLAIN) or depth == 0 or isinstance(value, type | types.ModuleType):
            return
        elif isinstance(value, dict):
            self.items(value.get, value.items(), depth)
        elif isinstance(value, list | tuple):
            self.items(value.__getitem__, enumerate(value), depth)
        elif _is_optimizer(value):
            for group in value.param_groups:
                for parameter in group["params"]:
                    self.visit(parameter, 1)
            for state in value.state.values():
                for part in state.values() if isinstance(state, dict) else ():
                    self.visit(part, 1)
        elif _is_module(value):
            for module in value.modules():
                for part in vars(module).values():
                    if isinstance(part, dict):
                        for inner in part.values():
                            self.visit(inner, 1)
                    else:
                        self.visit(part, 1)
        elif hasattr(value, "__dict__"):
            self.items(vars(value).get, vars(value).items(), depth)

    def items(self, get: Any, pairs: Any, depth: int) -> None:
        for key, value in pairs:
            if isinstance(value, Tensor):
                self.places.append((get, key, value))
            self.visit(value, depth - 1)
