"""The recorded graph as users see it, and hooks on it (torch.autograd.graph)."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from cupola import autodiff
from cupola.tensor import Tensor
from cupola.tensor.gradfn import GradFn as Node
from cupola.tensor.saving import disable_saved_tensors_hooks, saved_tensors_hooks


class save_on_cpu(saved_tensors_hooks):
    """Keeps what an ``autograd.Function`` saves in the host's memory until it is read
    (torch.autograd.graph.save_on_cpu). ``pin_memory`` changes nothing here.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda x: (x.device, x.cpu()), lambda kept: kept[1].to(kept[0]))


class _Handle:
    """Removes the hooks of several tensors."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Takes the hooks out; calling it twice is harmless."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[[Any], None], *, mode: str = "all"
) -> _Handle:
    """Calls ``fn`` once a backward pass: with the list of all gradients, None for tensors that the
    pass does not reach ("all"), or with the first of them ("any")
    (torch.autograd.graph.register_multi_grad_hook).

    Raises:
        ValueError: ``mode`` is neither.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    nodes = [weakref.ref(t.node) for t in tensors]
    passes: dict[int, list[Any]] = {}  # by backward pass: what it is, how many come, what came

    def hook(index: int) -> Callable[[Tensor], None]:
        def arrived(gradient: Tensor) -> None:
            walk = autodiff.running()
            assert walk is not None  # hooks run inside a pass
            with lock:
                state = passes.get(id(walk))
                if state is None or state[0] is not walk:
                    passes.clear()  # of passes that failed on the way
                    count = sum(n is not None and walk.reaches(n) for n in (ref() for ref in nodes))
                    state = passes[id(walk)] = [walk, count, [None] * len(tensors)]
                    first = True
                else:
                    first = False
                state[1] -= 1
                state[2][index] = gradient
                done = state[1] == 0
                if done:
                    del passes[id(walk)]
            if mode == "any" and first:
                fn(gradient)
            elif mode == "all" and done:
                fn(state[2])

        return arrived

    return _Handle([t.register_hook(hook(i)) for i, t in enumerate(tensors)])


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Says that a tensor was written by means that cupola cannot see
    (torch.autograd.graph.increment_version).
    """
    for t in [tensor] if isinstance(tensor, Tensor) else tensor:
        t._count()


__all__ = [
    "Node",
    "disable_saved_tensors_hooks",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]
