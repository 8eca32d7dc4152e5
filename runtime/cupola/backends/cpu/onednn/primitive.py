"""oneDNN objects as Python objects: memory descriptors and primitives, freed with their owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from ctypes import byref, c_char_p, c_void_p

import ml_dtypes
import numpy as np

from cupola.backends.cpu.onednn.library import Dims, ExecArg, Handle, Library, OneDNNError

# Values of oneDNN 3's enumerations (dnnl_types.h; stable through major version 3).
FORWARD_TRAINING, FORWARD_INFERENCE = 64, 96
CONVOLUTION_DIRECT = 1
FORMAT_ANY = 1
QUERY_IMPLEMENTATION, QUERY_ARGUMENT = 8, 255

SRC, DST, WEIGHTS, BIAS, SCRATCHPAD = 1, 17, 33, 41, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS = 129, 145, 161

F16, BF16, F32 = 1, 2, 3
DATA_TYPES = {
    np.dtype(np.float16): F16,
    np.dtype(ml_dtypes.bfloat16): BF16,
    np.dtype(np.float32): F32,
}


class Descriptor:
    """A memory descriptor: shape, data type and layout; `size` in bytes."""

    __slots__ = ("handle", "library", "size")

    def __init__(self, library: Library, handle: Handle) -> None:
        self.library = library
        self.handle = handle
        self.size = library.memory_desc_get_size(handle)

    @classmethod
    def strided(
        cls, library: Library, shape: Sequence[int], strides: Sequence[int], data_type: int
    ) -> Descriptor:
        """A plain layout; strides in elements, positive."""
        create = "memory_desc_create_with_strides"
        args = (len(shape), Dims(*shape), data_type, Dims(*strides))
        return cls(library, Handle(library, "memory_desc", create, *args))

    @classmethod
    def any(cls, library: Library, shape: Sequence[int], data_type: int) -> Descriptor:
        """A layout that the primitive may choose."""
        create = "memory_desc_create_with_tag"
        args = (len(shape), Dims(*shape), data_type, FORMAT_ANY)
        return cls(library, Handle(library, "memory_desc", create, *args))

    @property
    def _as_parameter_(self) -> Handle:
        return self.handle

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Descriptor):
            return NotImplemented
        return bool(self.library.memory_desc_equal(self, other))

    __hash__ = None  # type: ignore[assignment]


class _Binding:
    """One set of memory objects and the argument array over them.

    In use by one execution at a time.
    """

    __slots__ = ("arguments", "memories", "owners", "pointers")

    def __init__(self, primitive: Primitive) -> None:
        library = primitive.library
        self.owners = [
            Handle(library, "memory", "memory_create", d, library.engine, None)
            for d in primitive.descriptors.values()
        ]
        self.memories = [owner._as_parameter_ for owner in self.owners]
        self.pointers = [0] * len(self.owners)
        self.arguments = (ExecArg * len(self.owners))(
            *(
                ExecArg(number, memory.value)
                for number, memory in zip(primitive.descriptors, self.memories, strict=True)
            )
        )


class Primitive:
    """A compiled primitive and the layout of each argument, in the order of the pointers passed.

    `constants` are arguments that come with the primitive: number -> (layout, array).
    """

    def __init__(
        self,
        library: Library,
        arguments: Sequence[int],
        create: str,
        *args: object,
        constants: Mapping[int, tuple[Descriptor, np.ndarray]] | None = None,
    ) -> None:
        self.library = library
        self.constants = dict(constants or {})
        description = Handle(library, "primitive_desc", f"{create}_primitive_desc_create", *args)
        name = c_char_p()
        library.check("primitive_desc_query", description, QUERY_IMPLEMENTATION, 0, byref(name))
        self.implementation = (name.value or b"").decode()
        self._description: Handle | None = description
        self._handle: Handle | None = None
        self.descriptors: dict[int, Descriptor] = {}
        for number in arguments:
            self.descriptors[number] = self._layout(description, number)
        for number, (descriptor, _) in self.constants.items():
            self.descriptors[number] = descriptor
        self.descriptors[SCRATCHPAD] = self._layout(description, SCRATCHPAD)
        self.scratch = self.descriptors[SCRATCHPAD].size
        self._idle: deque[_Binding] = deque()
        self._execute = library.primitive_execute
        self._set_pointer = library.memory_set_data_handle

    def _layout(self, description: Handle, number: int) -> Descriptor:
        pointer = self.library.primitive_desc_query_md(description, QUERY_ARGUMENT, number)
        clone = Handle(self.library, "memory_desc", "memory_desc_clone", c_void_p(pointer))
        return Descriptor(self.library, clone)

    @property
    def description(self) -> Handle:
        """The primitive descriptor, a hint for the backward ones; until `compile`."""
        assert self._description is not None
        return self._description

    @property
    def reference(self) -> bool:
        """Whether only a slow implementation was found: plain loops, or im2col and a GEMM."""
        return "ref" in self.implementation or "gemm" in self.implementation

    def compile(self) -> Primitive:
        """Generate the code (some ms); the description is no longer needed after that."""
        if self._handle is None:
            self._handle = Handle(self.library, "primitive", "primitive_create", self.description)
            self._description = None
        return self

    def execute(self, stream: Handle, pointers: Sequence[int]) -> None:
        """Run on the addresses of `descriptors`, the last being the scratchpad's (0 if none)."""
        try:
            binding = self._idle.pop()
        except IndexError:
            binding = _Binding(self)
        status = 0
        known = binding.pointers
        for index, pointer in enumerate(pointers):
            if pointer != known[index]:
                status |= self._set_pointer(binding.memories[index], pointer)
                known[index] = pointer
        arguments = binding.arguments
        status |= self._execute(self._handle, stream, len(arguments), arguments)
        self._idle.append(binding)
        if status:
            raise OneDNNError(f"executing {self.implementation}", status)
