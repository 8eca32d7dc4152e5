"""TorchScript archives: the weights are data and are read; the code is text and is not run."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from cupola.io.archive import Archive
from cupola.io.errors import CheckpointError
from cupola.io.rebuild import TorchRules

_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*)\]\n  __buffers__ = \[(.*)\]", re.M
)
_NAME = re.compile(r'"([^"\\]+)"')
_MAX_ENTRIES = 1_000_000
_MAX_NAMES = 1 << 26  # characters: a deep nest would make them grow with the square of its depth
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


class ScriptObject:
    """An object of a TorchScript class: the name of its class and its attributes."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state: dict[str, Any] = {}


class ScriptRules(TorchRules):
    """The allow-list of a TorchScript archive: its own classes stand for their attributes."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for name in _LISTS:
            self._allow(f"torch.jit._pickle.{name}", _one_list)
        self._allow("torch.jit._pickle.restore_type_tag", lambda value, tag: value)

    def find(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full.startswith("__torch__.") and full not in self.values:
            self._allow(full, lambda *_: ScriptObject(full))
        return super().find(module, name)

    def build(self, instance: Any, state: Any) -> None:
        if not isinstance(instance, ScriptObject):
            super().build(instance, state)
        elif type(state) is dict and all(type(name) is str for name in state):
            instance.state = state
        else:
            # A class with __getstate__: what it saved is not attributes but something of its own.
            raise CheckpointError(
                f"the TorchScript class {instance.kind} packs its weights (as quantised modules "
                "do); open the archive where torch is installed and save its state_dict() instead"
            )


def state_dict(
    module: Any, archive: Archive, root: str, is_tensor: Callable[[Any], bool]
) -> OrderedDict[str, Any]:
    """Parameters and buffers of a TorchScript module, under the names of its state_dict()."""
    if not isinstance(module, ScriptObject):
        raise CheckpointError("this TorchScript archive does not hold a module")
    declared = _Declared(archive, root)
    out: OrderedDict[str, Any] = OrderedDict()
    # Depth first, without recursion. An object that occurs twice is listed twice, as PyTorch does,
    # so it is the number of steps that is bounded, not the number of objects.
    room = _MAX_NAMES
    todo: list[tuple[str, ScriptObject]] = [("", module)]
    for _ in range(_MAX_ENTRIES):
        if not todo:
            return out
        prefix, item = todo.pop()
        room -= len(prefix) * (1 + len(item.state))
        if room < 0:
            break
        names = declared.of(item.kind)
        if names is None:
            names = [name for name, value in item.state.items() if is_tensor(value)]
        for name in names:
            if is_tensor(item.state.get(name)):
                out[prefix + name] = item.state[name]
        inner = [
            (f"{prefix}{name}.", value)
            for name, value in item.state.items()
            if isinstance(value, ScriptObject)
        ]
        todo.extend(reversed(inner))
    raise CheckpointError("the TorchScript module contains itself, or has over a million parts")


class _Declared:
    """Which attributes are parameters and buffers, read from the text of the archive's code."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive = archive
        self._code = root + "code/"
        self._known: dict[str, dict[str, list[str]]] = {}

    def of(self, kind: str) -> list[str] | None:
        module, _, name = kind.rpartition(".")
        path = f"{self._code}{module.replace('.', '/')}.py"
        if path not in self._known:
            text = self._archive.read(path).decode("utf-8") if path in self._archive else ""
            self._known[path] = {
                found[1]: _NAME.findall(found[2]) + _NAME.findall(found[3])
                for found in _CLASS.finditer(text)
            }
        return self._known[path].get(name)


def _one_list(items: Any, *_: Any) -> list[Any]:
    if type(items) is not list:
        raise CheckpointError("a TorchScript list in the pickle is not a list")
    return items
