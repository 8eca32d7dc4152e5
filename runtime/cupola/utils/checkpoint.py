"""Trading computation for memory (``torch.utils.checkpoint``)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = [
    "checkpoint",
    "checkpoint_sequential",
    "noop_context_fn",
    "set_checkpoint_early_stop",
]


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Any:
    """Accepted for its name: recomputation here never runs further than needed."""
    yield


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
    """``function(*args, **kwargs)`` with the same result and gradients; activations are kept."""
    if kwargs and use_reentrant:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    first, _ = context_fn()
    with first:
        return function(*args, **kwargs)


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
