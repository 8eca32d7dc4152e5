"""Profiles as they were made before torch.profiler (torch.autograd.profiler)."""

from __future__ import annotations

from typing import Any

from cupola.profiler import Averages, record_function
from cupola.profiler import profile as _profile
from cupola.profiler.events import Event


class profile(_profile):
    """Records what runs inside (torch.autograd.profiler.profile); prints as its table.

    Args:
        enabled: False records nothing.
        use_cuda, use_device, use_cpu, record_shapes, with_flops, with_modules, use_kineto: as in
            PyTorch; the work on all devices is recorded, with its shapes.
        profile_memory: notes the memory in use after each kernel.
        with_stack: finds the Python lines.
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = True,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(profile_memory=profile_memory, with_stack=with_stack)
        self.enabled = enabled
        self._given = {
            "enabled": enabled, "profile_memory": profile_memory, "with_stack": with_stack,
        }  # fmt: skip

    def start(self) -> None:
        if self.enabled:
            super().start()

    @property
    def function_events(self) -> list[Event]:
        """Everything that was recorded, in order."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of work on the CPU."""
        return self.total_average().self_cpu_time_total

    def total_average(self) -> Any:
        """Everything as one."""
        return self.key_averages().total_average()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **kwargs: Any) -> str:
        """The table of the averages by name."""
        found: Averages = self.key_averages()
        return found.table(sort_by, row_limit, **kwargs)

    def __str__(self) -> str:
        return self.table()

    __repr__ = __str__


__all__ = ["profile", "record_function"]
