"""The Tensor class: handle, aliases, in-place writes, gradients. Operators are attached from
``functional``.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.device import device as Device
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive, pending
from cupola.ops import elementwise, movement
from cupola.tensor.alias import Chain, Storage, replay, replay_numpy, write
from cupola.tensor.gradfn import GradFn, hook_node
from cupola.tensor.history import carried, overwritten
from cupola.tensor.written import note


class Size(tuple[int, ...]):
    """The sizes of a tensor (torch.Size): a tuple of int with ``numel``."""

    def __new__(cls, sizes: Sequence[int] = ()) -> Size:
        return super().__new__(cls, sizes)

    def numel(self) -> int:
        """Number of elements."""
        n = 1
        for s in self:
            n *= s
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, key: Any) -> Any:
        out = super().__getitem__(key)
        return Size(out) if isinstance(key, slice) else out

    def __add__(self, other: Any) -> Any:
        return Size(tuple(self) + tuple(other))

    def __reduce__(self) -> Any:
        return (Size, (tuple(self),))


class Tensor:
    """A multi-dimensional array of one dtype on one device, with optional gradient history
    (torch.Tensor).

    The handle is mutable, the value is not: in-place operators rebind the handle to a new node.
    """

    _n: Node
    _storage: Storage | None = None
    _chain: Chain = ()  # from storage to this tensor
    _base: Tensor | None = None  # of which this is a differentiable view
    _base_chain: Chain = ()
    _silent = False  # made by ``data``: writes through it go unnoticed by the tape
    _recorded = True  # False: a view that was made under no_grad
    _seen = 0
    _ver = 0
    _grad: Tensor | None = None
    _retains = False
    _name: str | None = None
    _backward_hooks: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        from cupola.tensor.create import legacy_constructor

        return legacy_constructor(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

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
        return self._n if self._storage is None else self._sync()

    def _sync(self) -> Node:
        storage = self._storage
        assert storage is not None
        if storage.external is not None:
            return self._snapshot(storage)
        if self._seen != storage.version:
            if self._base is not None:
                saved, mode.grad = mode.grad, self._recorded
                try:
                    self._n = replay(self._base.node, self._base_chain)
                finally:
                    mode.grad = saved
            else:
                assert storage.node is not None
                self._take(replay(storage.node, self._chain))
            self._seen = storage.version
        return self._n

    def _snapshot(self, storage: Storage) -> Node:
        """A copy of memory shared with NumPy: what is recorded now must not change when the array
        does.
        """
        if self._base is not None and self._n.requires_grad and not self.is_leaf:
            saved, mode.grad = mode.grad, self._recorded
            try:
                return replay(self._base.node, self._base_chain)
            finally:
                mode.grad = saved
        array = storage.external.copy()
        node = source.buffer(array, dtypes.from_numpy_dtype(array.dtype), self._n.device)
        node = replay(node, self._chain)
        if self._n.requires_grad:
            return source.leaf(node, weakref.ref(self)) if self.is_leaf else node
        return node

    def _take(self, value: Node) -> None:
        """Rebinds to a new value without touching the gradient history."""
        old = self._n
        if not old.requires_grad:
            self._n = source.detach(value)
        elif old.op is source.LEAF:
            self._n = source.leaf(source.detach(value), weakref.ref(self))
            assert self._n.meta is not None and old.meta is not None
            if "hooks" in old.meta:
                self._n.meta["hooks"] = old.meta["hooks"]
        else:
            self._n = carried(old, value)

    def _share(self) -> Storage:
        if self._storage is None:
            self._storage = Storage(source.detach(self._n), self._ver)
            self._storage.join(weakref.ref(self))
            self._seen = self._ver
        return self._storage

    def _alias_of(self, other: Tensor) -> None:
        """Becomes a second handle on ``other``'s storage, without gradient history."""
        node = other.node
        self._storage = other._share()
        self._storage.join(weakref.ref(self))
        self._seen = self._storage.version
        self._chain = other._chain
        self._n = source.detach(node)

    def view_by(self, op: Primitive, **attrs: Any) -> Tensor:
        """A view of this tensor through one movement primitive; writes through it reach this
        tensor.
        """
        node = op(self.node, **attrs)
        out = wrap(node)
        step = ((op, attrs),)
        out._storage = storage = self._share()
        out._seen = storage.version
        out._chain = self._chain + step
        if not mode.grad:
            out._recorded = False
        if self._base is None:
            out._base, out._base_chain = self, step
        else:
            out._base, out._base_chain = self._base, self._base_chain + step
        return out

    def assign(self, value: Node, since: int | None = None) -> Tensor:
        """Writes ``value`` (same shape and dtype) into this tensor in place, reaching all aliases.

        ``since`` is the number of recorded nodes when the operator began: what it recorded itself
        may read the old
        value in a backward pass, what was recorded before may not.

        Raises:
            RuntimeError: this is a leaf (or a view of one) that requires a gradient, and gradients
                are recorded.
        """
        node = self.node
        if mode.grad and node.requires_grad:
            self._check_leaf(node)
        since = pending.count if since is None else since
        node.stale = since
        if self._storage is not None:
            self._mark_stale(self._storage, since)
        if self._base is not None:
            base = self._base
            whole = write(base.node, self._base_chain, value)
            base._n.stale = since
            base._assign_root(whole)
            assert self._storage is not None
            self._storage.written = value
            self._seen = -1
            self._sync()
            return self
        self._assign_root(value)
        return self

    def _mark_stale(self, storage: Storage, since: int) -> None:
        """Says of what the other holders of the storage have recorded that it was overwritten; not
        through ``data``.
        """
        if storage.written is not None:
            storage.written.stale = since
        if not self._silent:
            for reference in storage.sharers:
                other = reference()
                if other is not None:
                    other._n.stale = max(other._n.stale, since)

    def _check_leaf(self, node: Node) -> None:
        if self._base is not None:
            if self._base.is_leaf and self._base.requires_grad:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place "
                    "operation."
                )
        elif node.op is source.LEAF:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )

    def _assign_root(self, value: Node) -> None:
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
            self._n = overwritten(self._n, value)
        storage = self._storage
        if storage is None:
            self._ver += 1
            return
        plain = source.detach(value)
        if storage.external is not None:
            target = replay_numpy(storage.external, self._chain)
            target[...] = engine.to_numpy(plain)
        elif self._chain:
            assert storage.node is not None
            storage.node = write(storage.node, self._chain, plain)
        else:
            storage.node = plain
        storage.version += 1
        self._seen = storage.version

    # --- what it is

    @property
    def shape(self) -> Size:
        return Size(self._n.shape)

    def size(self, dim: int | None = None) -> Any:
        """Sizes, or the size of one dimension."""
        return Size(self._n.shape) if dim is None else self._n.shape[_wrap(dim, self._n.ndim)]

    @property
    def dtype(self) -> DType:
        return self._n.dtype

    @property
    def device(self) -> Device:
        return self._n.device

    @property
    def ndim(self) -> int:
        return len(self._n.shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._n.shape)

    ndimension = dim

    def numel(self) -> int:
        """Number of elements."""
        return self._n.numel

    nelement = numel

    def __len__(self) -> int:
        if not self._n.shape:
            raise TypeError("len() of a 0-d tensor")
        return self._n.shape[0]

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    is_sparse = is_quantized = is_nested = is_mkldnn = is_xla = is_mps = is_xpu = False
    is_sparse_csr = is_vulkan = is_ort = is_ipu = is_maia = is_mtia = is_hpu = False

    @property
    def is_cuda(self) -> bool:
        return self._n.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self._n.device.type == "cpu"

    @property
    def is_meta(self) -> bool:
        return self._n.device.type == "meta"

    @property
    def names(self) -> tuple[None, ...]:
        return (None,) * self.ndim

    @property
    def layout(self) -> Any:
        from cupola.tensor.layout import strided

        return strided

    # --- gradients

    @property
    def requires_grad(self) -> bool:
        return self.node.requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        node = self.node
        if not wanted:
            if node.requires_grad and node.op is not source.LEAF:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to "
                    "use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = "
                    "var.detach()."
                )
            self._n = source.detach(node)
        elif not node.requires_grad:
            if node.dtype.category < 2:
                raise RuntimeError("only Tensors of floating point dtype can require gradients")
            self._n = source.leaf(node, weakref.ref(self))

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switches whether gradients are collected here; returns self."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        return not self._n.requires_grad or self._n.op is source.LEAF

    @property
    def grad_fn(self) -> GradFn | None:
        node = self.node
        return None if not node.requires_grad or node.op is source.LEAF else GradFn.of(node)

    @property
    def output_nr(self) -> int:
        return int(self._n.attrs.get("index", 0)) if self._n.op.kind == "alias" else 0

    @property
    def _version(self) -> int:
        return self._ver if self._storage is None else self._storage.version

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
        self._n = source.detach(self.node)
        return self

    @property
    def data(self) -> Tensor:
        out = self.detach()
        out._silent = True
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        old = self._n
        fresh = object.__new__(Tensor)
        fresh._alias_of(value)
        self._storage, self._chain, self._seen = fresh._storage, fresh._chain, fresh._seen
        self._base, self._base_chain = None, ()
        self._n = old
        self._take(fresh._n)

    def register_hook(self, hook: Any) -> Any:
        """Calls ``hook(grad)`` when the gradient of this tensor has been computed; a result
        replaces it.
        """
        node = self.node
        if not node.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")

        def on_node(g: Node) -> Node | None:
            result = hook(wrap(g))
            return None if result is None else result.node

        return hook_node(node, on_node)

    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Calls ``hook(self)`` after a gradient was added to ``self.grad``."""
        from cupola.tensor.gradfn import RemovableHandle

        if not (self.requires_grad and self.is_leaf):
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        hooks = self.__dict__.setdefault("_post_hooks", {})
        return RemovableHandle(hooks, hook)

    def retain_grad(self) -> None:
        """Keeps the gradient of a tensor that is not a leaf in ``grad``."""
        node = self.node
        if not node.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.is_leaf or self._retains:
            return
        self._retains = True
        owner = weakref.ref(self)

        def keep(g: Node) -> None:
            tensor = owner()
            if tensor is not None:
                tensor._grad = wrap(g)

        hook_node(node, keep)

    @property
    def retains_grad(self) -> bool:
        return self._retains

    def accumulate_grad(self, g: Node) -> None:
        """Adds a gradient to ``grad`` and runs the hooks that wait for it."""
        if self._grad is None:
            if g.order != self._n.order and not mode.grad:
                g = movement.copy(g)  # gradients lie in memory as their tensor does
                g.order = self._n.order
            self._grad = wrap(g)
        elif mode.grad:
            self._grad = wrap(elementwise.add(self._grad.node, g))
        else:
            self._grad.assign(elementwise.add(self._grad.node, g))
        for hook in tuple(self.__dict__.get("_post_hooks", {}).values()):
            hook(self)

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

    def __deepcopy__(self, memo: Any) -> Any:
        from cupola.tensor.copying import deepcopy

        return deepcopy(self, memo)


def _wrap(dim: int, ndim: int) -> int:
    low = -max(ndim, 1)
    if not low <= dim < -low:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{low}, {-low - 1}], but got "
            f"{dim})"
        )
    return dim + ndim if dim < 0 else dim


_EAGER = engine.eager()


def wrap(node: Node) -> Tensor:
    """A new handle on a node; starts the work when much has been recorded."""
    out = object.__new__(Tensor)
    out._n = node
    due = pending.count - pending.done > engine.PENDING_LIMIT or _EAGER
    if due and node.op is not source.CONST:
        engine.realize([node])
    return out


def apply(op: Primitive, *tensors: Tensor, **attrs: Any) -> Tensor:
    """Records one primitive on tensors: lazy and differentiable."""
    return wrap(op(*[t._n if t._storage is None else t._sync() for t in tensors], **attrs))


__all__ = ["Size", "Tensor", "apply", "movement", "wrap"]
