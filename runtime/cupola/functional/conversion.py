"""Conversions: dtypes, devices, NumPy, Python numbers; Python's operators; in-place fills."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.functional import comparison as cp
from cupola.functional import pointwise as pw
from cupola.functional._convert import cast_node, expand_node, result_type
from cupola.functional._register import operator, settled, write_into
from cupola.functional.linalg import matmul
from cupola.functional.strides import order_of
from cupola.ir import source
from cupola.ir.device import CPU, resolve
from cupola.ir.device import device as Device
from cupola.ir.mode import mode
from cupola.ops import movement as mv
from cupola.tensor import Tensor, as_tensor, protocol, wrap
from cupola.tensor.core import _wrap as wrap_one_dim
from cupola.tensor.geometry import check_write
from cupola.tensor.layout import preserve_format


def _to_device(x: Tensor, place: Device) -> Tensor:
    if place is x.device:
        return x
    node = x.node
    if place.type == "meta":
        return wrap(source.const(0, node.shape, node.dtype, place))
    # A missing device is reported here, not when the value is observed.
    engine.backend(place.type)
    if node.op is source.CONST:
        return wrap(source.const(node.attrs["value"], node.shape, node.dtype, place))
    return wrap(mv.to_device(node, place))


def _parse_to(args: tuple[Any, ...], kw: dict[str, Any]) -> tuple[Any, DType | None, bool]:
    device, dtype, copy = kw.get("device"), kw.get("dtype"), bool(kw.get("copy", False))
    rest = []
    for a in args:
        if isinstance(a, Tensor):
            device, dtype = a.device, a.dtype
        elif isinstance(a, (DType, type, np.dtype)):
            dtype = a
        elif isinstance(a, (str, Device)) or (isinstance(a, int) and not isinstance(a, bool)):
            device = a
        elif a is not None:
            rest.append(a)
    other = kw.get("other")
    if other is not None:
        device, dtype = other.device, other.dtype
    if len(rest) > 1:
        copy = bool(rest[1])
    return device, dtypes.asked(dtype), copy


def to(self: Tensor, *args: Any, **kw: Any) -> Tensor:
    """Converts dtype and device; returns self if nothing changes and ``copy`` is not set
    (torch.Tensor.to).
    """
    device, dtype, copy = _parse_to(args, kw)
    out = self
    if dtype is not None and dtype is not self.dtype:
        out = wrap(cast_node(out.node, dtype))
    if device is not None:
        out = _to_device(out, resolve(device))
    memory_format = kw.get("memory_format")
    if memory_format not in (None, preserve_format):
        order = order_of(memory_format, out.ndim)
        other = 1 in out._n.shape and out.node.order != order  # strides that say nothing differ
        if other or not out.is_contiguous(memory_format):
            out = out.clone(memory_format=memory_format)
    return out.clone() if copy and out is self else out


def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False, **kw: Any) -> Any:
    """The name of the tensor's type, or the tensor converted to another."""
    if dtype is None:
        prefix = "torch.cuda." if self.is_cuda else "torch."
        return prefix + _TYPE_NAMES.get(self.dtype.name, self.dtype.name) + "Tensor"
    if isinstance(dtype, str):
        name = dtype.rsplit(".", 1)[-1].removesuffix("Tensor")
        found = next((d for d in dtypes.ALL if _TYPE_NAMES.get(d.name) == name), None)
        if found is None:
            raise ValueError(f"invalid type: '{dtype}'")
        return to(self, dtype=found, device="cuda" if ".cuda." in dtype else None)
    if not isinstance(dtype, DType):
        if getattr(dtype, "dtype", None) is None or isinstance(dtype, np.dtype):
            raise ValueError(f"invalid type: {dtype!r}")
        dtype = dtype.dtype
    return to(self, dtype=dtype)


_TYPE_NAMES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}

Tensor.to = to
Tensor.type = _type
Tensor.type_as = lambda self, other: to(self, other)
for _name, _dtype in {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool,
    "chalf": dtypes.complex32,
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}.items():
    setattr(Tensor, _name, lambda self, memory_format=None, _d=_dtype: to(self, dtype=_d))


def _cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor in host memory."""
    return _to_device(self, CPU)


def _cuda(
    self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> Tensor:
    """The tensor on a GPU.

    Raises:
        BackendError: no GPU or no CuPy; the text says what to install.
    """
    return _to_device(self, resolve("cuda" if device is None else device))


Tensor.cpu, Tensor.cuda = _cpu, _cuda
Tensor.pin_memory = lambda self, *a: self
Tensor.share_memory_ = Tensor.pin_memory
Tensor.is_pinned = Tensor.is_shared = lambda self, *a: False


def get_device(self: Tensor) -> int:
    """Number of the GPU that holds the tensor; -1 on the CPU."""
    return -1 if self.is_cpu else (self.device.index or 0)


Tensor.get_device = get_device
Tensor.is_floating_point = lambda self: self.dtype.is_floating_point
Tensor.is_complex = lambda self: self.dtype.is_complex
Tensor.is_signed = lambda self: self.dtype.is_signed
Tensor.is_conj = Tensor.is_neg = Tensor.is_inference = lambda self: False
Tensor.is_same_size = lambda self, other: self._n.shape == other._n.shape
Tensor.data_ptr = lambda self: _pointer(self)
Tensor.to_dense = lambda self, *a, **k: self
Tensor.element_size = lambda self: self.dtype.itemsize


@operator(method=False)
def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor (torch.is_tensor)."""
    return isinstance(obj, Tensor)


@operator(method=False)
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is floating (torch.is_floating_point)."""
    return input.dtype.is_floating_point


@operator(method=False)
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex (torch.is_complex)."""
    return input.dtype.is_complex


@operator
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0 (torch.is_nonzero)."""
    return bool(input)


@operator(name="result_type", method=False)
def public_result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of an operation on two tensors or numbers (torch.result_type)."""
    return result_type(tensor1, tensor2)


def _pointer(x: Tensor) -> int:
    if x._storage is not None and x._storage.external is not None:
        return int(x._storage.external.__array_interface__["data"][0])
    array = engine.array_of(x.node)
    return int(
        array.data.ptr if hasattr(array.data, "ptr") else array.__array_interface__["data"][0]
    )


# --- NumPy and Python


def numpy(self: Tensor, *, force: bool = False) -> Any:
    """The value as a NumPy array that shares memory where it can.

    Raises:
        RuntimeError: the tensor requires a gradient (use ``detach()``) and gradients are recorded.
        TypeError: it lives on a GPU (use ``cpu()``), or NumPy has no such dtype.
    """
    if self.requires_grad and mode.grad and not force:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if self.device.type == "cuda" and not force:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )
    if self.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        raise TypeError(
            f"Got unsupported ScalarType {self.dtype.name.capitalize().replace('Bf', 'BF')}"
        )
    if self._storage is not None and self._storage.external is not None:
        from cupola.tensor.alias import replay_numpy

        return replay_numpy(self._storage.external, self._chain)
    return _array(self)


def _array(self: Tensor) -> Any:
    """The value's own memory: of a constant or an expression, memory made now and kept."""
    node = self.node
    array = engine.to_numpy(node)
    return array


def _dunder_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    """What NumPy asks for: the value, as another dtype or copied if it wants that.

    Raises:
        RuntimeError, TypeError: as ``numpy()``.
        ValueError: ``copy=False``, and the dtype asks for a copy.
    """
    array = numpy(self)
    if dtype is not None and array.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError(
                f"copy=False, and {array.dtype.name} becomes {np.dtype(dtype).name} by a copy only"
            )
        return array.astype(dtype)
    return array.copy() if copy else array


def item(self: Tensor) -> Any:
    """The only element as a Python number.

    Raises:
        RuntimeError: there is not exactly one element.
    """
    if self.numel() != 1:
        raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
    node = self.node
    if node.op is source.CONST:
        return node.attrs["value"]
    value = engine.to_numpy(node).reshape(())[()]
    if self.dtype.category == 2:
        return float(value)
    return value.item()


def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers."""
    array = engine.to_numpy(self.node)
    if self.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        array = array.astype(np.float32)
    return array.tolist()


Tensor.numpy, Tensor.item, Tensor.tolist = numpy, item, tolist
Tensor.__array__ = _dunder_array
Tensor.__array_priority__ = 1000


def _truth(self: Tensor) -> bool:
    if self.numel() != 1:
        if self.numel() == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(item(self))


def _index(self: Tensor) -> int:
    if self.dtype.category == 2 or self.numel() != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(item(self))


Tensor.__bool__, Tensor.__index__ = _truth, _index


def _number(kind: Any) -> Any:
    def convert(self: Tensor) -> Any:
        if self.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return kind(item(self))

    return convert


Tensor.__float__, Tensor.__int__, Tensor.__complex__ = map(_number, (float, int, complex))


def _contains(self: Tensor, element: Any) -> bool:
    if not isinstance(element, Tensor | int | float | complex):
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, "
            f"but you passed in a {type(element)}."
        )
    return bool((self == element).any())


Tensor.__contains__ = _contains


def _format(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and not self.is_meta and type(self) is Tensor:  # not a Parameter
        return format(item(self), spec)
    return object.__format__(self, spec)


Tensor.__format__ = _format

# --- Python's operators


def _operator(name: str, function: Any, reflected: Any = None, inplace: str | None = None) -> None:
    def forward(self: Tensor, other: Any) -> Any:
        try:
            return function(self, other)
        except (TypeError, AttributeError):
            if isinstance(other, np.ndarray):
                return function(self, as_tensor(other))
            if protocol.noticed((other,), {}):
                return getattr(Tensor, f"__{name}__")(self, other)
            if not isinstance(other, (Tensor, int, float, complex, np.generic)):
                return NotImplemented
            raise

    setattr(Tensor, f"__{name}__", forward)
    if reflected is not None:

        def backward(self: Tensor, other: Any) -> Any:
            if not isinstance(self, Tensor):
                raise TypeError(f"'__r{name}__' requires a Tensor, got {type(self).__name__}")
            # PyTorch divides an array by a tensor, and refuses the other operators.
            return reflected(self, as_tensor(other) if isinstance(other, np.ndarray) else other)

        setattr(Tensor, f"__r{name}__", backward)
    if inplace is not None:
        setattr(Tensor, f"__i{name}__", lambda self, other: getattr(self, inplace)(other))


def _divided_into(self: Tensor, other: Any) -> Tensor:
    """other / self: PyTorch multiplies a number by the reciprocal, so that both round."""
    if isinstance(other, Tensor):
        return pw.div(other, self)
    inverse = settled(pw.reciprocal(self))
    return inverse if type(other) is int and other == 1 else pw.mul(inverse, other)


_operator("add", pw.add, lambda a, b: pw.add(a, b), "add_")
_operator("sub", pw.sub, lambda a, b: pw.sub(b, a), "sub_")
_operator("mul", pw.mul, lambda a, b: pw.mul(a, b), "mul_")
_operator("truediv", pw.div, _divided_into, "div_")
_operator("floordiv", pw.floor_divide, lambda a, b: pw.floor_divide(b, a), "floor_divide_")
_operator("mod", pw.remainder, lambda a, b: pw.remainder(b, a), "remainder_")
_operator("pow", pw.pow, lambda a, b: pw.pow(b, a), "pow_")
_operator("matmul", matmul, lambda a, b: matmul(b, a))
_operator("and", cp.bitwise_and, lambda a, b: cp.bitwise_and(a, b), "bitwise_and_")
_operator("or", cp.bitwise_or, lambda a, b: cp.bitwise_or(a, b), "bitwise_or_")
_operator("xor", cp.bitwise_xor, lambda a, b: cp.bitwise_xor(a, b), "bitwise_xor_")
_operator(
    "lshift", cp.bitwise_left_shift, lambda a, b: cp.bitwise_left_shift(b, a), "bitwise_left_shift_"
)
_operator(
    "rshift",
    cp.bitwise_right_shift,
    lambda a, b: cp.bitwise_right_shift(b, a),
    "bitwise_right_shift_",
)
for _name, _function in {
    "eq": cp.eq,
    "ne": cp.ne,
    "lt": cp.lt,
    "le": cp.le,
    "gt": cp.gt,
    "ge": cp.ge,
}.items():
    _operator(_name, _function)
Tensor.__hash__ = lambda self: id(self)
Tensor.__neg__, Tensor.__pos__ = pw.neg, pw.positive
Tensor.__abs__ = pw.abs


def _inverted(self: Tensor) -> Tensor:
    if self.dtype.category >= 2:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    result: Tensor = cp.bitwise_not(self)
    return result


Tensor.__invert__ = _inverted

# --- in-place fills


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Writes another tensor's values here, converted and broadcast; gradients flow to the
    source.
    """
    from cupola.functional._convert import broadcast_shapes

    other = src if isinstance(src, Tensor) else as_tensor(src)
    other = _to_device(other, self.device)
    node = cast_node(other.node, self.dtype)
    if broadcast_shapes(node.shape, self._n.shape) != self._n.shape:
        raise RuntimeError(
            f"The size of tensor a ({self.shape}) must match the size of tensor b "
            f"({other.shape}): cannot broadcast into "
            "the destination"
        )
    check_write(self, other)
    if node is other.node:
        node = (
            mv.copy(node) if node.shape == self._n.shape and node.op is not source.CONST else node
        )
    return self.assign(expand_node(node, self._n.shape))


def fill_(self: Tensor, value: Any) -> Tensor:
    """Sets every element to one value."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} "
                "dimensions."
            )
        return self.assign(expand_node(cast_node(value.node, self.dtype), self._n.shape))
    value = source.rounded(value, self.dtype)
    return self.assign(source.const(value, self._n.shape, self.dtype, self.device))


@operator(method=False)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of one value, shaped like the input (torch.fill)."""
    return fill_(input.clone(), value)


Tensor.copy_, Tensor.fill_ = copy_, fill_


@operator
def zero_(input: Tensor) -> Tensor:
    """Writes zeros (torch.zero_)."""
    return fill_(input, 0)


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Sets the main diagonal to one value; ``wrap`` starts it again below tall matrices."""
    from cupola.functional.strides import strides

    size = self._n.shape
    if len(size) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(size) > 2 and len(set(size)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = int(np.sum(strides(self)))
    count = min(size)
    self.as_strided((count,), (step,)).fill_(fill_value)
    height, width = size[0], size[1]
    if wrap and len(size) == 2 and height > width + 1:
        start = self.storage_offset() + strides(self)[0] * (width + 1)
        below = self.as_strided((height - width - 1, width), strides(self), start)
        below.fill_diagonal_(fill_value, wrap=True)
    return self


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Changes the shape; elements are kept in order, new ones are zero."""
    from cupola.functional.shape import _ints

    shape = _ints(sizes)
    if shape == self._n.shape and memory_format is None:
        return self  # it stays as it lies in memory
    count, old = int(np.prod(shape)), self.numel()
    flat = mv.reshape(source.detach(self.node), shape=(old,))
    if count <= old:
        flat = mv.slice(flat, starts=(0,), stops=(count,), steps=(1,))
    else:
        flat = mv.pad(flat, pairs=((0, count - old),), value=0)
    self._n = mv.reshape(flat, shape=shape)
    self._storage, self._chain, self._base, self._base_chain = None, (), None, ()
    self._turned = self._back = ()
    return self


Tensor.fill_diagonal_, Tensor.resize_ = fill_diagonal_, resize_


@operator
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Takes the size of another tensor (torch.resize_as_)."""
    return resize_(input, the_template._n.shape)


def set_(self: Tensor, source: Any = None, *args: Any, **kw: Any) -> Tensor:
    """Makes this tensor share another's storage."""
    if source is None:
        from cupola.functional.creation import constant

        source = constant(0, (0,), self.dtype, self.device)
    self.data = source
    return self


Tensor.set_ = set_


def apply_(self: Tensor, callable: Any) -> Tensor:
    """Replaces every element by ``callable(element)``; CPU only, slow."""
    from cupola.tensor.create import of_array

    array = engine.to_numpy(self.node)
    made = np.array([callable(v) for v in array.reshape(-1).tolist()], dtype=array.dtype).reshape(
        array.shape
    )
    return write_into(self, of_array(made))


Tensor.apply_ = apply_
__all__ = ["copy_", "fill_", "item", "numpy", "to", "tolist", "wrap_one_dim"]

Tensor.__div__ = Tensor.__truediv__  # Python 2's name, which torch keeps
Tensor.__idiv__ = Tensor.__itruediv__
