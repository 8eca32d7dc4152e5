"""Names in generated code: of nodes, of functions, of types."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from types import BuiltinFunctionType, ModuleType
from typing import Any

from cupola.tensor import protocol

# Names that generated code finds among its globals without asking.
KNOWN = ("inf", "nan", "NoneType", "torch", "device", "fx_pytree", "pytree")
_NUMBERED = re.compile(r"(.*?)_(\d+)")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_free(target: Any) -> str:
    """The plain name of a target."""
    return target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)


def candidate_of(target: Any) -> str:
    """What a node with this target would like to be called."""
    name = snake_free(target)
    if name.startswith("__") and name.endswith("__") and len(name) > 4:
        name = name[2:-2]
    return _HUMPS.sub("_", name).lower()


class Namespace:
    """Names that are in use; each is given once."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}
        self._of: dict[int, tuple[str, Any]] = {}

    def create_name(self, candidate: str, obj: Any) -> str:
        """A Python name like the candidate that nothing else has; the one from before if ``obj``
        has got one already.
        """
        if obj is not None and id(obj) in self._of:
            return self._of[id(obj)][0]
        name = re.sub(r"\W+", "_", candidate, flags=re.ASCII) or "_unnamed"
        if name[0].isdigit():
            name = "_" + name
        match = _NUMBERED.fullmatch(name)
        base, number = (match[1], int(match[2])) if match else (name, None)
        if number is None or name in self._used:
            number = self._counts.get(name, 0)
            if self._is_reserved(name, obj):
                number += 1
                name = f"{base}_{number}"
        while name in self._used:
            number += 1
            name = f"{base}_{number}"
        self._used.add(name)
        self._counts[base] = number
        if obj is not None:
            self._of[id(obj)] = name, obj
        return name

    @staticmethod
    def _is_reserved(name: str, obj: Any) -> bool:
        if keyword.iskeyword(name) or name in KNOWN:
            return True
        return hasattr(builtins, name) and getattr(builtins, name) is not obj

    def associate_name_with_obj(self, name: str, obj: Any) -> None:
        """Notes whose name this is."""
        self._of.setdefault(id(obj), (name, obj))

    def rename(self, old: str, new: str) -> None:
        """A name becomes free, another is taken."""
        self._used.discard(old)
        self._used.add(new)


def qualified_name(function: Any) -> str:
    """The public name of a function with the module that has it, such as "torch.nn.functional.relu"
    or "operator.add".
    """
    protocol.switch_on()
    if (
        id(function) in protocol.faces.of
        or hasattr(function, "__self__")
        and isinstance(function.__self__, property)
    ):
        return protocol.name_of(function)
    name = getattr(function, "__qualname__", None) or snake_free(function)
    module = getattr(function, "__module__", None)
    if module == "builtins" or (module is None and isinstance(function, BuiltinFunctionType)):
        return f"builtins.{name}" if module else name
    if module == "_operator":
        module = "operator"
    if module and (module == "cupola" or module.startswith("cupola.")):
        module = _shown(module, function, name)
    return f"{module}.{name}"


def _shown(module: str, function: Any, name: str) -> str:
    """The module under which the public finds something of the runtime, in torch's words."""
    top: ModuleType = sys.modules["cupola"]
    if vars(top).get(name) is function:
        return "torch"
    if module.startswith(("cupola.nn", "cupola.fx")):
        return "torch" + module[6:]
    return module


def is_torch_name(name: str) -> bool:
    """Whether generated code reads the name from the module itself."""
    return name == "torch" or name.startswith("torch.")
