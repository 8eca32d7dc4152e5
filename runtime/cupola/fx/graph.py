"""Graphs: nodes in order, and how they change (torch.fx.graph)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from cupola.fx._names import Namespace, candidate_of, qualified_name
from cupola.fx._source import CodeGen, PythonCode
from cupola.fx.node import Node, map_arg

__all__ = ["CodeGen", "Graph", "PythonCode"]

_NO_DEFAULT: Any = object()


class _NodeList:
    """The nodes of a graph in order; nodes may come and go while one walks over it."""

    def __init__(self, graph: Graph, backward: bool = False) -> None:
        self.graph, self.backward = graph, backward

    def __len__(self) -> int:
        return self.graph._len

    def __iter__(self) -> Iterator[Node]:
        step = "_prev" if self.backward else "_next"
        node = getattr(self.graph._root, step)
        while node is not self.graph._root:
            if not node._erased:
                yield node
            node = getattr(node, step)

    def __reversed__(self) -> _NodeList:
        return _NodeList(self.graph, not self.backward)


class Graph:
    """What a function or module does, as nodes in the order in which they run.

    Args:
        owning_module: the module whose attributes the nodes name.
        tracer_cls: the class of the tracer that made it.
    """

    def __init__(
        self,
        owning_module: Any = None,
        tracer_cls: type | None = None,
        tracer_extras: dict[str, Any] | None = None,
    ) -> None:
        self._namespace = Namespace()
        self._len = 0
        self._root = Node(self, "", "root", "", (), {})
        self._owner = owning_module
        self._insert: Callable[[Node], None] = self._root.prepend
        self._tracer_cls, self._tracer_extras = tracer_cls, tracer_extras
        self._codegen = CodeGen()

    @property
    def owning_module(self) -> Any:
        return self._owner

    @owning_module.setter
    def owning_module(self, module: Any) -> None:
        self._owner = module

    @property
    def nodes(self) -> Any:
        """The nodes in order; ``reversed`` of it works, too."""
        return _NodeList(self)

    def output_node(self) -> Node:
        """The node that returns the results."""
        last: Node = next(iter(reversed(self.nodes)))
        if last.op != "output":
            raise AssertionError("the graph has no output")
        return last

    def find_nodes(self, *, op: str, target: Any = None, sort: bool = True) -> list[Node]:
        """The nodes of an operation, if given with this target."""
        return [n for n in self.nodes if n.op == op and (target is None or n.target == target)]

    def __deepcopy__(self, memo: Any = None) -> Graph:
        memo = {} if memo is None else memo
        copy = Graph(tracer_cls=self._tracer_cls, tracer_extras=self._tracer_extras)
        memo[id(self)] = copy
        copy._codegen = self._codegen
        values: dict[Node, Node] = {}
        results = copy.graph_copy(self, values, return_output_node=True)
        if results is not None:
            value, old = results
            copy.output(value, old.type).meta = dict(old.meta)
        for old, new in values.items():
            memo[id(old)] = new
        return copy

    def graph_copy(
        self, g: Graph, val_map: dict[Node, Node], return_output_node: bool = False
    ) -> Any:
        """Copies all nodes of another graph to the place of insertion.

        Args:
            val_map: nodes that stand for some of the other graph's; the copies are added to it.
            return_output_node: also return the other graph's output node.

        Returns:
            What the other graph returns, in terms of the copies; None if it has no output.
        """
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                value = map_arg(node.args[0], lambda n: val_map[n])
                return (value, node) if return_output_node else value
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def create_node(
        self,
        op: str,
        target: Any,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Adds a node at the place of insertion, by default the end.

        Args:
            op, target, args, kwargs: as in ``Node``.
            name: what it would like to be called.
            type_expr: annotation of its result.
        """
        candidate = candidate_of(target) if name is None else name
        own = self._namespace.create_name(candidate, None)
        node = Node(self, own, op, target, args or (), kwargs or {}, type_expr)
        self._namespace.associate_name_with_obj(own, node)
        self._insert(node)
        self._len += 1
        return node

    def erase_node(self, to_erase: Node) -> None:
        """Takes a node out.

        Raises:
            RuntimeError: another node reads it.
        """
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in "
                f"the graph: {to_erase.users}!"
            )
        if to_erase.graph is not self:
            raise RuntimeError(f"Attempting to remove {to_erase} from wrong graph!")
        if to_erase._erased:
            return
        to_erase._unlink()  # its own links stay: a walk that stands here goes on
        to_erase._erased = True
        self._len -= 1
        to_erase._take((), {})

    @contextlib.contextmanager
    def _inserting(self, insert: Callable[[Node], None]) -> Iterator[None]:
        before, self._insert = self._insert, insert
        try:
            yield
        finally:
            self._insert = before

    def inserting_before(self, n: Node | None = None) -> Any:
        """A context in which new nodes are put in front of a node; without one, at the start."""
        if n is None:
            return self.inserting_after(self._root)
        if n.graph is not self:
            raise AssertionError("the node belongs to another graph")
        return self._inserting(n.prepend)

    def inserting_after(self, n: Node | None = None) -> Any:
        """A context in which new nodes are put behind a node, the later ones behind the earlier;
        without one, at the end.
        """
        if n is None:
            return self.inserting_before(self._root)
        if n.graph is not self:
            raise AssertionError("the node belongs to another graph")
        return self._inserting(n.append)

    def placeholder(
        self, name: str, type_expr: Any = None, default_value: Any = _NO_DEFAULT
    ) -> Node:
        """Adds an argument of the function."""
        args = () if default_value is _NO_DEFAULT else (default_value,)
        return self.create_node("placeholder", name, args, type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """Adds a node that reads an attribute of the module, such as a parameter."""
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def call_module(
        self,
        module_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Adds a call of a module inside the owning one."""
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def call_method(
        self,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Adds a call of a method of the first argument."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_function(
        self,
        the_function: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        type_expr: Any = None,
        name: str | None = None,
    ) -> Node:
        """Adds a call of a function."""
        return self.create_node("call_function", the_function, args, kwargs, name, type_expr)

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = lambda x: x) -> Node:
        """Adds a copy of another graph's node.

        Args:
            arg_transform: what stands here for the nodes that it reads there.
        """
        args, kwargs = map_arg(node.args, arg_transform), map_arg(node.kwargs, arg_transform)
        copy = self.create_node(node.op, node.target, args, kwargs, node.name, node.type)
        copy.meta = dict(node.meta)
        return copy

    def output(self, result: Any, type_expr: Any = None) -> Node:
        """Adds what the graph returns."""
        return self.create_node("output", "output", (result,), type_expr=type_expr)

    def process_inputs(self, *args: Any) -> Any:
        """Arguments as the placeholders take them."""
        return self._codegen.process_inputs(*args)

    def process_outputs(self, out: Any) -> Any:
        """Results as the function returns them."""
        return self._codegen.process_outputs(out)

    def set_codegen(self, codegen: CodeGen) -> None:
        """Chooses who writes the Python code."""
        self._codegen = codegen

    def python_code(self, root_module: str, **options: Any) -> PythonCode:
        """The graph as the source of a function ``forward``.

        Args:
            root_module: what the owning module is called in it, mostly "self".
            options: accepted, and of no effect: how PyTorch decorates the code.
        """
        return self._codegen.generate(self, root_module)

    def __str__(self) -> str:
        names: list[str] = []
        returned = [""]
        lines = [node.format_node(names, returned) for node in self.nodes]
        text = f"graph():{returned[0]}"
        return "".join([text, *(f"\n    {line}" for line in lines if line)])

    def print_tabular(self) -> None:
        """Prints the nodes as a table."""
        rows = [["opcode", "name", "target", "args", "kwargs"]]
        rows += [[n.op, n.name, str(n.target), str(n.args), str(n.kwargs)] for n in self.nodes]
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        rows.insert(1, ["-" * width for width in widths])
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())

    def lint(self) -> None:
        """Checks that the graph can run.

        Raises:
            RuntimeError: a node reads one that comes later or belongs elsewhere, names repeat, or
                the owning module lacks a target.
        """
        seen: set[Node] = set()
        names: set[str] = set()
        for node in self.nodes:
            if node.graph is not self:
                raise RuntimeError(f"Node '{node}' does not belong to this Graph!")
            for read in node._input_nodes:
                if read.graph is not self:
                    raise RuntimeError(
                        f"Argument '{read}' of Node '{node}' does not belong to this Graph, but "
                        "was used as an argument! If you are copying nodes from another graph, "
                        "make sure to use ``arg_transform`` on node_copy() to remap values"
                    )
                if read not in seen:
                    raise RuntimeError(
                        f"Argument '{read}' of Node '{node}' was used before it has been defined! "
                        f"Please check that Nodes in the graph are topologically ordered\n{self}"
                    )
            if node.name in names:
                raise RuntimeError(f"Node redefined name {node.name}!")
            names.add(node.name)
            seen.add(node)
            if self._owner is not None and node.op in ("get_attr", "call_module"):
                self._check_target(node)

    def _check_target(self, node: Node) -> None:
        from cupola.nn import Module

        found = self._owner
        for part in node.target.split("."):
            if not hasattr(found, part):
                raise RuntimeError(
                    f"Node {node} target {node.target} references nonexistent attribute {part}"
                )
            found = getattr(found, part)
        if node.op == "call_module" and not isinstance(found, Module):
            raise RuntimeError(
                f"Node {node} target {node.target} does not reference an nn.Module: {found!r}"
            )

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Takes out nodes that nobody reads and that do nothing else.

        Args:
            is_impure_node: which nodes stay all the same; by default ``Node.is_impure``.

        Returns:
            Whether there were any.
        """
        self.lint()
        impure = is_impure_node or Node.is_impure
        before = self._len
        for node in reversed(self.nodes):
            if not node.users and not impure(node):
                self.erase_node(node)
        return self._len < before

    def on_generate_code(self, make_transformer: Callable[[Any], Any]) -> Any:
        """Registers what rewrites the body of generated code; returns a context that restores."""
        before = self._codegen._transform
        self._codegen._transform = make_transformer(before)

        @contextlib.contextmanager
        def restored() -> Iterator[None]:
            try:
                yield
            finally:
                self._codegen._transform = before

        return restored()

    def _target_to_str(self, target: Any) -> str:
        return candidate_of(target)


_get_qualified_name = qualified_name
