"""oneDNN objects as Python objects: memory descriptors, attributes, primitives; every handle is freed with its owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_void_p

import ml_dtypes
import numpy as np

from cupola.backends.cpu.onednn.library import Dims, ExecArg, Handle, Library, OneDNNError

# Values of oneDNN 3's enumerations (dnnl_types.h; stable through major version 3).
FORWARD_TRAINING, FORWARD_INFERENCE = 64, 96
CONVOLUTION_DIRECT = 1
BINARY_ADD = 0x1FFF0
SCRATCHPAD_USER = 1
FORMAT_ANY = 1
QUERY_IMPLEMENTATION, QUERY_ARGUMENT = 8, 255

SRC, SRC_1, DST, WEIGHTS, BIAS, SCRATCHPAD = 1, 2, 17, 33, 41, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS = 129, 145, 161
POST_OP = 32768  # argument of the i-th post-op: POST_OP * (i + 1) | SRC_1

F16, BF16, F32 = 1, 2, 3
DATA_TYPES = {
    np.dtype(np.float16): F16,
    np.dtype(ml_dtypes.bfloat16): BF16,
    np.dtype(np.float32): F32,
}

# Epilogue name -> (oneDNN algorithm, alpha, beta).
ELTWISE: dict[str, tuple[int, float, float]] = {
    "relu": (0x20, 0.0, 0.0),
    "leaky_relu": (0x20, 0.01, 0.0),
    "tanh": (0x21, 0.0, 0.0),
    "elu": (0x22, 1.0, 0.0),
    "sigmoid": (0x29, 0.0, 0.0),
    "gelu_tanh": (0x2B, 0.0, 0.0),
    "silu": (0x2C, 1.0, 0.0),
    "relu6": (0x2E, 0.0, 6.0),
    "gelu": (0x31, 0.0, 0.0),
    "hardswish": (0x34, 1 / 6, 0.5),
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


class Attributes:
    """Primitive attributes: a scratchpad that we provide, and post-ops in the order in which they were added."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.handle = Handle(library, "primitive_attr", "primitive_attr_create")
        self._ops = Handle(library, "post_ops", "post_ops_create")
        self.count = 0
        library.check("primitive_attr_set_scratchpad_mode", self.handle, SCRATCHPAD_USER)

    @property
    def _as_parameter_(self) -> Handle:
        return self.handle

    def _append(self, kind: str, *args: object) -> int:
        self.library.check(f"post_ops_append_{kind}", self._ops, *args)
        self.library.check("primitive_attr_set_post_ops", self.handle, self._ops)
        self.count += 1
        return POST_OP * self.count | SRC_1

    def sum(self) -> None:
        """result += what the destination held before."""
        self._append("sum", 1.0, 0, 0)

    def add(self, operand: Descriptor) -> int:
        """result += operand; gives the argument number under which the operand is passed."""
        return self._append("binary", BINARY_ADD, operand)

    def eltwise(self, activation: str | tuple[str, float]) -> None:
        """result = activation(result). Raises ValueError for an unknown name."""
        name, *parameters = (activation,) if isinstance(activation, str) else activation
        if name not in ELTWISE:
            raise ValueError(f"unknown activation {name!r}: use one of {', '.join(ELTWISE)}")
        algorithm, alpha, beta = ELTWISE[name]
        self._append("eltwise", algorithm, *(parameters or (alpha,)), beta)


class _Binding:
    """One set of memory objects and the argument array over them: in use by one execution at a time."""

    __slots__ = ("arguments", "memories", "owners")

    def __init__(self, primitive: Primitive) -> None:
        library = primitive.library
        self.owners = [
            Handle(library, "memory", "memory_create", d, library.engine, None)
            for d in primitive.descriptors.values()
        ]
        self.memories = [owner._as_parameter_ for owner in self.owners]
        self.arguments = (ExecArg * len(self.owners))(
            *(
                ExecArg(number, memory.value)
                for number, memory in zip(primitive.descriptors, self.memories, strict=True)
            )
        )


class Primitive:
    """A compiled primitive. `arguments` lists its argument numbers, in the order in which pointers are passed."""

    def __init__(
        self, library: Library, arguments: Sequence[int], create: str, *args: object
    ) -> None:
        self.library = library
        description = Handle(library, "primitive_desc", f"{create}_primitive_desc_create", *args)
        name = c_char_p()
        library.check("primitive_desc_query", description, QUERY_IMPLEMENTATION, 0, byref(name))
        self.implementation = (name.value or b"").decode()
        self._description: Handle | None = description
        self._handle: Handle | None = None
        self.descriptors: dict[int, Descriptor] = {}
        for number in (*arguments, SCRATCHPAD):
            pointer = library.primitive_desc_query_md(description, QUERY_ARGUMENT, number)
            clone = Handle(library, "memory_desc", "memory_desc_clone", c_void_p(pointer))
            self.descriptors[number] = Descriptor(library, clone)
        self.scratch = self.descriptors[SCRATCHPAD].size
        self._idle: deque[_Binding] = deque()
        self._execute = library.primitive_execute
        self._set_pointer = library.memory_set_data_handle

    @property
    def description(self) -> Handle:
        """The primitive descriptor, a hint for the backward ones; until `compile`."""
        assert self._description is not None
        return self._description

    @property
    def reference(self) -> bool:
        """Whether only a slow implementation (plain loops, or im2col and a generic GEMM) was found."""
        return "ref" in self.implementation or "gemm" in self.implementation

    def compile(self) -> Primitive:
        """Generate the code (some ms); the description is no longer needed after that."""
        if self._handle is None:
            self._handle = Handle(self.library, "primitive", "primitive_create", self.description)
            self._description = None
        return self

    def execute(self, stream: Handle, pointers: Sequence[int]) -> None:
        """Run on the pointers, one for each of `arguments` and, last, one for the scratchpad (0 if none)."""
        try:
            binding = self._idle.pop()
        except IndexError:
            binding = _Binding(self)
        set_pointer = self._set_pointer
        status = 0
        for memory, pointer in zip(binding.memories, pointers, strict=True):
            status |= set_pointer(memory, pointer)
        arguments = binding.arguments
        assert self._handle is not None
        status |= self._execute(self._handle, stream, len(arguments), arguments)
        self._idle.append(binding)
        if status:
            raise OneDNNError(f"executing {self.implementation}", status)


def reorder(library: Library, source: Descriptor, target: Descriptor) -> Primitive:
    """The primitive that copies one layout or data type into another."""
    attributes = Attributes(library)
    engine = library.engine
    return Primitive(
        library,
        (SRC, DST),
        "reorder",
        *(source, engine, target, engine, attributes),
    ).compile()
