"""``DistributedDataParallel``: gradients averaged over a group after each backward pass."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

from cupola.distributed import buckets, parallel, world
from cupola.distributed.buckets import BUCKET, Entry
from cupola.ir.mode import mode
from cupola.nn.modules.module import Module
from cupola.tensor import Tensor, no_grad
from cupola.tensor import backward as passes

# In the order in which they were made, which is the same at every rank.
_wrappers: list[weakref.ref[DistributedDataParallel]] = []


class DistributedDataParallel(Module):
    """Trains ``module`` with equal parameters at every rank of a group.

    Parameters and buffers are taken over from the group's first rank when it is made, buffers again
    before each training step. After a backward pass the gradients of parameters that it reached, at
    this rank or another, are averaged. The arguments are PyTorch's; unused parameters are always
    found, and where the gradients lie in memory is not the caller's to choose.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter "
                "that requires a gradient."
            )
        self.module = module
        self.device_ids = device_ids
        self.output_device = output_device
        self.dim = dim
        self.broadcast_buffers = broadcast_buffers
        self.find_unused_parameters = find_unused_parameters
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.static_graph = static_graph
        self.require_backward_grad_sync = True
        self._group = process_group
        self._sync_next = True
        self._bucket = int(bucket_cap_mb * (1 << 20)) if bucket_cap_mb else BUCKET
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        self._shared = [
            p for n, p in module.named_parameters() if p.requires_grad and n not in ignored
        ]
        self._buffers_shared = [b for n, b in module.named_buffers() if n not in ignored]
        state = world.world()
        state.automatic = False
        if init_sync:
            whole = [p for n, p in module.named_parameters() if n not in ignored]
            parallel.take_over([*whole, *self._buffers_shared], self._members())
        _wrappers.append(weakref.ref(self))
        if _after_backward not in passes.finished:
            passes.finished.append(_after_backward)

    def _members(self) -> Any:
        return world.current(self._group)

    @property
    def process_group(self) -> Any:
        return self._group or world.world()

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if mode.grad:
            # Not by assignment: a captured call ends where a module's attributes change.
            self.__dict__["_sync_next"] = self.require_backward_grad_sync
            group = self._members()
            if self.training and self.broadcast_buffers and self._sync_next and group.size > 1:
                floats = [b for b in self._buffers_shared if b.is_floating_point()]
                with no_grad():
                    buckets.broadcast(floats, group)
        return self.module(*inputs, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Steps in the block leave gradients as they are; the next one outside averages their
        sum.
        """
        saved, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = saved

    @contextlib.contextmanager
    def join(
        self,
        divide_by_initial_world_size: bool = True,
        enable: bool = True,
        throw_on_early_termination: bool = False,
    ) -> Iterator[None]:
        """Where ranks may have different numbers of batches: not supported unless disabled."""
        if enable and self._members().size > 1:
            raise NotImplementedError(
                "join: give every rank the same number of batches (DistributedSampler does)"
            )
        yield

    def register_comm_hook(self, state: Any, hook: Any) -> None:
        """Not supported: gradients are averaged as they are."""
        raise NotImplementedError("register_comm_hook: gradients are averaged as they are here")

    def _average(self, fresh: set[int]) -> None:
        group = self._members()
        if group.size == 1:
            return
        entries: list[Entry] = [parallel.gradient_of(p, id(p) in fresh) for p in self._shared]
        with no_grad():
            buckets.average(entries, group, self._bucket)


def _after_backward(leaves: list[Tensor]) -> None:
    fresh = {id(p) for p in leaves}
    for reference in _wrappers:
        wrapper = reference()
        if wrapper is None or not wrapper._sync_next:
            continue
        if any(id(p) in fresh for p in wrapper._shared):
            wrapper._average(fresh)
