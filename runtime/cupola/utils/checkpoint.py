"""Trading computation for memory (``torch.utils.checkpoint``)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from cupola import autodiff, cuda, engine
from cupola.functional.sampling import get_rng_state, set_rng_state
from cupola.ir.mode import mode
from cupola.tensor import Tensor, enable_grad, is_grad_enabled
from cupola.tensor.backward import grad
from cupola.tensor.function import Function

__all__ = [
    "CheckpointError",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_early_stop",
    "set_device_states",
]


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Any:
    """Accepted for its name: recomputation here never runs further than needed."""
    yield


class CheckpointError(RuntimeError):
    """A function gave other results when it was run again."""


class _Call:
    """One checkpointed call: what it takes to run the function again.

    Attributes:
        inputs: the tensors among the arguments that gradients flow to.
        leaves: the other tensors that they flow to: parameters that the function reads.
    """

    def __init__(
        self, function: Callable, args: Any, kwargs: Any, contexts: tuple[Any, Any], random: bool
    ) -> None:
        self.function = function
        self.args = (args, kwargs)
        self.contexts = contexts
        self.casts = mode.casts
        self.state = get_rng_state() if random else None
        self.inputs: list[Tensor] = [
            t for t in _tensors(self.args) if t.requires_grad and t.dtype.category >= 2
        ]
        self.leaves: list[Tensor] = []

    def run(self, inputs: list[Tensor], again: bool) -> tuple[Any, list[Tensor]]:
        """The function's result with other tensors for the inputs, and the tensors in it."""
        given = {id(old): new for old, new in zip(self.inputs, inputs, strict=True)}
        args, kwargs = _mapped(self.args, given)
        casts, mode.casts = mode.casts, self.casts
        state = get_rng_state() if again and self.state is not None else None
        if state is not None:
            set_rng_state(self.state)
        try:
            with enable_grad(), self.contexts[again]:
                result = self.function(*args, **kwargs)
        finally:
            mode.casts = casts
            if state is not None:
                set_rng_state(state)
        return result, list(_tensors(result))

    def gradients(self, gs: tuple[Tensor | None, ...], shapes: list[Any]) -> list[Tensor | None]:
        """Of the inputs and leaves, from those of the tensors in the result."""
        further = is_grad_enabled()
        inputs = self.inputs if further else [t.detach().requires_grad_() for t in self.inputs]
        _, outputs = self.run(inputs, True)
        if [(tuple(o.shape), o.dtype) for o in outputs] != shapes:
            raise CheckpointError(
                "torch.utils.checkpoint: the function gave tensors of other shapes or types when "
                "it was run again; it has to compute the same from the same arguments"
            )
        pairs = [(o, g) for o, g in zip(outputs, gs, strict=True) if g is not None]
        pairs = [(o, g) for o, g in pairs if o.requires_grad]
        wanted = [*inputs, *self.leaves]
        if not pairs:
            return [None] * len(wanted)
        roots, seeds = zip(*pairs, strict=True)
        with enable_grad():
            found = grad(roots, wanted, seeds, True, create_graph=further, allow_unused=True)
        engine.start([t.node for t in found if t is not None])  # and the values are given back
        return list(found)


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, outputs: list[Tensor], *tensors: Tensor) -> Any:
        ctx.call = call
        ctx.shapes = [(tuple(o.shape), o.dtype) for o in outputs]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gs: Tensor | None) -> Any:
        return (None, None, *ctx.call.gradients(gs, ctx.shapes))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from _tensors(v)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _mapped(value: Any, given: dict[int, Tensor]) -> Any:
    """The same with other tensors for some, by identity."""
    if isinstance(value, Tensor):
        return given.get(id(value), value)
    if isinstance(value, (tuple, list)):
        parts = [_mapped(v, given) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {k: _mapped(v, given) for k, v in value.items()}
    return value


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` whose intermediate values are computed again in ``backward``.

    Values and gradients are those of the plain call, random numbers included; only the arguments
    and the results are kept in between. Both of PyTorch's implementations are this one here.

    Raises:
        CheckpointError: in ``backward``, if the function then gives other shapes or types.
    """
    if kwargs and use_reentrant:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    contexts = context_fn()
    if not is_grad_enabled():
        with contexts[0]:
            return function(*args, **kwargs)
    call = _Call(function, args, kwargs, contexts, preserve_rng_state)
    own = [t.detach().requires_grad_() for t in call.inputs]
    result, outputs = call.run(own, False)
    history = [o.node for o in outputs if o.requires_grad]
    if not history:
        return result
    known = {id(t) for t in own}
    found = (node.meta["leaf"]() for node in autodiff.leaves(history) if node.meta)
    leaves = {id(t): t for t in found if t is not None and id(t) not in known}
    call.leaves = list(leaves.values())
    plain = [o.detach() for o in outputs]
    engine.start([p.node for p in plain])  # nothing of the way to them is kept from here on
    ends = _Recomputed.apply(call, plain, *call.inputs, *call.leaves)
    given = {
        id(o): end if o.requires_grad else p for o, end, p in zip(outputs, ends, plain, strict=True)
    }
    return _mapped(result, given)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """The functions one after another, in checkpointed segments."""
    stages = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(stages) // segments

    def run(begin: int, end: int) -> Callable:
        def segment(value: Any) -> Any:
            for stage in stages[begin:end]:
                value = stage(value)
            return value

        return segment

    end = 0
    for _ in range(segments - 1):
        input = checkpoint(run(end, end + size), input, use_reentrant=use_reentrant)
        end += size
    return run(end, len(stages))(input)


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors of the same values at the start of a history of their own; the rest as it is.

    Raises:
        RuntimeError: ``inputs`` is no tuple.
    """
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs)}"
        )
    found = []
    for value in inputs:
        if isinstance(value, Tensor):
            value = value.detach().requires_grad_(value.requires_grad)
        found.append(value)
    return tuple(found)


def check_backward_validity(inputs: Any) -> None:
    """Warns where no argument asks for a gradient, so that none will come out."""
    if not any(t.requires_grad for t in inputs if isinstance(t, Tensor)):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
        )


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The GPUs that arguments lie on, and the state of each one's random generator."""
    indices = sorted({t.device.index or 0 for t in _tensors(args) if t.device.type == "cuda"})
    return indices, [cuda.get_rng_state(f"cuda:{i}") for i in indices]


def set_device_states(devices: Any, states: Any, *, device_type: str | None = None) -> None:
    """Puts random generators of GPUs back into the states that ``get_device_states`` found."""
    for index, state in zip(devices, states, strict=True):
        cuda.set_rng_state(state, f"cuda:{index}")
