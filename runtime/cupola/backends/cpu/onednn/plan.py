"""What `OneDNNOps` keeps for each distinct call.

The operation, and how the call's arrays meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from cupola.backends.cpu.fallback import activate
from cupola.backends.cpu.heavy import Activation, new_activations
from cupola.backends.cpu.onednn.library import Library
from cupola.backends.cpu.onednn.operation import Cache, Operation
from cupola.backends.cpu.onednn.primitive import Descriptor
from cupola.backends.cpu.onednn.workspace import Buffer, Threads, address


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation, which inputs to copy first (no description of their strides), and the result.

    `weight` is (input index, layout number) where that input is packed, and may be kept packed;
    `activation` what the operation leaves to be done on its result.
    """

    operation: Operation
    copies: tuple[bool, ...] | None
    shape: tuple[int, ...]
    dtype: np.dtype
    channels_last: bool
    weight: tuple[int, int] | None
    activation: Activation


class Store:
    """The cache of plans and of packed weights. A plan of None marks a case for the fallback."""

    def __init__(self, library: Library, plans: int, packed_bytes: int) -> None:
        self.library = library
        self._plans = Cache(plans)
        self._packed = Cache(packed_bytes, lambda buffer: buffer.size)
        self._layouts = Cache(plans)
        self._next_layout = 0

    def plan(self, key: Hashable, build: Callable[[], Plan | None]) -> Plan | None:
        """The plan for a call, built on its first occurrence."""
        entry: tuple[Plan | None] | None = self._plans.get(key)
        if entry is None:
            entry = self._plans.put(key, (build(),))
        return entry[0]

    def layout_number(self, source: Hashable, packed: Descriptor) -> int:
        """A number that plans share when they pack arrays of one layout in the same way."""
        known: tuple[tuple[Descriptor, int], ...] = self._layouts.get(source) or ()
        for descriptor, number in known:
            if descriptor == packed:
                return number
        self._next_layout += 1
        self._layouts.put(source, (*known, (packed, self._next_layout)))
        return self._next_layout

    def run(
        self,
        plan: Plan,
        inputs: Sequence[np.ndarray],
        out: np.ndarray | None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        """Execute; gives `out`, or a fresh array in the plan's format."""
        operation = plan.operation
        # `arrays` keeps the copies alive until the primitive has run.
        arrays = inputs
        if plan.copies is not None:
            arrays = [
                np.ascontiguousarray(array) if copy else array
                for array, copy in zip(inputs, plan.copies)
            ]
        result = (
            out if out is not None else new_activations(plan.shape, plan.dtype, plan.channels_last)
        )
        packed: tuple[int, int] | None = None
        if weight_key is not None and plan.weight is not None:
            index, number = plan.weight
            buffer: Buffer | None = self._packed.get((weight_key, number))
            if buffer is None:
                buffer = self._packed.put(
                    (weight_key, number), operation.pack(index, address(arrays[index]))
                )
            packed = (index, buffer.pointer)
        operation.run([address(array) for array in arrays], address(result), packed)
        if plan.activation is not None:
            activate(result, plan.activation)
        return result

    def forget(self, weight_key: Hashable) -> None:
        """Drop what is packed for the key."""
        self._packed.discard(lambda key: key[0] == weight_key)

    def clear(self) -> None:
        """Drop plans, packed weights and, at their next use, every thread's buffers."""
        self._plans.clear()
        self._packed.clear()
        self._layouts.clear()
        Threads.generation += 1
