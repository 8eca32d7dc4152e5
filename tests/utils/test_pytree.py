"""Containers as torch.utils._pytree tells them apart."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest
from torch.utils import _pytree as theirs

from cupola.utils import _pytree as ours

Point = namedtuple("Point", "x y")
TREES = [
    (1, [2, {"a": 3}]), Point(1, (2, 3)), OrderedDict(b=1, a=[2]), deque([1, Point(2, 3)], 4), None,
    defaultdict(list, a=[1, 2]), {"z": Point([1], {}), "a": ()}, "text",
]  # fmt: skip


def flattened(m, tree):
    """As programs write it that choose the leaves themselves."""
    kind = m._get_node_type(tree)
    if m.tree_is_leaf(tree):
        return [tree]
    node = m.SUPPORTED_NODES[kind]
    children, context = node.flatten_fn(tree)
    assert node.type is kind and node.unflatten_fn(children, context) == tree
    return [kind.__name__, repr(context), [flattened(m, child) for child in children]]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_node_types(tree):
    assert flattened(ours, tree) == flattened(theirs, tree)
    (a, spec), (b, other) = ours.tree_flatten(tree), theirs.tree_flatten(tree)
    assert a == b and spec.type == other.type and spec.num_leaves == other.num_leaves
    assert ours.tree_unflatten(a, spec) == tree
    paths = [(ours.keystr(path), leaf) for path, leaf in ours.tree_flatten_with_path(tree)[0]]
    assert paths == [(theirs.keystr(p), x) for p, x in theirs.tree_flatten_with_path(tree)[0]]


def test_named_tuples():
    for x in (Point, Point(1, 2), tuple, (1,), 3):
        assert ours.is_namedtuple(x) == theirs.is_namedtuple(x)
