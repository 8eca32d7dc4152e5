"""Modules whose forward is generated from a graph (torch.fx.graph_module)."""

from __future__ import annotations

import copy
import itertools
import linecache
import pickle
from pathlib import Path
from typing import Any

from cupola.fx import _storing
from cupola.fx._source import PythonCode
from cupola.fx.graph import Graph
from cupola.nn import Module, Parameter
from cupola.tensor import Tensor

__all__ = ["GraphModule"]

_numbers = itertools.count()
_CLASS = """\
import pickle
from pathlib import Path

import cupola as torch


class {name}(torch.nn.Module):
    def __init__(self):
        super().__init__()
        kept = pickle.loads(Path(__file__).with_name("module.pkl").read_bytes())
        self._parameters, self._buffers = kept._parameters, kept._buffers
        self._modules = kept._modules

{body}"""


def _copy_attr(source: Module, target: Module, path: str) -> None:
    """Gives ``target`` what ``source`` has under a dotted name."""
    *prefix, last = path.split(".")
    for part in prefix:
        inner = getattr(target, part, None)
        source = getattr(source, part)
        if source is inner:
            return
        if inner is None:
            inner = Module()
            setattr(target, part, inner)
        target = inner
    _assign(target, last, getattr(source, last))


def _assign(owner: Module, name: str, value: Any) -> None:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        if not (name in vars(owner) or name in owner._buffers):
            owner.register_buffer(name, value)
            return
    setattr(owner, name, value)


class GraphModule(Module):
    """A module that runs a graph, through Python code made of it.

    Args:
        root: the module, or dict of dotted names, that has what the nodes name.
        graph: what it does; it belongs to the new module afterwards.
        class_name: of the module.

    Attributes:
        graph: call ``recompile`` after changing it.
        code: the source of ``forward``.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        # Each has a class of its own, for ``forward`` is found in the class.
        base = next(c for c in cls.__mro__ if "_one_graph" not in vars(c))
        made = type("GraphModuleImpl" if base is GraphModule else base.__name__, (base,), {})
        made.__module__, made._one_graph = base.__module__, True
        return super().__new__(made)

    def __init__(
        self, root: Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule"
    ) -> None:
        super().__init__()
        type(self).__name__ = class_name
        if isinstance(root, Module):
            if hasattr(root, "training"):
                self.training = root.training
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module"):
                    _copy_attr(root, self, node.target)
        elif isinstance(root, dict):
            wanted = {n.target for n in graph.nodes if n.op in ("get_attr", "call_module")}
            for target in sorted(wanted, key=lambda t: t.count(".")):
                if target not in root:
                    raise RuntimeError(
                        f"Node references target {target} but that target was not provided in "
                        "``root``!"
                    )
                self._put(target, root[target])
        else:
            raise RuntimeError("Unsupported type " + str(root) + " passed for root!")
        self.graph = graph
        self.meta: dict[str, Any] = {}
        self._tracer_cls = graph._tracer_cls

    def _put(self, path: str, value: Any) -> None:
        *prefix, last = path.split(".")
        owner: Module = self
        for part in prefix:
            if not hasattr(owner, part):
                setattr(owner, part, Module())
            owner = getattr(owner, part)
        _assign(owner, last, value)

    @property
    def graph(self) -> Graph:
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        if not isinstance(g, Graph):
            raise AssertionError(f"Expected a Graph instance, but got {type(g)}")
        self.__dict__["_graph"] = g
        g.owning_module = self
        self.recompile()

    @property
    def code(self) -> str:
        if "_code" not in self.__dict__:
            raise RuntimeError("Code has not been generated! Please report a bug to PyTorch")
        return str(self._code)

    def recompile(self) -> PythonCode:
        """Writes ``forward`` anew, after the graph was changed."""
        written = self._graph.python_code("self")
        self.__dict__["_code"] = written.src
        place = f"<eval_with_key>.{next(_numbers)}"
        lines = written.src.splitlines(keepends=True)
        linecache.cache[place] = len(written.src), None, lines, place  # for tracebacks
        names = dict(written.globals)
        exec(compile(written.src, place, "exec"), names)
        type(self).forward = names["forward"]  # type: ignore[method-assign]
        return written

    def add_submodule(self, target: str, m: Module) -> bool:
        """Puts a module under a dotted name; false if something else is in the way."""
        *prefix, last = target.split(".")
        owner: Any = self
        for part in prefix:
            if not hasattr(owner, part):
                setattr(owner, part, Module())
            owner = getattr(owner, part)
            if not isinstance(owner, Module):
                return False
        owner.add_module(last, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Takes the module under a dotted name away; false if there is none."""
        *prefix, last = target.split(".")
        owner: Any = self
        for part in (*prefix, last):
            inner = getattr(owner, part, None)
            if not isinstance(inner, Module):
                return False
            if part is not last:
                owner = inner
        delattr(owner, last)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Takes away the modules that no node names, nor lies inside one that is called."""
        used: set[str] = set()
        for node in self.graph.nodes:
            if node.op in ("call_module", "get_attr"):
                parts = node.target.split(".")
                used |= {".".join(parts[: k + 1]) for k in range(len(parts))}
                if node.op == "call_module":
                    try:
                        called = self.get_submodule(node.target)
                    except AttributeError:
                        continue
                    used |= {f"{node.target}.{name}" for name, _ in called.named_modules() if name}
        for name in [name for name, _ in self.named_modules() if name and name not in used]:
            self.delete_submodule(name)

    def to_folder(self, folder: Any, module_name: str = "FxModule") -> None:
        """Writes the module as a package with its code as a class, whose objects begin with the
        parameters and modules that this one has now.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / "module.pkl").write_bytes(pickle.dumps(self))
        body = "".join(f"    {line}".rstrip() + "\n" for line in self.code.strip().splitlines())
        (place / "module.py").write_text(_CLASS.format(name=module_name, body=body))
        (place / "__init__.py").write_text(f"from .module import {module_name}\n")

    def __reduce__(self) -> Any:
        return _storing.reduce_module(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        made = type(self).__mro__[1].__new__(type(self).__mro__[1])
        memo[id(self)] = made
        Module.__init__(made)
        type(made).__name__ = type(self).__name__
        for key, value in self.__dict__.items():
            if key not in ("_graph", "_code"):
                made.__dict__[key] = copy.deepcopy(value, memo)
        made.graph = copy.deepcopy(self._graph, memo)
        return made

    def __copy__(self) -> GraphModule:
        made = GraphModule(self, self.graph, type(self).__name__)
        made.meta = self.meta
        return made

    def print_readable(self, print_output: bool = True, **options: Any) -> str:
        """The code as a class, printed and returned."""
        body = "".join(f"    {line}\n" for line in self.code.strip("\n ").splitlines())
        text = f"class {type(self).__name__}(torch.nn.Module):\n{body}"
        if print_output:
            print(text)
        return text

    def __str__(self) -> str:
        reminder = "# To see more debug info, please use `graph_module.print_readable()`"
        return "\n".join([super().__str__(), self._code, reminder])
