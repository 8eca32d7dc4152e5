"""Names that PyTorch has and cupola does not: they import, compare and pass isinstance as False,
and raise when called.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

from cupola.errors import UnsupportedError

REASONS: dict[str, tuple[str, ...]] = {
    "sparse tensors are not implemented; use dense tensors or gather and scatter": (
        "sparse_coo_tensor",
        "sparse_csr_tensor",
        "sparse_csc_tensor",
        "sparse_bsr_tensor",
        "sparse_bsc_tensor",
        "sparse_compressed_tensor",
        "hspmm",
        "smm",
        "sspaddmm",
        "sparse",
    ),
    "quantised tensors are not implemented; use float16 or bfloat16": (
        "quantize_per_tensor",
        "quantize_per_channel",
        "quantize_per_tensor_dynamic",
        "quantized_batch_norm",
        "quantized_max_pool1d",
        "quantized_max_pool2d",
        "dequantize",
        "fake_quantize_per_tensor_affine",
        "fake_quantize_per_channel_affine",
        "quantization",
        "ao",
    ),
    "graphs of Python code belong to PyTorch's compiler; call the module itself": (
        "fx",
        "_dynamo",
        "_inductor",
    ),
    "exported programs are PyTorch's own format; save a state_dict instead": (
        "export",
        "onnx",
    ),
    "torch.package archives hold pickled PyTorch code; save a state_dict": ("package",),
    "nested tensors are not implemented; pad and mask instead": (
        "nested",
        "_nested_tensor_from_mask",
    ),
}
_WHY = {name: reason for reason, names in REASONS.items() for name in names}


class _Unsupported(type):
    """Metaclass: a class that nothing is an instance of, whose call is an error."""

    reason: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(cls.__name__, cls.reason)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return placeholder(f"{cls.__name__}.{name}", cls.reason)


def placeholder(name: str, reason: str) -> Any:
    """What stands for an unsupported name until it is called."""
    return _Unsupported(name, (), {"reason": reason, "__doc__": f"Not supported: {reason}."})


def lookup(namespace: str, name: str) -> Any:
    """The placeholder of an unsupported name.

    Raises:
        AttributeError: cupola knows no such name at all.
    """
    if name in _WHY:
        return placeholder(f"{namespace}.{name}", _WHY[name])
    raise AttributeError(f"module '{namespace}' has no attribute '{name}'")


# Modules that import, and whose names raise when they are called.
MODULES = {
    name: _WHY[name]
    for name in (
        "sparse",
        "quantization",
        "ao",
        "fx",
        "_dynamo",
        "_inductor",
        "export",
        "onnx",
        "package",
        "nested",
    )
} | {"_C": "PyTorch's compiled core has no counterpart"}


class _Module(types.ModuleType):
    """A module of an unsupported namespace."""

    reason: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return placeholder(f"{self.__name__}.{name}", self.reason)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes unsupported modules importable, sub-modules included."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        parts = fullname.split(".")
        if len(parts) < 2 or parts[0] != "cupola" or parts[1] not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Module(spec.name)
        module.reason = MODULES[spec.name.split(".")[1]]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """Puts the finder behind Python's own, once."""
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.append(_Finder())
