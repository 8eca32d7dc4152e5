"""PyTorch's names of gradients, read off what an operator was recorded as."""

from __future__ import annotations

import math
from collections.abc import Callable

from cupola.ir.node import Node
from cupola.ir.source import CONST

# Of primitives that PyTorch calls otherwise.
_NAMES = {
    "cast": "ToCopyBackward0",
    "copy": "CloneBackward0",
    "pad": "ConstantPadNdBackward0",
    "index_rows": "IndexSelectBackward0",
    "real": "SelectBackward0",
    "imag": "SelectBackward0",
}


def gradient_name(node: Node) -> str:
    """Such as ``MulBackward0``. Compositions that look the same have the commoner one's name."""
    rule = _RULES.get(node.op.name)
    found = None if rule is None else rule(node)
    return found or _NAMES.get(node.op.name) or _spelled(node.op.name, 0)


def _spelled(name: str, overload: int) -> str:
    return "".join(part.capitalize() for part in name.split("_")) + f"Backward{overload}"


def _reshape(node: Node) -> str | None:
    source = node.srcs[0] if node.srcs else None
    if source is None:
        return None
    old, new = source.shape, node.shape
    if source.op.kind == "reduce" and without(source) == new:
        # A reduction keeps its dimensions, and a reshape drops them: that is one operator.
        whole = len(source.attrs.get("dims", ())) == len(old)
        if source.op.name in ("amax", "amin") and whole:
            return _spelled(source.op.name[1:], 1)
        return _spelled(source.op.name, int(source.op.name == "sum" and not whole))
    if len(old) > len(new) and tuple(n for n in old if n != 1) == tuple(n for n in new if n != 1):
        if source.op.name == "slice":
            return "SelectBackward0"
        if source.op.name == "gather" and source.srcs and source.srcs[1].op.kind == "reduce":
            return {"argmax": "MaxBackward0", "argmin": "MinBackward0"}.get(source.srcs[1].op.name)
        return "SqueezeBackward1"
    if len(new) == len(old) + 1 and any(
        n == 1 and new[:d] + new[d + 1 :] == old for d, n in enumerate(new)
    ):
        return "UnsqueezeBackward0"
    return "ViewBackward0"


def _mul(node: Node) -> str | None:
    """A sum times one over the count is a mean."""
    if len(node.srcs) != 2 or node.srcs[1].op is not CONST:
        return None
    total = node.srcs[0]
    if total.op.name == "reshape" and total.srcs and without(total.srcs[0]) == total.shape:
        total = total.srcs[0]
    if total.op.name != "sum" or not total.srcs:
        return None
    count = math.prod(total.srcs[0].shape[d] for d in total.attrs["dims"])
    if not count or node.srcs[1].attrs["value"] != 1 / count:
        return None
    return _spelled("mean", int(len(total.attrs["dims"]) < len(total.shape)))


def _where(node: Node) -> str | None:
    """Zero where a tensor is at most zero, else the tensor."""
    if len(node.srcs) != 3:
        return None
    condition, zero, kept = node.srcs
    limits = [n.attrs["value"] for n in (zero, *condition.srcs[1:]) if n.op is CONST]
    if condition.op.name == "le" and limits == [0, 0] and condition.srcs[0] is kept:
        return "ReluBackward0"
    return None


def _matmul(node: Node) -> str:
    return {2: "MmBackward0", 3: "BmmBackward0"}.get(len(node.shape), "UnsafeViewBackward0")


def _permute(node: Node) -> str | None:
    """Two dimensions of several; of a matrix, ``.T`` is a permutation in PyTorch, too."""
    dims = node.attrs["dims"]
    swapped = sum(d != to for d, to in enumerate(dims)) == 2 < len(dims)
    return "TransposeBackward0" if swapped else None


def _gather(node: Node) -> str | None:
    return _POSITIONS.get(node.srcs[1].op.name) if len(node.srcs) > 1 else None


# What chose the positions that values were gathered from.
_POSITIONS = {
    "argsort": "SortBackward0",
    "unstable": "SortBackward0",
    "top": "TopkBackward0",
}


def _cat(node: Node) -> str | None:
    """Parts that were given a dimension of size 1, which they are joined along."""
    dim = node.attrs.get("dim", 0)

    def widened(part: Node) -> bool:
        if part.op.name != "reshape" or not part.srcs:
            return False
        return part.shape[:dim] + part.shape[dim + 1 :] == part.srcs[0].shape

    if not node.srcs or not all(map(widened, node.srcs)):
        return None
    parts = [part.srcs[0] for part in node.srcs]
    if [x.op.name for x in parts] == ["real", "imag"] and parts[0].srcs == parts[1].srcs:
        return "ViewAsRealBackward0"
    return "StackBackward0"


def _complex(node: Node) -> str | None:
    """Both halves of a last dimension."""
    halves = [x.srcs[0] for x in node.srcs if x.op.name == "reshape" and x.srcs]
    cut = len(halves) == 2 and all(x.op.name == "slice" for x in halves)
    return "ViewAsComplexBackward0" if cut and halves[0].srcs == halves[1].srcs else None


_RULES: dict[str, Callable[[Node], str | None]] = {
    "cat": _cat,
    "complex": _complex,
    "gather": _gather,
    "matmul": _matmul,
    "mul": _mul,
    "permute": _permute,
    "reshape": _reshape,
    "where": _where,
}


def without(node: Node) -> tuple[int, ...]:
    """The shape of a reduction without the dimensions that it reduces."""
    gone = node.attrs.get("dims", ())
    return tuple(n for d, n in enumerate(node.shape) if d not in gone)
