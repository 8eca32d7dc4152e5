"""A primitive and the reorders that its chosen layouts ask for, as one call on addresses."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from cupola.backends.cpu.onednn.attributes import Attributes
from cupola.backends.cpu.onednn.library import Library
from cupola.backends.cpu.onednn.primitive import DST, SRC, Descriptor, Primitive
from cupola.backends.cpu.onednn.workspace import Buffer, address, aligned, thread_state
from cupola.ir import forks

T = TypeVar("T")


# In place of an argument number: the input is copied into the result before the primitive runs.
PRELOAD = 0


def reorder(library: Library, source: Descriptor, target: Descriptor) -> Primitive:
    """The primitive that copies one layout or data type into another."""
    engine = library.engine
    args = (source, engine, target, engine, Attributes(library))
    return Primitive(library, (SRC, DST), "reorder", *args).compile()


class Operation:
    """One operator on given layouts.

    `inputs` and `output` pair each argument number with the caller's layout; where the primitive
    chose another, a reorder goes before or after. An input numbered PRELOAD is what a "sum" post-op
    adds to.
    """

    def __init__(
        self,
        library: Library,
        primitive: Primitive,
        inputs: Sequence[tuple[int, Descriptor]],
        output: tuple[int, Descriptor],
    ) -> None:
        self.library = library
        self.primitive = primitive.compile()
        layouts = primitive.descriptors
        position = {number: i for i, number in enumerate(layouts)}
        self._pointers = [0] * len(position)
        for number, (_, array) in primitive.constants.items():
            self._pointers[position[number]] = address(array)
        self._output_at = position[output[0]]
        result = layouts[output[0]]
        self._after = None if output[1] == result else reorder(library, result, output[1])

        self._targets = [layouts[number] if number != PRELOAD else result for number, _ in inputs]
        self._positions = [position.get(number, -1) for number, _ in inputs]
        self._before: list[Primitive | None] = []
        for (number, caller), target in zip(inputs, self._targets, strict=True):
            same = caller == target and number != PRELOAD
            self._before.append(None if same else reorder(library, caller, target))
        # What already lies in the result needs no copy.
        self._in_place = self._after is None and any(
            number == PRELOAD and caller == result for number, caller in inputs
        )

        steps = [primitive, *filter(None, self._before), *filter(None, (self._after,))]
        end = aligned(max(step.scratch for step in steps))
        self._offsets = []
        for at, step, target in zip(self._positions, self._before, self._targets, strict=True):
            self._offsets.append(end)
            end += aligned(target.size) if step and at >= 0 else 0
        self._result_at = end
        self._size = end + (aligned(result.size) if self._after else 0)

    @property
    def copies(self) -> int:
        """How many reorders a call makes beside the primitive."""
        return sum(step is not None for step in (*self._before, self._after))

    def packed_layout(self, index: int) -> Descriptor | None:
        """The layout into which input `index` is reordered, None where it is used as it comes."""
        return self._targets[index] if self._before[index] else None

    def pack(self, index: int, pointer: int) -> Buffer:
        """Input `index` in the primitive's layout, for `run(packed=...)`."""
        step = self._before[index]
        assert step is not None
        buffer = Buffer(self._targets[index].size)
        state = thread_state(self.library)
        step.execute(state.stream, (pointer, buffer.pointer, state.reserve(step.scratch)))
        return buffer

    def run(
        self, inputs: Sequence[int], output: int, packed: tuple[int, int] | None = None
    ) -> None:
        """Execute on addresses; `packed` is (input index, address of what `pack` gave)."""
        state = thread_state(self.library)
        base = state.reserve(self._size)
        stream = state.stream
        result = output if self._after is None else base + self._result_at
        pointers = self._pointers.copy()
        pointers[-1] = base  # scratchpad
        for index, pointer in enumerate(inputs):
            step, at = self._before[index], self._positions[index]
            if packed is not None and packed[0] == index:
                pointer = packed[1]
            elif at < 0:
                if not (self._in_place and pointer == output):
                    step.execute(stream, (pointer, result, base))  # type: ignore[union-attr]
                continue
            elif step is not None:
                target = base + self._offsets[index]
                step.execute(stream, (pointer, target, base))
                pointer = target
            pointers[at] = pointer
        pointers[self._output_at] = result
        self.primitive.execute(stream, pointers)
        if self._after is not None:
            self._after.execute(stream, (result, output, base))
        state.trim()


class Cache:
    """A bounded mapping, least recently used out first; safe to use from many threads."""

    def __init__(self, capacity: int, weigh: Callable[[Any], int] = lambda value: 1) -> None:
        self.capacity = capacity
        self._weigh = weigh
        self._weight = 0
        self._lock = forks.hold(threading.Lock())
        self._entries: OrderedDict[Any, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """The value, now the most recently used; None where there is none."""
        # Without the lock, as each step is one of the dictionary's own; another thread may drop the
        # entry between them.
        value = self._entries.get(key)
        if value is not None:
            try:
                self._entries.move_to_end(key)
            except KeyError:
                pass
        return value

    def put(self, key: Hashable, value: T) -> T:
        """Store the value, dropping the oldest ones beyond the capacity. Gives the value."""
        dropped = []  # their destructors run after the lock has gone
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._weight -= self._weigh(old)
                dropped.append(old)
            self._entries[key] = value
            self._weight += self._weigh(value)
            while self._weight > self.capacity and len(self._entries) > 1:
                entry = self._entries.popitem(last=False)[1]
                self._weight -= self._weigh(entry)
                dropped.append(entry)
        return value

    def discard(self, condition: Callable[[tuple[Hashable, ...]], bool]) -> None:
        """Drop every entry whose key, a tuple, meets the condition."""
        dropped = []
        with self._lock:
            for key in [key for key in self._entries if condition(key)]:
                value = self._entries.pop(key)
                self._weight -= self._weigh(value)
                dropped.append(value)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            entries, self._entries = self._entries, OrderedDict()
            self._weight = 0
        entries.clear()
