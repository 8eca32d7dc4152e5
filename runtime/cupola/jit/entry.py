"""A captured call: how to check that it still holds, and how to replay it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from cupola import engine
from cupola.ir.node import Node
from cupola.ir.op import pending
from cupola.ir.source import LEAF, buffer
from cupola.jit.free import Free, unchanged
from cupola.jit.settings import Settings
from cupola.jit.signature import Unrepeatable, epoch
from cupola.tensor import Tensor, wrap


class Place:
    """A tensor whose value lives in an array that every replay overwrites.

    Others may have got hold of that value: a saved alias, an operator recorded and not yet run.
    They are found by counting references, and given a copy before the array changes.
    """

    __slots__ = (
        "array",
        "array_references",
        "keeper",
        "left_references",
        "node_references",
        "owner",
        "owner_references",
    )

    def __init__(self, owner: Tensor, array: Any, keeper: Node | None = None) -> None:
        self.owner = owner
        self.array = array
        self.keeper = keeper  # the capture's own node on the array
        self.bind()

    def bind(self) -> None:
        """Gives the tensor a new node on the array, leaving its old one to whoever holds it."""
        owner = self.owner
        old = owner._n
        node = buffer(self.array, old.dtype, old.device)
        owner._take(node)
        owner._n.value = self.array
        owner._n.srcs = ()
        owner._n.order = old.order
        storage = owner._storage
        if storage is not None:
            storage.node = node
            owner._seen = storage.version

    def count(self) -> None:
        """Notes how many references there are while nobody else holds the value."""
        self.owner_references = sys.getrefcount(self.owner)
        self.node_references = sys.getrefcount(self.owner._n)
        self.array_references = sys.getrefcount(self.array)
        storage = self.owner._storage
        own = {id(self.owner._n), id(self.owner._n if storage is None else storage.node)}
        self.left_references = self.array_references - len(own) + 1  # with the last node alone

    def release(self) -> None:
        """Lets others keep the value that is about to be overwritten."""
        storage = self.owner._storage
        if storage is not None:  # aliases read the new value at their next use
            storage.version += 1
            self.owner._seen = storage.version
        node = self.owner._n
        if sys.getrefcount(node) > self.node_references + 1:
            copy = self.array.copy()
            self.bind()
            node.value = copy
            node.stale = max(node.stale, pending.count)
        if sys.getrefcount(self.array) > self.array_references:
            self._release_array()

    def renew(self) -> None:
        """For a gradient: a tensor that somebody else holds stays theirs, with its value."""
        if sys.getrefcount(self.owner) > self.owner_references:
            old = self.owner
            self.owner = wrap(buffer(self.array, old.dtype, old.device))
            old._take(buffer(self.array.copy(), old.dtype, old.device))
            self.bind()

    def takes(self, last: Node) -> bool:
        """Whether the tensor may be bound to the array again: somebody else wrote its value since
        ``last``, and nothing that decides what is computed has changed with it."""
        owner, now = self.owner, self.owner.node
        return (
            (now.shape, now.dtype, now.order) == (last.shape, last.dtype, last.order)
            and now.device is last.device
            and now.requires_grad == last.requires_grad
            and (now.op is LEAF or not now.requires_grad)
            and overwritable(owner)
            and engine.array_of(now) is not None
        )

    def adopt(self, last: Node) -> None:
        """Copies the tensor's value into the array and binds it there; see ``takes``."""
        # In this order: the count of the array's holders includes ``last``.
        if sys.getrefcount(self.array) > self.left_references:
            self._release_array()
        if sys.getrefcount(last) > _LAST_REFERENCES:  # an alias or a recorded operator holds it
            last.value = self.array.copy()
            last.stale = max(last.stale, pending.count)
        self.array[...] = self.owner.node.value
        self.bind()

    def _release_array(self) -> None:
        storage = self.owner._storage
        own = (self.owner._n, None if storage is None else storage.node, self.keeper)
        copy = None
        for holder in gc.get_referrers(self.array):
            if isinstance(holder, Node) and not any(holder is n for n in own):
                copy = self.array.copy() if copy is None else copy
                holder.value = copy
        del copy
        # What is left shares memory on purpose: arrays that ``numpy()`` has given away.
        self.array_references = max(self.array_references, sys.getrefcount(self.array))


# Of a node that its tensor has left and nobody else holds: the entry's list, the parameter of
# ``adopt``, the argument of ``getrefcount``. Where Python counts one more, a copy is made in vain.
_LAST_REFERENCES = 3


def overwritable(t: Tensor) -> bool:
    """Whether a tensor's value can live in an array of ours: no view, no memory of NumPy's."""
    storage = t._storage
    return t._base is None and (storage is None or (storage.external is None and not t._chain))


class Entry:
    """One captured call.

    Args:
        outputs, inputs: tensors that it returned; nodes of its tensor arguments.
        handles: tensors that it reads or writes beside its arguments.
        writes: (tensor, value before, value after) of those that it writes.
        fresh: (tensor, gradient) where it replaced ``grad``.
        grads: (tensor, gradient before).
        free: what the function refers to.
        rebuild: makes the call's result from (new tensors, arguments).
    """

    def __init__(
        self,
        outputs: list[Tensor],
        inputs: list[Node],
        handles: list[Tensor],
        writes: list[tuple[Tensor, Node, Node]],
        fresh: list[tuple[Tensor, Tensor | None]],
        grads: list[tuple[Tensor, Tensor | None]],
        settings: Settings,
        free: Free,
        rebuild: Callable[..., Any],
        device: Any,
    ) -> None:
        for h, _, _ in writes:
            if not overwritable(h):
                raise Unrepeatable("it writes into a view or into memory shared with NumPy")
        self.settings = settings
        self.numbers = free.numbers()
        self.watched = free.watched()
        self.rebuild = rebuild
        kept = [g for _, g in fresh if g is not None]
        touched = {id(p) for p, _ in fresh}
        # A gradient that was absent may have decided what was computed; one that was not read
        # has not.
        self.absent = [p for p, g in grads if g is None and id(p) in touched]
        written = [(old, new) for _, old, new in writes]
        made = [o.node for o in outputs]
        try:
            self.capture = engine.Capture(made, inputs, device, written, [g.node for g in kept])
        except engine.NotRecorded as why:
            raise Unrepeatable(f"part of it runs on the host ({why})") from why
        for o, node in zip(outputs, self.capture(inputs, settings.recorded()), strict=True):
            o._n.value = node.value
            o._n.srcs = ()
        keepers = self.capture.keepers
        self.places = [
            Place(h, array, keeper)
            for (h, _, _), array, keeper in zip(writes, self.capture.static, keepers, strict=True)
        ]
        left = iter(self.capture.left)
        self.fresh = [(p, None if g is None else Place(g, next(left))) for p, g in fresh]
        self.handles = handles
        self.nodes = [h.node for h in handles]
        self.epoch = epoch.count

    def settle(self) -> None:
        """To be called when nothing of the recording is left but this entry."""
        for place in self._all():
            place.count()
        for _, place in self.fresh:
            if place is not None:
                place.owner_references -= 1  # the parameter's own, which replays take first

    def _all(self) -> list[Place]:
        return self.places + [place for _, place in self.fresh if place is not None]

    def holds(self, numbers: list[Any]) -> bool:
        """Whether nothing that the call depends on, beside its arguments, has changed.

        Tensors that it overwrites may have new values, from another captured call (a last, smaller
        batch), a checkpoint or an average: they are copied to where the replay reads them.
        """
        return (
            self.epoch == epoch.count
            and numbers == self.numbers
            and unchanged(self.watched)
            and all(p._grad is None for p in self.absent)
            and self.settings.holds()
            and ([h.node for h in self.handles] == self.nodes or self._adopt())
        )

    def _adopt(self) -> bool:
        """Takes over values that others wrote; False if what only is read has changed."""
        changed = [k for k, h in enumerate(self.handles) if h.node is not self.nodes[k]]
        places = {id(place.owner): place for place in self.places}
        for k in changed:
            place = places.get(id(self.handles[k]))
            if place is None or not place.takes(self.nodes[k]):
                return False
        for k in changed:
            places[id(self.handles[k])].adopt(self.nodes[k])
        self.nodes = [h.node for h in self.handles]
        return True

    def replay(self, tensors: list[Tensor]) -> Any:
        """Runs the call on new arguments."""
        for parameter, place in self.fresh:
            parameter._grad = None
            if place is not None:
                place.renew()
        for place in self._all():
            place.release()
        if self.places:
            self.nodes = [h.node for h in self.handles]
        results = self.capture([t.node for t in tensors], self.settings.sources())
        self.settings.advance()
        for parameter, place in self.fresh:
            parameter._grad = None if place is None else place.owner
        return self.rebuild([wrap(n) for n in results], tensors)
