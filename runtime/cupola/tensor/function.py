"""autograd.Function: operators with a hand-written gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ops.custom import custom_output, joint
from cupola.tensor.core import Tensor, wrap
from cupola.tensor.history import carried
from cupola.tensor.modes import no_grad
from cupola.tensor.saving import saving


class FunctionCtx:
    """What ``forward`` leaves for ``backward``."""

    def __init__(self) -> None:
        self._saved: tuple[Tensor | None, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._packed: Any = None  # what hooks made of the saved tensors, and how to undo it
        self._dirty: tuple[Tensor, ...] = ()
        self._plain: tuple[Tensor, ...] = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for ``backward``; overwriting one of them before then is an error."""
        self._saved = tensors
        self._versions = tuple(-1 if t is None else t._version for t in tensors)

    save_for_forward = save_for_backward

    def _pack(self) -> None:
        """Gives what was saved to the hooks in force and keeps their results only."""
        if not saving.hooks or not self._saved:
            return
        pack, unpack = saving.hooks[-1]
        kept = []
        with no_grad():
            for t in self._saved:
                history = t.node if t is not None and t.requires_grad else None
                kept.append(None if t is None else (pack(t.detach()), history))
        self._packed, self._saved, self._versions = (kept, unpack), (), ()

    def _unpack(self) -> tuple[Tensor | None, ...]:
        """The tensors that the hooks make again, with the history of those that were saved."""
        kept, unpack = self._packed
        out: list[Tensor | None] = []
        for pair in kept:
            t = None if pair is None else unpack(pair[0])
            if t is not None and not isinstance(t, Tensor):
                raise TypeError("Output of saved tensor unpack_hook expected to be a Tensor")
            if t is not None and pair[1] is not None and mode.grad:
                t = wrap(carried(pair[1], t.node))
            out.append(t)
        return tuple(out)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._packed is not None:
            return self._unpack()
        for t, version in zip(self._saved, self._versions, strict=True):
            if t is not None and t._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by "
                    "an inplace operation: "
                    f"a tensor saved for backward is at version {t._version}; expected version "
                    f"{version} instead."
                )
        return self._saved

    saved_variables = saved_tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says which inputs ``forward`` changed in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says which outputs carry no gradient."""
        self._plain = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing output gradients reach ``backward`` as zeros (default) or as None."""
        self._materialize = value


def _joint(cls: Any, ctx: Any, inputs: tuple[Any, ...], outputs: list[Tensor]) -> Node:
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    node = Node(
        joint,
        tuple(t.node for t in tensors),
        {},
        tuple(o._n.shape for o in outputs),
        tuple(o._n.dtype for o in outputs),
        tensors[0]._n.device,
        None,
        True,
    )

    def rule(gs: list[Node | None]) -> list[Node | None]:
        given: list[Tensor | None] = []
        for g, o_shape, o_dtype in zip(gs, node.shape, node.dtype, strict=True):
            if g is None and ctx._materialize:
                g = source.const(0, o_shape, o_dtype, node.device)
            given.append(None if g is None else wrap(g))
        results = cls.backward(ctx, *given)
        results = results if isinstance(results, tuple) else (results,)
        if len(results) < len(inputs):
            raise RuntimeError(
                f"function {cls.__name__}Backward returned an incorrect number of gradients "
                f"(expected {len(inputs)}, "
                f"got {len(results)})"
            )
        out = []
        for x, r in zip(inputs, results, strict=False):
            if isinstance(x, Tensor):
                out.append(None if r is None else _fit(r, x))
        return out

    node.meta = {"backward": rule, "name": f"{cls.__name__}Backward"}
    return node


def _fit(g: Tensor, x: Tensor) -> Node:
    """A returned gradient, reduced to its input's shape if it was broadcast, in its dtype."""
    from cupola.ops import elementwise, movement, reduce

    node, shape = g.node, x._n.shape
    if node.shape != shape:
        extra = node.ndim - len(shape)
        dims = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and node.shape[i + extra] != 1
        )
        if extra < 0 or (dims and reduce.sum(node, dims=dims).numel != x._n.numel) or (not dims):
            raise RuntimeError(
                f"a Function returned a gradient of shape {list(g.shape)}, expected {list(shape)}"
            )
        node = movement.reshape(reduce.sum(node, dims=dims), shape=shape)
    return node if node.dtype is x._n.dtype else elementwise.cast(node, dtype=x._n.dtype)


class Function:
    """Base of operators with a hand-written gradient (torch.autograd.Function).

    Subclasses define the static methods ``forward(ctx, *args)`` and ``backward(ctx, *grads)``, or
    ``forward(*args)`` and ``setup_context(ctx, inputs, output)``; call them through ``apply``.
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function."
        )

    vjp = backward

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs the function and records its gradient."""
        ctx = type(f"{cls.__name__}Backward", (FunctionCtx,), {})()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        recording = mode.grad and any(ctx.needs_input_grad)
        split = cls.setup_context is not Function.setup_context
        with no_grad():
            if split:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        if not recording:
            return result
        many = isinstance(result, (tuple, list))
        outputs = list(result) if many else [result]
        tensors = [o for o in outputs if isinstance(o, Tensor)]
        before = [a.node for a in args if isinstance(a, Tensor)]
        if not tensors or not before:
            return result
        node = _joint(cls, ctx, args, tensors)
        finished = [_output(ctx, o, tensors, node) if isinstance(o, Tensor) else o for o in outputs]
        _resave(ctx, tensors, [f for f in finished if isinstance(f, Tensor)])
        ctx._pack()
        return type(result)(finished) if many else finished[0]


def _output(ctx: Any, out: Tensor, tensors: list[Tensor], node: Node) -> Tensor:
    if any(out is p for p in ctx._plain) or out._n.dtype.category < 2:
        return out
    k = next(i for i, t in enumerate(tensors) if t is out)
    value = source.detach(out.node)
    made = Node(
        custom_output,
        (value, node),
        {"index": k},
        value.shape,
        value.dtype,
        value.device,
        None,
        True,
    )
    made.meta = {"name": node.meta["name"] if node.meta else "FunctionBackward"}
    if any(out is d for d in ctx._dirty):
        out._n = made
        out._count()
        return out
    return wrap(made)


def _resave(ctx: Any, old: list[Tensor], new: list[Tensor]) -> None:
    """Outputs that were saved are saved with their history, so that second derivatives flow through
    them.
    """
    replaced = {id(o): n for o, n in zip(old, new, strict=True)}
    if any(id(t) in replaced for t in ctx._saved if t is not None):
        ctx.save_for_backward(*(replaced.get(id(t), t) for t in ctx._saved))


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a ``backward`` whose result cannot be differentiated again."""

    @functools.wraps(function)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            return function(ctx, *args)

    return wrapper
