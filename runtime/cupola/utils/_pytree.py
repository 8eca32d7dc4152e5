"""Nested containers as flat lists and back (torch.utils._pytree)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PyTree = Any
Context = Any


class NodeDef(NamedTuple):
    """How a container type is taken apart and put together."""

    type: Any
    flatten_fn: Callable[[Any], tuple[list[Any], Any]]
    unflatten_fn: Callable[[list[Any], Any], Any]
    flatten_with_keys_fn: Callable[[Any], tuple[list[Any], Any]] | None = None


@dataclass(frozen=True)
class MappingKey:
    """The step into a mapping, on the path to a leaf."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        """What lies there."""
        return mapping[self.key]


@dataclass(frozen=True)
class SequenceKey:
    """The step into a sequence, on the path to a leaf."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        """What lies there."""
        return sequence[self.idx]


@dataclass(frozen=True)
class GetAttrKey:
    """The step into an object by an attribute, on the path to a leaf."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj: Any) -> Any:
        """What lies there."""
        return getattr(obj, self.name)


def keystr(kp: tuple[Any, ...]) -> str:
    """A path to a leaf as text."""
    return "".join(map(str, kp))


def _dict_flatten(d: Any) -> tuple[list[Any], Any]:
    return list(d.values()), list(d.keys())


def _dict_flatten_with_keys(d: Any) -> tuple[list[tuple[Any, Any]], Any]:
    values, context = _dict_flatten(d)
    return [(MappingKey(k), v) for k, v in zip(context, values, strict=True)], context


def _dict_unflatten(values: Any, context: Any) -> dict[Any, Any]:
    return dict(zip(context, values, strict=True))


def _list_flatten(d: list[Any]) -> tuple[list[Any], Any]:
    return d, None


def _list_flatten_with_keys(d: list[Any]) -> tuple[list[tuple[Any, Any]], Any]:
    return [(SequenceKey(i), v) for i, v in enumerate(d)], None


def _list_unflatten(values: Any, context: Any) -> list[Any]:
    return list(values)


SUPPORTED_NODES: dict[Any, NodeDef] = {
    node.type: node
    for node in (
        NodeDef(dict, _dict_flatten, lambda xs, keys: dict(zip(keys, xs, strict=True))),
        NodeDef(
            OrderedDict, _dict_flatten, lambda xs, keys: OrderedDict(zip(keys, xs, strict=True))
        ),
        NodeDef(
            defaultdict,
            lambda d: (list(d.values()), [d.default_factory, list(d)]),
            lambda xs, c: defaultdict(c[0], zip(c[1], xs, strict=True)),
        ),
        NodeDef(list, lambda x: (list(x), None), lambda xs, _: list(xs)),
        NodeDef(tuple, lambda x: (list(x), None), lambda xs, _: tuple(xs)),
        NodeDef(namedtuple, lambda x: (list(x), type(x)), lambda xs, kind: kind(*xs)),
        NodeDef(deque, lambda x: (list(x), x.maxlen), lambda xs, n: deque(xs, maxlen=n)),
    )
}


def is_namedtuple(obj: Any) -> bool:
    """Whether an object, or the objects of a class, are named tuples."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def is_namedtuple_class(cls: Any) -> bool:
    """Whether a class is one of named tuples."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def _get_node_type(tree: Any) -> Any:
    """The key of a container among SUPPORTED_NODES; all named tuples have one in common."""
    return namedtuple if is_namedtuple_class(type(tree)) else type(tree)


def tree_is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether a value is not a container."""
    if is_leaf is not None and is_leaf(tree):
        return True
    return _get_node_type(tree) not in SUPPORTED_NODES


def register_pytree_node(
    cls: Any, flatten_fn: Callable[..., Any], unflatten_fn: Callable[..., Any], **kwargs: Any
) -> None:
    """Teaches the functions of this module a container type."""
    with_keys = kwargs.get("flatten_with_keys_fn")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, with_keys)


_register_pytree_node = register_pytree_node


@dataclass
class TreeSpec:
    """The structure of a nest, without its leaves."""

    type: Any
    context: Any
    children_specs: list[TreeSpec]
    num_leaves: int = field(init=False)

    def __post_init__(self) -> None:
        own = 1 if self.type is None else 0
        self.num_leaves = own + sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        """Whether this is a single leaf."""
        return self.type is None

    def unflatten(self, leaves: Any) -> Any:
        """The nest with other leaves."""
        return tree_unflatten(leaves, self)


def LeafSpec() -> TreeSpec:
    """The structure of a single leaf."""
    return TreeSpec(None, None, [])


def _parts(tree: Any) -> tuple[Any, list[Any], Any] | None:
    kind = _get_node_type(tree)
    found = SUPPORTED_NODES.get(kind)
    if found is None:
        return None
    children, context = found.flatten_fn(tree)
    return kind, list(children), context


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Leaves in order, and the structure."""
    parts = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if parts is None:
        return [tree], LeafSpec()
    kind, children, context = parts
    leaves: list[Any] = []
    specs = []
    for child in children:
        own, spec = tree_flatten(child, is_leaf)
        leaves += own
        specs.append(spec)
    return leaves, TreeSpec(kind, context, specs)


def tree_unflatten(leaves: Any, treespec: TreeSpec) -> Any:
    """The nest of a structure with these leaves.

    Raises:
        ValueError: the number of leaves does not fit.
    """
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: got {len(given)} leaves for a structure of {treespec.num_leaves}"
        )
    return _build(iter(given), treespec)


def _build(leaves: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(leaves)
    children = [_build(leaves, child) for child in spec.children_specs]
    return SUPPORTED_NODES[spec.type].unflatten_fn(children, spec.context)


def tree_leaves(tree: Any, is_leaf: Any = None) -> list[Any]:
    """All leaves in order."""
    return list(tree_flatten(tree, is_leaf)[0])


def tree_structure(tree: Any, is_leaf: Any = None) -> TreeSpec:
    """The structure alone."""
    found: TreeSpec = tree_flatten(tree, is_leaf)[1]
    return found


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Any = None) -> Any:
    """Applies a function to every leaf, of several nests of one structure at once."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_leaves(r, is_leaf) for r in rests]
    return tree_unflatten([func(*xs) for xs in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Any = None) -> Any:
    """Calls a function on every leaf and returns the nest itself."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(types: Any, func: Callable[..., Any], tree: Any, is_leaf: Any = None) -> Any:
    """Applies a function to leaves of some types."""
    test = types if not isinstance(types, (type, tuple)) else lambda x: isinstance(x, types)
    return tree_map(lambda x: func(x) if test(x) else x, tree, is_leaf=is_leaf)


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Any = None) -> bool:
    """Whether some leaf satisfies a condition."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Any = None) -> bool:
    """Whether all leaves satisfy a condition."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def _keys(tree: Any, children: list[Any]) -> list[Any]:
    """The steps from a container to its children."""
    node = SUPPORTED_NODES.get(type(tree))
    if node is not None and node.flatten_with_keys_fn is not None:
        return [key for key, _ in node.flatten_with_keys_fn(tree)[0]]
    if isinstance(tree, dict):
        return [MappingKey(k) for k in tree]
    if is_namedtuple(tree):
        return [GetAttrKey(name) for name in tree._fields]
    return [SequenceKey(i) for i in range(len(children))]


def tree_map_with_path(
    func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Any = None
) -> Any:
    """Applies a function to the path and the value of every leaf."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    others = [tree_leaves(r, is_leaf) for r in rests]
    return tree_unflatten([func(path, *xs) for (path, *xs) in _beside(pairs, others)], spec)


def _beside(pairs: list[Any], others: list[list[Any]]) -> list[tuple[Any, ...]]:
    return [(*pair, *more) for pair, *more in zip(pairs, *others, strict=True)]


def tree_flatten_with_path(tree: Any, is_leaf: Any = None) -> Any:
    """Leaves with the keys that lead to them, and the structure."""
    pairs: list[Any] = []

    def visit(path: tuple[Any, ...], x: Any) -> None:
        parts = None if is_leaf is not None and is_leaf(x) else _parts(x)
        if parts is None:
            pairs.append((path, x))
            return
        for key, child in zip(_keys(x, parts[1]), parts[1], strict=True):
            visit((*path, key), child)

    visit((), tree)
    return pairs, tree_structure(tree, is_leaf)
