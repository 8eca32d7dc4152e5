"""Python source of a graph."""

from __future__ import annotations

import math
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cupola.fx._names import Namespace, is_torch_name, qualified_name
from cupola.fx.node import Node, map_arg
from cupola.ir.device import device
from cupola.tensor import Tensor

if TYPE_CHECKING:
    from cupola.fx.graph import Graph

INFIX = {
    "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
    "add": "+", "sub": "-", "mul": "*", "floordiv": "//", "truediv": "/", "mod": "%", "pow": "**",
    "lshift": "<<", "rshift": ">>", "and_": "&", "or_": "|", "xor": "^", "matmul": "@",
}  # fmt: skip
PREFIX = {"pos": "+", "neg": "-", "invert": "~"}
IN_PLACE = {
    "iadd": "+=", "iand": "&=", "ifloordiv": "//=", "ilshift": "<<=", "imod": "%=", "imul": "*=",
    "imatmul": "@=", "ior": "|=", "ipow": "**=", "irshift": ">>=", "isub": "-=",
    "itruediv": "/=", "ixor": "^=",
}  # fmt: skip


@dataclass
class PythonCode:
    """The source of a function ``forward``.

    Attributes:
        src: the text.
        globals: the names that it reads, with their values.
    """

    src: str
    globals: dict[str, Any]
    _lineno_map: dict[int, int | None] | None = field(default_factory=dict)


class _Text(str):
    """Text whose representation is itself."""

    def __repr__(self) -> str:
        return str(self)


class CodeGen:
    """Writes a graph as Python."""

    def __init__(self) -> None:
        self._transform: Callable[[list[str]], list[str]] | None = None

    def gen_fn_def(self, free_vars: list[str], maybe_return_annotation: str) -> str:
        """The line that begins the function."""
        names = free_vars if free_vars[:1] == ["self"] else ["self", *free_vars]
        return f"def forward({', '.join(names)}){maybe_return_annotation}:"

    def generate_output(self, output_args: Any) -> str:
        """The statement that returns."""
        return f"return {output_args!r}"

    def process_inputs(self, *args: Any) -> Any:
        """Arguments as the placeholders take them."""
        return args

    def process_outputs(self, outputs: Any) -> Any:
        """Results as the function returns them."""
        return outputs

    def additional_globals(self) -> list[tuple[str, Any]]:
        """Further names that the function reads."""
        return []

    def generate(self, graph: Graph, root: str) -> PythonCode:
        """The source of a graph; see ``Graph.python_code``."""
        return _Writer(self, graph, root).written()


class _Writer:
    """Writes one graph."""

    def __init__(self, codegen: CodeGen, graph: Graph, root: str) -> None:
        self.codegen, self.graph, self.root = codegen, graph, root
        self.globals: dict[str, Any] = {}
        self.names = Namespace()
        self.parameters: list[str] = []
        self.returned = ""
        self.wrapped: dict[str, None] = {}
        self.lines: list[str] = []

    def written(self) -> PythonCode:
        for name, value in (
            ("inf", math.inf),
            ("nan", math.nan),
            ("NoneType", type(None)),
            ("torch", sys.modules["cupola"]),
            ("device", device),
            *self.codegen.additional_globals(),
        ):
            self.globals[name] = value
        last = self._last_uses()
        for node in self.graph.nodes:
            self._node(node, last.get(node, []))
        body = self.lines or ["pass\n"]
        if self.codegen._transform is not None:
            body = self.codegen._transform(body)
        head = self.codegen.gen_fn_def(self.parameters, self.returned)
        wraps = "\n".join(f'torch.fx._symbolic_trace.wrap("{name}")' for name in self.wrapped)
        text = "\n".join(f"    {line}" for line in "".join(body).split("\n"))
        return PythonCode(f"\n{wraps}\n\n{head}\n{text}", self.globals)

    def _last_uses(self) -> dict[Node, list[Node]]:
        """What is not needed any more behind each node."""
        seen: set[Node] = set()
        found: dict[Node, list[Node]] = {}
        for user in reversed(self.graph.nodes):

            def note(n: Node, user: Node = user) -> Node:
                if n not in seen:
                    seen.add(n)
                    found.setdefault(user, []).append(n)
                return n

            map_arg(user.args, note)
            map_arg(user.kwargs, note)
        return found

    def _node(self, node: Node, gone: list[Node]) -> None:
        if node.op == "placeholder":
            default = f" = {self._value(node.args[0])!r}" if node.args else ""
            self.parameters.append(f"{node.target}{self._type(node.type)}{default}")
            plain = node.target.replace("*", "")
            if plain != node.name:
                self.lines.append(f"{node!r} = {plain}\n")
            return
        if node.op == "output":
            if node.type is not None:
                self.returned = f" -> {self._type_text(node.type)}"
            returned = self.codegen.generate_output(self._value(node.args[0]))
            self.lines.append(f"{returned}\n")
            return
        line = self._call(node)
        gone = gone if node.users else [*gone, node]
        if gone:
            line += f";  {' = '.join([repr(n) for n in gone] + ['None'])}"
        self.lines.append(line + "\n")

    def _call(self, node: Node) -> str:
        left = f"{node!r}{self._type(node.type)} = "
        args, kwargs = self._value(node.args), self._value(node.kwargs)
        if node.op == "get_attr":
            return left + _path(self.root, node.target)
        if node.op == "call_module":
            return f"{left}{_path(self.root, node.target)}({_arguments(args, kwargs)})"
        if node.op == "call_method":
            receiver = _path(repr(args[0]), node.target)
            return f"{left}{receiver}({_arguments(args[1:], kwargs)})"
        name = getattr(node.target, "__name__", "")
        if getattr(node.target, "__module__", None) == "_operator" and not kwargs:
            if name in INFIX and len(args) == 2:
                return f"{left}{args[0]!r} {INFIX[name]} {args[1]!r}"
            if name in PREFIX and len(args) == 1:
                return f"{left}{PREFIX[name]}{args[0]!r}"
            if name == "getitem" and len(args) == 2:
                return f"{left}{args[0]!r}[{args[1]!r}]"
            if name in IN_PLACE and len(args) == 2:
                changed = f"{args[0]!r} {IN_PLACE[name]} {args[1]!r};  "
                return f"{changed}{left}{args[0]!r}"
        if node.target is getattr and len(args) == 2 and isinstance(args[1], str):
            if args[1].isidentifier():
                return f"{left}{_path(repr(args[0]), args[1])}"
        own = getattr(node.target, "__module__", None) == "_operator"
        called = f"_operator.{name}" if own else qualified_name(node.target)
        called = self._global(called, node.target)
        if node.meta.get("is_wrapped", False):
            self.wrapped[called] = None
        return f"{left}{called}({_arguments(args, kwargs)})"

    def _value(self, a: Any) -> Any:
        """An argument of which the representation is source text."""
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            kind = self._global(type(a).__qualname__, type(a))
            return _Text(f"{kind}({', '.join(repr(self._value(x)) for x in a)})")
        if type(a) is tuple:
            return tuple(map(self._value, a))
        if isinstance(a, list):
            return [self._value(x) for x in a]
        if isinstance(a, dict):
            return {k: self._value(v) for k, v in a.items()}
        if isinstance(a, slice):
            return slice(*(self._value(x) for x in (a.start, a.stop, a.step)))
        if a is None or a is ... or isinstance(a, (Node, str, bytes, int, float, complex, range)):
            return a if type(a).__repr__ is not None and not _is_enum(a) else self._enum(a)
        if _is_enum(a):
            return self._enum(a)
        if isinstance(a, type) or callable(a) and hasattr(a, "__name__"):
            return _Text(self._global(qualified_name(a), a))
        if repr(a).startswith(("torch.", "device(")):
            return a  # dtypes, memory formats, sizes, devices
        return _Text(self._global(f"_{type(a).__name__}", a))

    def _enum(self, a: Any) -> Any:
        kind = self._global(type(a).__qualname__, type(a))
        return _Text(f"{kind}.{a.name}")

    def _global(self, hint: str, value: Any) -> str:
        """The name under which the code finds a value."""
        hint = hint.removeprefix("builtins.")
        if is_torch_name(hint) and "<" not in hint:
            return hint
        if getattr(value, "__module__", "") == "builtins" and "." not in hint:
            return hint
        wanted = re.sub(r"\W", "_", hint)
        if self.globals.get(wanted) is value:
            return wanted
        name = self.names.create_name(wanted, value)
        self.globals[name] = value
        return name

    def _type(self, kind: Any) -> str:
        return "" if kind is None else f" : {self._type_text(kind)}"

    def _type_text(self, kind: Any) -> str:
        if kind is Tensor:
            return "torch.Tensor"
        if isinstance(kind, str):
            return repr(kind)
        if kind == () or kind is None or kind is type(None):
            return "()" if kind == () else "None"
        origin = typing.get_origin(kind)
        if origin is None and isinstance(kind, type) and kind.__module__ == "builtins":
            return kind.__name__
        plain = str(kind).replace("cupola.tensor.core.", "torch.") if origin else ""
        hint = plain or qualified_name(kind)
        return self._global(hint, kind)


def _is_enum(a: Any) -> bool:
    import enum

    return isinstance(a, enum.Enum)


def _path(base: str, target: str) -> str:
    """A dotted attribute as an expression; parts that are no names are read by getattr."""
    for part in target.split("."):
        base = f"{base}.{part}" if part.isidentifier() else f'getattr({base}, "{part}")'
    return base


def _arguments(args: Any, kwargs: dict[str, Any]) -> str:
    return ", ".join([*map(repr, args), *(f"{k} = {v!r}" for k, v in kwargs.items())])
