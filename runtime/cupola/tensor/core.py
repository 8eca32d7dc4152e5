"""The Tensor class: handle, aliases, in-place writes, gradients. Operators are attached from
``functional``.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

from cupola import dtypes, engine
from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import DETACHED, Node
from cupola.ir.op import Primitive, pending
from cupola.ops import movement
from cupola.tensor import protocol
from cupola.tensor.alias import Chain, Storage, inverse, replay, replay_numpy, write
from cupola.tensor.described import _wrap
from cupola.tensor.gradfn import GradFn
from cupola.tensor.history import carried, lost, overwritten
from cupola.tensor.hooked import Hooked
from cupola.tensor.reread import Reread
from cupola.tensor.size import Size
from cupola.tensor.written import holding, note

_ORIGINS = {
    "many": "is the output of a function that returns multiple views",
    "quiet": "was created in no_grad mode",
    "beyond": "reaches beyond its base, a detached part of other memory,",
}


class Tensor(Hooked):
    """A multi-dimensional array of one dtype on one device, with optional gradient history
    (torch.Tensor).

    The handle is mutable, the value is not: in-place operators rebind the handle to a new node.
    """

    _n: Node
    _storage: Storage | None = None
    _chain: Chain = ()  # from storage to this tensor
    _base: Tensor | None = None  # of which this is a differentiable view
    _base_chain: Chain = ()
    _turned: Chain = ()  # movements in place (``t_``) that views of this tensor know nothing of
    _back: Chain = ()  # what undoes them
    _origin = ""  # of a view that must not be written on the tape: of _ORIGINS
    _broken = False  # such a view, after the base was written
    _seen = 0
    _ver = 0
    _counter: list[int] | None = None  # writes, counted together with the aliases
    _former: tuple[Node, ...] = ()  # values of this tensor while it required a gradient
    _counted = 0  # how many there were when a view was made
    _name: str | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        from cupola.tensor.create import legacy_constructor

        return legacy_constructor(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        protocol.defined(cls)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls an operator that met a subclass; its results are of the subclass."""
        if not all(issubclass(cls, t) for t in types):
            return NotImplemented
        with protocol.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        return result if protocol.keeps_kind(func) else protocol.convert(result, cls)

    @staticmethod
    def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Any:
        """A ``cls`` that shares ``data``'s storage and starts a gradient history of its own."""
        out = object.__new__(cls)
        out._alias_of(data)
        if require_grad:
            out.requires_grad = True
        return out

    # --- the node behind the handle

    @property
    def node(self) -> Node:
        """The current value as a node; replays the view if its base has changed."""
        if self._storage is None:
            return self._n
        node = self._sync()
        if self._broken and mode.grad:
            self._refuse("its base or another view of its base has been")
        return node

    def _refuse(self, what: str) -> None:
        raise RuntimeError(
            f"A view that {_ORIGINS[self._origin]} and {what} modified inplace with grad mode "
            "enabled. This is forbidden. Move the view and the write both inside no_grad or both "
            "outside, and write out of place what is one of several views."
        )

    def _sync(self) -> Node:
        storage = self._storage
        assert storage is not None
        if storage.external is not None:
            return self._snapshot(storage)
        if self._n.meta is not None and source.is_nobodys(self._n):
            if self._base is None or not self._base.requires_grad:
                # Such a view says of itself what its base says.
                self._n = source.detach(self._n)
        if self._seen != storage.version:
            base, counter, order = self._base, self._counter, self._n.order
            first = base
            assert storage.node is not None and counter is not None
            if base is not None and base._storage is not storage:  # it was given other ``data``
                base = None
            own = self._n.op is source.LEAF and base is not None and not base.requires_grad
            own = own or self._origin == "beyond" and not self._n.requires_grad
            if base is None or own or counter[0] == self._counted:  # no change of history
                self._take(replay(storage.node, self._chain))
                if first is not None and first._n.requires_grad and not self._n.requires_grad:
                    self._n = source.leaf(self._n, source.nobody)
            elif self._origin and (base.requires_grad or self._n.requires_grad):
                self._n = source.detach(replay(storage.node, self._chain))
                self._broken = True
            else:
                wanted = self._n.requires_grad
                saved, mode.grad = mode.grad, True
                try:
                    self._n = replay(base._upright(), self._base_chain)
                finally:
                    mode.grad = saved
                storage.saw(self._n, counter)
                if wanted and not self._n.requires_grad:
                    self._n = lost(self._n)
                self._moved_on()
            if order is not None and self._chain:
                self._n.order = order
            if self._n.requires_grad:
                self._counted = counter[0]
            self._seen = storage.version
        return self._n

    def _upright(self) -> Node:
        """The value as views of this tensor know it: before movements in place."""
        return replay(self.node, self._back) if self._back else self.node

    def _snapshot(self, storage: Storage) -> Node:
        """A copy of memory shared with NumPy, which may change after this was recorded."""
        beyond = self._origin == "beyond"
        if self._base is not None and self._n.requires_grad and not self.is_leaf and not beyond:
            saved, mode.grad = mode.grad, True
            try:
                return replay(self._base._upright(), self._base_chain)
            finally:
                mode.grad = saved
        array = storage.external.copy()
        node = source.buffer(array, dtypes.from_numpy_dtype(array.dtype), self._n.device)
        node = replay(node, self._chain)
        if self._n.requires_grad:
            return source.leaf(node, weakref.ref(self)) if self.is_leaf else carried(self._n, node)
        return node

    def _take(self, value: Node) -> None:
        """Rebinds to a new value without touching the gradient history."""
        old = self._n
        if not old.requires_grad:
            self._n = source.detach(value)
        elif old.op is source.LEAF:
            self._n = source.leaf(source.detach(value), None)
            self._n.meta = old.meta  # the owner and the hooks, also those to come
        else:
            self._n = carried(old, value)

    def _share(self) -> Storage:
        if self._storage is None:
            self._storage = Storage(source.detach(self._n))
            self._storage.join(weakref.ref(self))
            self._seen = 0
        if self._counter is None:
            self._counter = [self._ver]
        return self._storage

    def _alias_of(self, other: Tensor) -> None:
        """Becomes a second handle on ``other``'s storage, without gradient history."""
        node = other._n if other._storage is None else other._sync()
        self._storage = other._share()
        self._storage.join(weakref.ref(self))
        self._seen = self._storage.version
        self._chain = other._chain
        self._counter = other._counter
        self._n = source.detach(node)

    def view_by(self, op: Primitive | Reread, **attrs: Any) -> Tensor:
        """A view of this tensor through one movement primitive, or one reading of its memory as
        another dtype; writes through it reach this tensor.
        """
        return self.view_through(((op, attrs),))

    def view_through(self, steps: Chain) -> Tensor:
        """A view of this tensor through several steps, each as in ``view_by``."""
        node = self._n if self._storage is None else self.node
        for op, attrs in steps:
            node = op(node, **attrs)
        out = object.__new__(Tensor)
        out._n = node
        out._storage = storage = self._share()
        out._seen = storage.version
        out._chain = self._chain + steps
        out._counter = counter = self._counter
        assert counter is not None
        storage.saw(node, counter)
        out._counted = counter[0]
        if self._base is None or self._base._storage is not storage:  # it was given other ``data``
            out._base, out._base_chain = self, self._turned + steps
        else:
            out._base, out._base_chain = self._base, self._base_chain + steps
            if self._origin:
                out._origin = self._origin
        if not mode.grad:
            out._origin = "quiet"
            if out._base.requires_grad:
                out._n = source.leaf(node, source.nobody)
        return settle(out)

    def turn(self, op: Primitive, **attrs: Any) -> Tensor:
        """Moves this tensor in place (``t_``); views of it keep their own shape.

        Raises:
            RuntimeError: a leaf that requires a gradient, or a view of one, while gradients are
                recorded.
        """
        node = self.node
        if mode.grad and node.requires_grad:
            self._check_leaf(node)
        step = ((op, attrs),)
        moved = op(node, **attrs)
        storage = self._share()
        if mode.grad and node.requires_grad and self._base is not None and self._origin:
            self._refuse("is being")
        node.stale = pending.count
        self._mark_stale(storage, pending.count)
        if self._base is None:
            self._turned += step
            self._back = (inverse(op, attrs, node.shape), *self._back)
        else:
            self._base_chain += step
        self._chain += step
        storage.version += 1
        self._seen = storage.version
        if mode.grad or not node.requires_grad:
            self._n = moved
        else:
            self._take(moved)
        self._count()
        return self

    def _count(self) -> None:
        if self._counter is None:
            self._ver += 1
        else:
            self._counter[0] += 1

    def assign(self, value: Node, since: int | None = None) -> Tensor:
        """Writes ``value`` (same shape and dtype) into this tensor in place, reaching all aliases.

        ``since`` is the number of recorded nodes when the operator began: what it recorded itself
        may read the old value in a backward pass, what was recorded before may not.

        Raises:
            RuntimeError: this is a leaf (or a view of one) that requires a gradient, and gradients
                are recorded.
        """
        node = self.node
        if mode.grad and (node.requires_grad or value.requires_grad):
            if self._base is not None and self._origin:
                self._refuse("is being")
            if node.requires_grad:
                self._check_leaf(node)
        since = pending.count if since is None else since
        node.stale = since
        if self._former:
            for former in self._former:
                former.stale = since
            self._former = ()
        if self._storage is None:
            self._assign_root(value)
            return self
        self._mark_stale(self._storage, since)
        base = self._base
        if base is not None and base._storage is self._storage and self._origin != "beyond":
            whole = write(base._upright(), self._base_chain, value)
            base._n.stale = since
            base._assign_root(replay(whole, base._turned), through_view=True)
            self._storage.written = (value, self._counter)
            self._seen = -1
            self._sync()
            return self
        self._assign_root(value)
        return self

    @contextlib.contextmanager
    def unhooked(self) -> Iterator[None]:
        """While a view is being written it has a value of its own: what hooks on the old one see is
        not the gradient of the new one. A write that fails leaves the old one.
        """
        old, base = self._n, self._base
        hooked = base is not None and mode.grad and self._hooked(base._n)
        if hooked and not base.is_leaf and not self._origin:  # else the write will be refused
            self._n = replay(base._upright(), self._base_chain)
        try:
            yield
        except BaseException:
            self._n = old
            raise

    def _hooked(self, base: Node) -> bool:
        """Whether this view, or one on the way to it from its base, has hooks."""
        node = self._n
        for _ in range(4 * len(self._base_chain)):  # a step of a chain records a few nodes at most
            if node.meta is not None and "hooks" in node.meta:
                return True
            if node is base or not node.srcs:
                break
            node = node.srcs[0]
        return False

    def _mark_stale(self, storage: Storage, since: int) -> None:
        """Says of what the other holders of the storage have recorded that it was overwritten;
        those that count their writes apart (``data``) do not notice.
        """
        if storage.written is not None and storage.written[1] is self._counter:
            storage.written[0].stale = since
        views, storage.views = storage.views, []
        for of_node, counter in views:
            node = of_node()
            if node is not None and counter is self._counter:
                node.stale = max(node.stale, since)
        for reference in storage.sharers:
            other = reference()
            if other is not None and other._counter is self._counter:
                for node in (other._n, *other._former):
                    node.stale = max(node.stale, since)

    def _check_leaf(self, node: Node) -> None:
        if self._base is not None:
            if self._base.is_leaf:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place "
                    "operation."
                )
        elif node.op is source.LEAF:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )

    def _assign_root(self, value: Node, through_view: bool = False) -> None:
        if not value.requires_grad and value.op.kind != "source":
            note(self)
        if value.order != self._n.order:  # writing does not move the tensor in memory
            value = source.ALIAS(value)
            value.order = self._n.order
        if not mode.grad:
            self._take(value)
        elif value.requires_grad or not self._n.requires_grad:
            self._n = value
        else:
            self._n = overwritten(self._n, value, through_view)
        if self._retains:
            self._moved_on()
        if self._counter is None:
            self._ver += 1
        else:
            self._counter[0] += 1
        storage = self._storage
        if storage is None:
            return
        plain = source.detach(value)
        if storage.external is not None:
            target = replay_numpy(storage.external, self._chain)
            target[...] = engine.to_numpy(plain)
        elif self._chain:
            old = storage.node
            assert old is not None
            storage.node = write(old, self._chain, plain)
            if storage.node.order != old.order:
                storage.node = source.ALIAS(storage.node)
                storage.node.order = old.order
        else:
            storage.node = plain
        storage.version += 1
        # What repeats elements has to be read again: the last write to a place counts.
        self._seen = -1 if any(op is movement.expand for op, _ in self._chain) else storage.version

    # --- gradients

    @property
    def requires_grad(self) -> bool:
        node = self._n if self._storage is None else self._sync()
        return node.requires_grad or self._broken

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        node = self._n if self._storage is None else self._sync()
        if not wanted:
            if self._broken or node.requires_grad and node.op is not source.LEAF:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to "
                    "use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = "
                    "var.detach()."
                )
            if node.requires_grad:
                self._former += (node,)
            self._n = source.detach(node)
            if self._origin == "quiet" and self._base.requires_grad:
                self._n = source.leaf(self._n, source.nobody)
        elif not node.requires_grad or source.is_nobodys(node):
            if node.dtype.category < 2:
                raise RuntimeError("only Tensors of floating point dtype can require gradients")
            self._n = source.leaf(node, weakref.ref(self))
            if self._storage is not None:  # views of this tensor say so too
                self._storage.version += 1
                self._seen = self._storage.version

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switches whether gradients are collected here; returns self."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        storage = self._storage
        node = self._n if storage is None or storage.external is not None else self.node
        return not node.requires_grad or node.op is source.LEAF

    @property
    def grad_fn(self) -> GradFn | None:
        node = self.node
        return None if not node.requires_grad or node.op is source.LEAF else GradFn.of(node)

    @property
    def output_nr(self) -> int:
        return int(self._n.attrs.get("index", 0)) if self._n.op.kind == "alias" else 0

    @property
    def _version(self) -> int:
        return self._ver if self._counter is None else self._counter[0]

    @property
    def _is_view(self) -> Any:
        return lambda: self._base is not None

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got {type(value).__name__}"
                )
            if value._n.shape != self._n.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: expected {list(self.shape)}, "
                    f"got {list(value.shape)}"
                )
            if value._n.device is not self._n.device:
                raise RuntimeError(
                    f"assigned grad has data located on a different device than {self.device}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Adds the gradients of this tensor to the ``grad`` of leaves (torch.Tensor.backward)."""
        from cupola.tensor.backward import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """A tensor that shares storage, through which no gradient flows."""
        out = object.__new__(Tensor)
        out._alias_of(self)
        return out

    def detach_(self) -> Tensor:
        """Cuts this tensor from the graph that made it."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        if self.is_leaf:
            self._former += (self._n,)
        else:
            self.node.stale = DETACHED
        self._n = source.detach(self.node)
        return self

    @property
    def data(self) -> Tensor:
        out = self.detach()
        out._counter = [0]
        out._n = source.ALIAS(out._n)  # its own node: what overwrites it goes unnoticed by the tape
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        old = self._n
        fresh = object.__new__(Tensor)
        fresh._alias_of(value)
        self._storage, self._chain, self._seen = fresh._storage, fresh._chain, fresh._seen
        self._base, self._base_chain, self._turned = None, (), ()
        self._back = ()
        if self._counter is None:
            self._counter = [self._ver]
        self._n = old
        self._take(fresh._n)

    # --- observing

    def realize(self) -> Tensor:
        """Starts the computation of this tensor now; returns self."""
        engine.realize([self.node])
        return self

    def __hash__(self) -> int:
        return id(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        from cupola.tensor.copying import reduce

        return reduce(self)

    def __copy__(self) -> Any:
        from cupola.tensor.copying import shallow

        return shallow(self)

    def __deepcopy__(self, memo: Any) -> Any:
        from cupola.tensor.copying import deepcopy

        return deepcopy(self, memo)


protocol.faces.tensor = Tensor
_EAGER = engine.eager()


def wrap(node: Node) -> Tensor:
    """A new handle on a node; starts the work when much has been recorded."""
    out = object.__new__(Tensor)
    out._n = node
    return settle(out)


def settle(out: Tensor) -> Tensor:
    """The handle, whose work is started when much has been recorded."""
    due = pending.count - pending.done > engine.PENDING_LIMIT or _EAGER
    if due and out._n.op is not source.CONST and not holding.level:
        engine.start([out._n])
    return out


def apply(op: Primitive, *tensors: Tensor, **attrs: Any) -> Tensor:
    """Records one primitive on tensors: lazy and differentiable."""
    return wrap(op(*[t._n if t._storage is None else t.node for t in tensors], **attrs))


__all__ = ["Size", "Tensor", "_wrap", "apply", "movement", "wrap"]
