"""Loads and stores: affine and indirect addresses, guards, vectors."""

from __future__ import annotations

from collections.abc import Callable

from cupola.codegen.form import Access, Affine, Kernel, meta_layout
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.convert import memory_type, to_memory, to_register
from cupola.codegen.llvm.types import BITS, REGISTER, suffix, vector
from cupola.dtypes import dtype


class Addresses:
    """Emits memory accesses of one kernel at the current place in its loop nest.

    Attributes:
        loops: the scalar loop counters that exist at the moment, by loop number.
        vector_loop: number of the loop that runs over lanes, -1 when there is none around the
            current code.
        width: lanes of the code being emitted; the vector loop's counter in ``loops`` is that of
            lane 0.
    """

    def __init__(self, b: Builder, kernel: Kernel) -> None:
        self.b = b
        self.kernel = kernel
        self.layout = meta_layout(kernel)
        self.loops: dict[int, Val] = {}
        self.vector_loop = -1
        self.width = 1
        self.level = 1  # of the innermost loop around the current code, where stores go

    def meta(self, position: int) -> Val:
        b = self.b
        p = b.put(f"getelementptr i64, ptr %meta, i64 {position}", "ptr", 1, 0)
        return b.put(f"load i64, ptr {p.name}, align 8", "i64", 1, 0)

    def _stride(self, stride: int | None, position: int) -> Val:
        return self.meta(position) if stride is None else self.b.const("i64", stride)

    def affine(self, affine: Affine, const: int, positions: tuple[int, ...]) -> tuple[Val, Val]:
        """The scalar part of an affine form and its stride along the lanes."""
        b = self.b
        total, step = self.meta(const), b.const("i64", 0)
        for loop, (stride, position) in enumerate(zip(affine.strides, positions)):
            if loop == self.vector_loop:
                step = self._stride(stride, position)
            elif loop in self.loops and stride != 0:
                total = b.add(total, b.mul(self.loops[loop], self._stride(stride, position)))
        return total, step

    def lane_index(self) -> Val:
        return self.loops[self.vector_loop]

    def loop_value(self, loop: int) -> Val:
        """The loop's counter as a value, one a lane for the vector loop."""
        counter = self.loops[loop]
        if loop != self.vector_loop or self.width == 1:
            return counter
        return self.b.binary("add", counter, self.b.iota("i64", self.width))

    def load(self, number: int, indices: list[Val]) -> Val:
        """A load in register form. See ``Access`` for what guards and indirect values mean."""
        b, access = self.b, self.kernel.accesses[number]
        d = self.kernel.buffers[access.buffer]
        memory = memory_type(b, d)
        place = self.layout.accesses[number]
        offset, step = self.affine(access.address, place.const, place.strides)
        across: list[tuple[Val, Val]] = []
        for index, position in zip(indices, place.indirect):
            if index.lanes == 1:
                offset = b.add(offset, b.mul(index, self.meta(position)))
            else:
                across.append((index, self.meta(position)))
        condition, mask = self._guards(access, number)
        fill = b.const(REGISTER[d.name], access.fill)
        uniform = not across and mask is None
        if self.width == 1 or (uniform and step.name == "0"):
            if step.name != "0":
                offset = b.add(offset, b.mul(self.lane_index(), step))
            value = to_register(b, self._one(access.buffer, memory, offset, condition), d)
            return value if condition is None else b.select(condition, value, fill)
        inside = self._vector_load(access.buffer, d, offset, step, across)
        if condition is None and mask is None:
            return inside(None, None)

        def partly() -> Val:
            value = inside(condition, mask)
            for present in (condition, mask):
                if present is not None:
                    value = b.select(present, value, fill)
            return value

        at_once = not across and step.name == "1"
        if mask is None or (at_once and BITS[memory] // 8 in b.target.masked_bytes):
            return partly()
        # Lane by lane only at the edges: elsewhere all elements are present.
        whole = b.all_lanes(mask)
        if condition is not None:
            whole = b.binary("and", whole, condition)
        return b.either(whole, self.level, lambda: inside(None, None), partly)

    def _vector_load(
        self, buffer: int, d: dtype, offset: Val, step: Val, across: list[tuple[Val, Val]]
    ) -> Callable[[Val | None, Val | None], Val]:
        """The function that loads one vector for a given condition and mask, in register form."""
        memory = memory_type(self.b, d)

        def emit(condition: Val | None, mask: Val | None) -> Val:
            if not across and step.name == "1":
                raw = self._contiguous(buffer, memory, offset, condition, mask)
            else:
                raw = self._by_lane(buffer, memory, offset, step, across, condition, mask)
            return to_register(self.b, raw, d)

        return emit

    def _guards(self, access: Access, number: int) -> tuple[Val | None, Val | None]:
        """The condition common to all lanes, and the mask that differs between them."""
        b = self.b
        condition: Val | None = None
        mask: Val | None = None
        places = self.layout.accesses[number].guards
        for guard, (const, bound, strides) in zip(access.guards, places):
            value, step = self.affine(guard, const, strides)
            limit = self.meta(bound)
            if step.name != "0":
                value = b.add(value, b.mul(self.lane_index(), step))
                if self.width > 1:
                    lanes = b.iota("i64", self.width)
                    value = b.binary("add", value, b.mul(lanes, step))
            # Unsigned: a negative guard is a huge number.
            present = b.compare("icmp ult", value, limit)
            if present.lanes == 1:
                condition = present if condition is None else b.binary("and", condition, present)
            else:
                mask = present if mask is None else b.binary("and", mask, present)
        return condition, mask

    def _pointer(self, buffer: int, memory: str, offset: Val) -> Val:
        base = f"%b{buffer}"
        if offset.name == "0":
            return Val(base, "ptr")
        text = f"getelementptr {memory}, ptr {base}, i64 {offset.name}"
        return self.b.put(text, "ptr", 1, offset.level)

    def _one(self, buffer: int, memory: str, offset: Val, condition: Val | None) -> Val:
        b = self.b
        p = self._pointer(buffer, memory, offset)
        if condition is not None:
            p = b.select(condition, p, Val("%zeros", "ptr"))
        text = f"load {memory}, ptr {p.name}, align {BITS[memory] // 8}"
        return b.put(text, memory, 1, p.level, once=False)

    def _lane_pointer(self, buffer: int, memory: str, offset: Val) -> Val:
        """Of lane 0: the loop counter is added last, so that it folds into the addressing mode."""
        p, i = self._pointer(buffer, memory, offset), self.lane_index()
        text = f"getelementptr {memory}, ptr {p.name}, i64 {i.name}"
        return self.b.put(text, "ptr", 1, i.level)

    def _contiguous(
        self, buffer: int, memory: str, offset: Val, condition: Val | None, mask: Val | None
    ) -> Val:
        b, size = self.b, BITS[memory] // 8
        wide = vector(memory, self.width)
        if mask is not None and size not in b.target.masked_bytes:
            one = b.const("i64", 1)
            return self._by_lane(buffer, memory, offset, one, [], condition, mask)
        p = self._lane_pointer(buffer, memory, offset)
        if condition is not None:
            p = b.select(condition, p, Val("%zeros", "ptr"))
        if mask is None:
            return b.put(
                f"load {wide}, ptr {p.name}, align {size}", memory, self.width, p.level, once=False
            )
        name = f"@llvm.masked.load.{suffix(memory, self.width)}.p0"
        bits = vector("i1", self.width)
        b.declare(f"declare {wide} {name}(ptr, i32, {bits}, {wide})")
        passed = f"ptr {p.name}, i32 {size}, {bits} {mask.name}, {wide} zeroinitializer"
        text = f"call {wide} {name}({passed})"
        return b.put(text, memory, self.width, max(p.level, mask.level), once=False)

    def _by_lane(
        self, buffer: int, memory: str, offset: Val, step: Val, across: list[tuple[Val, Val]],
        condition: Val | None, mask: Val | None,
    ) -> Val:  # fmt: skip
        b, i = self.b, self.lane_index()
        offset = b.add(offset, b.mul(i, step))
        result = Val("poison", memory, self.width, max(offset.level, i.level))
        for k in range(self.width):
            at = b.add(offset, b.mul(b.const("i64", k), step))
            for index, stride in across:
                at = b.add(at, b.mul(b.lane(index, k), stride))
            present = condition
            if mask is not None:
                bit = b.lane(mask, k)
                present = bit if present is None else b.binary("and", present, bit)
            result = b.insert(result, self._one(buffer, memory, at, present), k)
        return result

    def store(self, number: int, value: Val) -> None:
        b, access = self.b, self.kernel.accesses[number]
        d = self.kernel.buffers[access.buffer]
        raw = to_memory(b, value, d)
        place = self.layout.accesses[number]
        offset, step = self.affine(access.address, place.const, place.strides)
        memory = memory_type(b, d)
        size = BITS[memory] // 8
        if self.vector_loop < 0:
            p = self._pointer(access.buffer, memory, offset)
            level = max(p.level, raw.level, self.level)
            b.line(level, f"store {memory} {raw.name}, ptr {p.name}, align {size}")
            return
        level = self.level
        i = self.lane_index()
        if step.name == "1" and not access.indirect:
            p = self._lane_pointer(access.buffer, memory, offset)
            wide = vector(memory, self.width)
            text = f"store {wide} {b.spread(raw, self.width)}, ptr {p.name}, align {size}"
            b.line(level, text)
            return
        offset = b.add(offset, b.mul(i, step))
        for k in range(self.width):
            at = b.add(offset, b.mul(b.const("i64", k), step))
            p = self._pointer(access.buffer, memory, at)
            b.line(level, f"store {memory} {b.lane(raw, k).name}, ptr {p.name}, align {size}")
