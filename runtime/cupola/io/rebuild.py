"""The names of PyTorch that a checkpoint may use, and what each stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cupola.io import trusted
from cupola.io.errors import CheckpointError, short
from cupola.io.plain import RENAMED, PlainRules
from cupola.io.seam import TensorFactory, View
from cupola.io.storage import (
    DTYPE_ALIASES,
    NUMPY_DTYPES,
    QUANTISED_STORAGES,
    STORAGE_DTYPES,
    Storage,
)

_RESAVE = (
    "Nothing was executed. If you trust the file, open it where torch is installed and save only "
    "what is data: torch.save(model.state_dict(), path)."
)
_QUANTISED = (
    "cupola has no quantised tensors. Open the file where torch is installed and save its tensors "
    "dequantised: torch.save({name: t.dequantize() for name, t in state.items()}, path)."
)
_REFUSED = {
    "_rebuild_qtensor": _QUANTISED,
    "_rebuild_sparse_tensor": "cupola has no sparse tensors; save tensor.to_dense() instead.",
    "_rebuild_nested_tensor": "cupola has no nested tensors; save a list of tensors instead.",
    "_rebuild_wrapper_subclass": "save plain tensors instead (for DTensor: full_tensor()).",
    "_rebuild_meta_tensor_no_storage": "the tensor has no data; save one with data.",
}
_STORAGE_MODULES = ("torch", "torch.storage", "torch.cuda")
_UNTYPED = ("UntypedStorage", "_UntypedStorage", "TypedStorage", "_TypedStorage")
_CLASSES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Buffer")
_PARAMETERS = ("torch.nn.parameter.Parameter", "torch.nn.Parameter")


class Token:
    """What a class of PyTorch becomes on the stack: a name, nothing that could be called."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}, a name found in a checkpoint>"


class TorchRules(PlainRules):
    """The allow-list of a checkpoint. One instance reads one pickle.

    `persistent` finds the storage of a persistent id.
    """

    def __init__(self, factory: TensorFactory, persistent: Callable[[Any], Storage]) -> None:
        super().__init__()
        self._factory = factory
        self._storages = persistent
        self._names: dict[int, str] = {}  # id of a dtype that `find` gave out -> its name
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            self._allow(f"torch._utils.{name}", getattr(self, name))
        for name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            self._allow(f"torch._utils.{name}", self._rebuild_parameter)
        for name in ("_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor"):
            self._allow(f"torch._utils.{name}", self._from_numpy)
        self._allow("torch._utils._rebuild_device_tensor_from_cpu_tensor", self._from_cpu)
        self._allow("torch._tensor._rebuild_from_type_v2", self._from_type)
        self._allow("torch.serialization._get_layout", self._layout)
        self._allow("torch.Size", self._size)
        self._allow("torch.device", self._device)
        self._allow("torch.torch_version.TorchVersion", self._version)
        for name in _PARAMETERS:
            self._allow(name, self._rebuild_parameter)
        for name in _CLASSES:
            self.values[name] = Token(name)

    def _allow(self, name: str, call: Callable[..., Any]) -> None:
        token = Token(name)
        self.values[name] = token
        self.calls[id(token)] = lambda args: call(*args)

    # -- what the unpickler asks -----------------------------------------------------------------

    def find(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        full = RENAMED.get(full, full)
        for old, new in (("__builtin__.", "builtins."), ("cupola.", "torch.")):
            if full.startswith(old):
                full = new + full.removeprefix(old)
        if full not in self.values:
            self.values[full] = self._torch_name(*full.rpartition(".")[::2])
        return self.values[full]

    def _torch_name(self, module: str, name: str) -> Any:
        if module in _STORAGE_MODULES and (name in STORAGE_DTYPES or name in _UNTYPED):
            return Token(name)
        if module in _STORAGE_MODULES and name in QUANTISED_STORAGES:
            raise CheckpointError(f"the checkpoint holds a torch.{name}: {_QUANTISED}")
        if module == "torch" and (dtype := DTYPE_ALIASES.get(name, name)) in NUMPY_DTYPES:
            value = self._factory.dtype(dtype)
            self._names[id(value)] = dtype
            return value
        if module == "torch._utils" and name in _REFUSED:
            raise CheckpointError(f"the checkpoint uses torch._utils.{name}: {_REFUSED[name]}")
        if (thing := trusted.found(f"{module}.{name}")) is not None:
            self.calls[id(thing)] = lambda args: thing(*args)
            return thing
        raise CheckpointError(
            f"the checkpoint asks for {module}.{name}, which is not among the names that a "
            f"checkpoint may use. {_RESAVE} weights_only=False does not change this: cupola never "
            "runs code from a checkpoint. A class of your own that is safe to make from any data "
            "can be allowed with cupola.serialization.add_safe_globals([TheClass])."
        )

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        rule = self.calls.get(id(function))
        if rule is None:
            what = function.name if isinstance(function, Token) else short(function)
            raise CheckpointError(f"the pickle calls {what}, which it may not. {_RESAVE}")
        return rule(args)

    def new(self, cls: Any, args: tuple[Any, ...]) -> Any:
        if isinstance(cls, type) and trusted.is_trusted(cls):
            return cls.__new__(cls, *args)
        return self.call(cls, args)

    def build(self, instance: Any, state: Any) -> None:
        if trusted.is_trusted(type(instance)):
            trusted.give_state(instance, state)
        else:
            super().build(instance, state)

    def persistent(self, pid: Any) -> Any:
        return self._storages(pid)

    # -- tensors ---------------------------------------------------------------------------------

    def _tensor(self, storage: Any, view: View, metadata: Any) -> Any:
        if not isinstance(storage, Storage):
            raise CheckpointError("a tensor in the pickle is not made from a storage")
        if metadata is not None:
            if type(metadata) is not dict or not set(metadata) <= {"conj", "neg"}:
                raise CheckpointError(f"a tensor has unknown metadata {short(metadata)}")
            conj, neg = (metadata.get(flag, False) is True for flag in ("conj", "neg"))
            view = View(view.dtype, view.offset, view.size, view.stride, view.requires_grad,
                        conj, neg)  # fmt: skip
        view.check(storage)
        return self._factory.tensor(storage, view)

    def _rebuild_tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Any:
        return self._rebuild_tensor_v2(storage, offset, size, stride, False)

    def _rebuild_tensor_v2(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Any:
        dtype = getattr(storage, "dtype", "")
        view = _view(dtype, offset, size, stride, requires_grad)
        return self._tensor(storage, view, metadata)

    def _rebuild_tensor_v3(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Any:
        view = _view(self._dtype_name(dtype), offset, size, stride, requires_grad)
        return self._tensor(storage, view, metadata)

    def _dtype_name(self, dtype: Any) -> str:
        if id(dtype) not in self._names:
            raise CheckpointError(f"a tensor in the pickle has the dtype {short(dtype)}")
        return self._names[id(dtype)]

    def _known(self, tensor: Any) -> Any:
        if not self._factory.is_tensor(tensor):
            raise CheckpointError("a parameter in the pickle is not made from a tensor")
        return tensor

    def _rebuild_parameter(
        self, data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None
    ) -> Any:
        parameter = self._factory.parameter(self._known(data), requires_grad is True)
        return self._with_state(parameter, state)

    def _from_numpy(self, data: Any, dtype: Any, device: Any, requires_grad: Any) -> Any:
        if not isinstance(data, np.ndarray):
            raise CheckpointError("a tensor in the pickle is not made from an array")
        return self._factory.from_array(
            data, self._dtype_name(dtype), _text(device), requires_grad is True
        )

    def _from_cpu(self, data: Any, dtype: Any, device: Any, requires_grad: Any) -> Any:
        return self._factory.cast(
            self._known(data), self._dtype_name(dtype), _text(device), requires_grad is True
        )

    def _from_type(self, function: Any, kind: Any, args: Any, state: Any) -> Any:
        """A tensor with attributes; a subclass of torch.Tensor is not on the list of names."""
        if not isinstance(function, Token) or "_rebuild_" not in function.name:
            raise CheckpointError("a tensor in the pickle is made by something that makes none")
        if not isinstance(kind, Token) or type(args) is not tuple:
            raise CheckpointError("a tensor in the pickle has a damaged type")
        if "_from_type" in function.name:
            raise CheckpointError("a tensor in the pickle is nested in its own recipe")
        return self._with_state(self._known(self.call(function, args)), state)

    def _with_state(self, tensor: Any, state: Any) -> Any:
        if type(state) is tuple and len(state) == 2:  # (__dict__, __slots__)
            state = {**(state[0] or {}), **(state[1] or {})}
        if state:
            if type(state) is not dict or not all(type(name) is str for name in state):
                raise CheckpointError("the attributes of a tensor are not a dictionary of names")
            self._factory.set_attributes(tensor, state)
        return tensor

    # -- small objects ---------------------------------------------------------------------------

    def _size(self, dims: Any = ()) -> Any:
        return self._factory.size(_integers(dims, "a torch.Size"))

    def _device(self, kind: Any, index: Any = None) -> Any:
        if index is not None and type(index) is not int:
            raise CheckpointError(f"a device in the pickle has the index {short(index)}")
        return self._factory.device(_text(kind) if index is None else f"{_text(kind)}:{index}")

    def _layout(self, name: Any) -> Any:
        return self._factory.layout(_text(name).removeprefix("torch."))

    def _version(self, text: Any = "") -> str:
        return _text(text)


def storage_pid(pid: Any, fields: int) -> tuple[str, bool, str, str, int, Any]:
    """Checked parts of a storage's persistent id: dtype, untyped, key, location, bytes, the rest.

    `fields` is how many items it has in this format: 5 in a zip archive, 6 in a legacy file.
    """
    if type(pid) is not tuple or not pid or _text(pid[0]) != "storage":
        what = short(pid[0]) if type(pid) is tuple and pid else type(pid).__name__
        raise CheckpointError(
            f"the checkpoint keeps something other than storages beside its pickle ({what}): it "
            f"holds a whole model, not its weights. {_RESAVE}"
        )
    if len(pid) not in (5, fields) or not isinstance(pid[1], Token):
        raise CheckpointError("a storage in the pickle is damaged")
    kind, key, location, numel = pid[1].name, pid[2], pid[3], pid[4]
    if kind not in STORAGE_DTYPES and kind not in _UNTYPED:
        raise CheckpointError(f"a storage in the pickle has the type {kind}")
    if type(numel) is not int or numel < 0:
        raise CheckpointError(f"a storage in the pickle has {short(numel)} elements")
    dtype = STORAGE_DTYPES.get(kind, "uint8")
    nbytes = numel * NUMPY_DTYPES[dtype].itemsize
    rest = pid[5] if len(pid) > 5 else None
    return dtype, kind in _UNTYPED, _text(key), _text(location), nbytes, rest


def _view(dtype: str, offset: Any, size: Any, stride: Any, requires_grad: Any) -> View:
    sizes, strides = _integers(size, "a tensor's size"), _integers(stride, "a tensor's stride")
    if len(sizes) != len(strides) or len(sizes) > 64 or type(offset) is not int or offset < 0:
        raise CheckpointError(
            f"a tensor in the pickle has offset {short(offset)} and {len(sizes)} sizes for "
            f"{len(strides)} strides"
        )
    if dtype not in NUMPY_DTYPES:
        raise CheckpointError("a tensor in the pickle is not made from a storage")
    return View(dtype, offset, sizes, strides, requires_grad is True)


def _integers(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)):
        raise CheckpointError(f"{what} in the pickle is a {type(values).__name__}")
    if not all(type(value) is int and value >= 0 for value in values):
        raise CheckpointError(f"{what} in the pickle is {short(values)}")
    return tuple(values)


def _text(value: Any) -> str:
    if isinstance(value, bytes):  # Python 2 wrote it, and encoding="bytes" was asked for
        value = value.decode("ascii")
    if not isinstance(value, str):
        raise CheckpointError(f"a name in the pickle is a {type(value).__name__}")
    return value
