"""Primitives: the declarations that every stage reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola.ir.mode import mode
from cupola.ir.node import DETACHED, Node
from cupola.ir.strides import viewed

PRIMITIVES: dict[str, Primitive] = {}
_MOVES = 4096  # index maps that each movement remembers


class Pending:
    """Counts recorded nodes, and how many there were when the engine last ran, so that recording
    stays bounded.
    """

    __slots__ = ("count", "done")

    def __init__(self) -> None:
        self.count = 0
        self.done = 0


pending = Pending()


class Primitive:
    """One irreducible operator.

    Attributes:
        name: unique name; ``grad_fn`` names derive from it.
        kind: ``elementwise``, ``movement`` (an index map), ``reduce``, ``library`` (vendor call or
            reference),
            ``alias`` (no computation: leaf, detach), ``source`` (no inputs) or ``formula`` (written
            out before planning).
        infer: ``infer(*srcs, **attrs) -> (shape, dtype)``; raises what PyTorch raises.
        reference: ``reference(xp, *arrays, **attrs) -> array``, the definition in NumPy's terms.
        vjp: one rule an input, ``rule(g, out, *srcs, **attrs) -> Node`` or None where no gradient
            flows;
            ``vjp=None`` means not differentiable.
        lower: for elementwise primitives, ``lower(build, *values, dtype, **attrs) -> value`` in
            machine operations;
            None if the primitive only exists as a reference.
        cost: machine operations an element costs, roughly; fusion weighs recomputation by it.
        heavy: it costs many operations an element: a result that gradients need is not computed
            twice.
    """

    __slots__ = (
        "cost",
        "heavy",
        "infer",
        "kind",
        "lower",
        "moves",
        "multi",
        "name",
        "reference",
        "reorders",
        "vjp",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        infer: Callable[..., Any],
        reference: Callable[..., Any] | None = None,
        vjp: Sequence[Callable[..., Any] | None] | Callable[..., Any] | None = None,
        lower: Callable[..., Any] | None = None,
        multi: bool = False,
        cost: int = 1,
        heavy: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.infer = infer
        self.reference = reference
        self.vjp = vjp
        self.lower = lower
        self.multi = multi
        self.cost = cost
        self.heavy = heavy
        self.reorders = name == "permute"
        self.moves: dict[Any, tuple[tuple[int, ...], tuple[int, ...] | None]] = {}

    def __call__(self, *srcs: Node, **attrs: Any) -> Node:
        """Records this primitive on nodes.

        Raises:
            RuntimeError: shapes, dtypes or devices do not fit, as in PyTorch; or a backward pass
                needs a value that
                was overwritten in place.
        """
        if self.kind == "movement" and len(srcs) == 1:
            return self._move(srcs[0], attrs)
        shape, dtype = self.infer(*srcs, **attrs)
        place = srcs[0].device
        grad = False
        for src in srcs:
            if src.device is not place:
                device_error(srcs)
            if src.requires_grad:
                grad = True
        if mode.walking is not None:
            _note_use(srcs)
        pending.count += 1
        if grad:
            grad = mode.grad and self.vjp is not None and (self.multi or dtype.category >= 2)
        out = Node(self, srcs, attrs, shape, dtype, place, None, grad)
        order = srcs[0].order
        if order is not None or self.reorders:
            out.order = self.reordered(srcs[0], order, attrs)
        out.serial = pending.count
        return out

    def _move(self, src: Node, attrs: dict[str, Any]) -> Node:
        """Records an index map of one operand: its shape and order are remembered."""
        key = (src.shape, src.order, *attrs.items())
        found = self.moves.get(key)
        if found is None:
            shape, _ = self.infer(src, **attrs)
            order = src.order
            if order is not None or self.reorders:
                order = self.reordered(src, order, attrs)
            if len(self.moves) >= _MOVES:
                self.moves.clear()
            found = self.moves[key] = shape, order
        if mode.walking is not None:
            _note_use((src,))
        pending.count += 1
        grad = src.requires_grad and mode.grad and self.vjp is not None
        out = Node(self, (src,), attrs, found[0], src.dtype, src.device, None, grad)
        out.order = found[1]
        out.serial = pending.count
        return out

    def reordered(
        self, src: Node, order: tuple[int, ...] | None, attrs: dict[str, Any]
    ) -> tuple[int, ...] | None:
        """The memory order of a result whose first operand lies in ``order``."""
        if self.reorders:
            dims = attrs["dims"]
            place = {d: k for k, d in enumerate(order or range(len(dims)))}
            found = tuple(sorted(range(len(dims)), key=lambda k: place[dims[k]]))
            moving = [k for k in found if src.shape[dims[k]] != 1]
            return None if moving == sorted(moving) else found
        if self.name == "reshape" and order is not None:
            return _order_after(src.shape, attrs["shape"], order)
        keeps = self.kind in ("elementwise", "alias") or self.name in (
            "slice",
            "flip",
            "copy",
            "expand",
        )
        return order if keeps else None

    def register(self) -> Primitive:
        """Adds the primitive to the table of all primitives."""
        if self.name in PRIMITIVES:
            raise ValueError(f"primitive {self.name} is declared twice")
        PRIMITIVES[self.name] = self
        return self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (PRIMITIVES.__getitem__, (self.name,))


def _order_after(
    old: tuple[int, ...], new: tuple[int, ...], order: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Memory order after dimensions were split or joined; row-major where that takes a copy."""
    steps = [0] * len(old)
    span = 1
    for d in reversed(order):
        steps[d] = span
        span *= max(old[d], 1)
    strides = viewed(old, tuple(steps), new) if 0 not in new else None
    if strides is None:
        return None
    moving = [d for d in range(len(new)) if new[d] != 1]
    out = sorted(moving, key=lambda d: -strides[d])
    for d, n in enumerate(new):
        if n == 1:
            out.insert(d, d)
    return None if out == sorted(out) else tuple(out)


def device_error(srcs: tuple[Node, ...]) -> None:
    found = sorted({str(s.device) for s in srcs})
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{' and '.join(found)}! Move them with .to(device)."
    )


def _note_use(srcs: tuple[Node, ...]) -> None:
    """While a backward pass runs: notes which values its rules read, and refuses overwritten
    ones.
    """
    used = mode.walking
    assert used is not None
    for src in srcs:
        if src.stale != -1:
            check_stale(src, mode.serial)
        used.add(id(src))


def check_stale(src: Node, serial: int) -> None:
    """Refuses a value that was overwritten after the operator of this serial was recorded.

    Raises:
        RuntimeError: it was.
    """
    if src.stale == DETACHED and serial > src.serial:
        raise RuntimeError(
            "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_(). "
            "Use .detach() instead, which leaves the recorded tensor as it is."
        )
    if not 0 <= serial <= src.stale:
        return
    raise RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace "
        "operation: "
        f"[{src.device.type} {src.dtype} {list(src.shape)}], which was used by a recorded "
        "operator. "
        "Hint: clone() the tensor before changing it, or write the operator out of place."
    )
