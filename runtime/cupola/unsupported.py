"""Names that PyTorch has and cupola does not: they import, compare and pass isinstance as False,
and raise when called.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import importlib.machinery
import sys
import types
from typing import Any, TypeVar

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
        "_dynamo",
        "_inductor",
    ),
    "exported programs are PyTorch's own format; save a state_dict instead": (
        "export",
        "onnx",
    ),
    "TorchScript's code is not run here; cupola.load reads the weights of an archive": (
        "jit.load",
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
    is_result = False  # of a call, put off while a module is being imported

    def __bool__(cls) -> bool:
        # An object of a class is true; what a function would have said is not known.
        if cls.is_result and not cls.__name__.rpartition(".")[2][:1].isupper():
            raise UnsupportedError(cls.__name__, cls.reason)
        return True

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if _is_being_imported(sys._getframe(1)):
            # A decorator or a constant of a module: it fails when it is used.
            return _Unsupported(cls.__name__, (), {"reason": cls.reason, "is_result": True})
        raise UnsupportedError(cls.__name__, cls.reason)

    def __getitem__(cls, item: Any) -> Any:
        return cls  # a generic in an annotation

    __iter__ = None

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{cls.__name__}.{name}"
        answer = ANSWERED.get(full.removeprefix("cupola."))
        return placeholder(full, cls.reason) if answer is None else _answer(answer)


_CO_OPTIMIZED = 1  # the code of a function; ``inspect`` has the name, and takes long to import


def _is_being_imported(frame: types.FrameType) -> bool:
    """Whether a frame runs code of a module, not of the program itself, that is not loaded yet."""
    if getattr(frame.f_globals.get("__spec__"), "_initializing", False):
        return True
    in_function = frame.f_code.co_flags & _CO_OPTIMIZED
    return not in_function and frame.f_globals.get("__name__") != "__main__"


def placeholder(name: str, reason: str) -> Any:
    """What stands for an unsupported name until it is called."""
    return _Unsupported(name, (), {"reason": reason, "__doc__": f"Not supported: {reason}."})


def lookup(namespace: str, name: str) -> Any:
    """The placeholder of an unsupported name.

    Raises:
        AttributeError: cupola knows no such name at all.
    """
    if name in MODULES:  # its names are told apart: some have an answer
        return importlib.import_module(f"{namespace}.{name}")
    if name in _WHY:
        return placeholder(f"{namespace}.{name}", _WHY[name])
    if name.startswith("__"):
        raise AttributeError(f"module '{namespace}' has no attribute '{name}'")
    return _listed(namespace, name)


_COMPILER = "graphs of Python code belong to PyTorch's compiler; call the module itself"
_SHARDING = "cupola distributes data-parallel training only; use DistributedDataParallel"
_TOOL = "a tool for PyTorch's own developers and formats"

# Trees of modules in which every name imports, and raises when it is called.
MODULES = {
    name: _WHY[name]
    for name in (
        "sparse",
        "quantization",
        "ao",
        "_dynamo",
        "_inductor",
        "export",
        "onnx",
        "package",
        "nested",
    )
} | {
    "_C": "PyTorch's compiled core has no counterpart",
    "fx.passes": _COMPILER,
    "fx.experimental": _COMPILER,
    "fx.config": _COMPILER,
    "fx.operator_schemas": _COMPILER,
    "fx.tensor_type": _COMPILER,
    "fx.traceback": _COMPILER,
    "fx._compatibility": _COMPILER,
    "fx._lazy_graph_module": _COMPILER,
    "fx._pytree": _COMPILER,
    "fx._utils": _COMPILER,
    "_export": _COMPILER,
    "_functorch": _COMPILER,
    "_higher_order_ops": _COMPILER,
    "_subclasses": _COMPILER,
    "_refs": _COMPILER,
    "_prims": _COMPILER,
    "_decomp": _COMPILER,
    "_lazy": _COMPILER,
    "_numpy": _TOOL,
    "utils._sympy": _COMPILER,
    "distributed.tensor": _SHARDING,
    "distributed._tensor": _SHARDING,
    "distributed.fsdp": _SHARDING,
    "distributed.checkpoint": _SHARDING,
    "distributed.pipelining": _SHARDING,
    "distributed.elastic": _SHARDING,
    "distributed.rpc": _SHARDING,
    "distributed._composable": _SHARDING,
    "distributed._shard": _SHARDING,
    "testing._internal": _TOOL,
    "utils.benchmark": _TOOL,
    "utils.bottleneck": _TOOL,
    "utils.viz": _TOOL,
    "utils.hipify": _TOOL,
}
NOT_YET = "not implemented yet"
# Devices that cupola does not run on: asking whether they are there is no error.
ABSENT = {"xpu", "mps", "mtia"}
ANSWERS = {"is_available": False, "is_built": False, "is_initialized": False, "device_count": 0}
# Questions of programs that ask whether something unsupported is at work: it is not.
NOT_AT_WORK = {
    "onnx.is_in_onnx_export",
    "onnx.utils.is_in_onnx_export",
    "_C._get_tracing_state",
    "_C._is_tracing",
    "jit._trace.is_tracing",
    "_dynamo.is_compiling",
    "_dynamo.external_utils.is_compiling",
}
# Private names of PyTorch's core that packages ask, and what answers here.
ANSWERED = {
    "_C._are_functorch_transforms_active": "cupola.func.derivatives:is_inside",
    "_C.Generator": "cupola:Generator",
    "_C._nn._parse_to": "cupola.nn.modules._convert:parse_to_arguments",
    "_C.DisableTorchFunction": "cupola.tensor.protocol:DisableTorchFunction",
    "_C.DisableTorchFunctionSubclass": "cupola.tensor.protocol:DisableTorchFunctionSubclass",
    "_C._disabled_torch_function_impl": "cupola.tensor.protocol:disabled",
    "_C._has_torch_function": "cupola.overrides:has_torch_function",
    "_C.device": "cupola:device",
    "_C.dtype": "cupola:dtype",
}
# Hints to parts that are not at work change nothing; as decorators they return the function.
HINTS = {
    "_C": (
        "_log_api_usage_once",
        "_jit_set_profiling_mode",
        "_jit_set_profiling_executor",
        "_jit_override_can_fuse_on_cpu",
        "_jit_override_can_fuse_on_gpu",
        "_jit_set_texpr_fuser_enabled",
        "_jit_set_nvfuser_enabled",
    ),
    "_dynamo": ("allow_in_graph", "disable", "graph_break", "reset", "mark_dynamic",
                "maybe_mark_dynamic", "mark_static", "mark_static_address", "mark_unbacked"),
    "onnx": ("register_custom_op_symbolic", "unregister_custom_op_symbolic"),
}  # fmt: skip


def _answer(where: str) -> Any:
    place, _, part = where.partition(":")
    return getattr(importlib.import_module(place), part)


def _hint(*args: Any, **kwargs: Any) -> Any:
    """Accepts anything: what it would tell is nobody here."""
    if args and callable(args[0]):
        return args[0]
    return _same if not args or args[0] is None or isinstance(args[0], bool) else None


def _same(function: Any) -> Any:
    return function


@functools.cache
def _torch_names() -> dict[str, dict[str, str]]:
    """The names of each of torch's modules, each with the module that shows it to the public."""
    from importlib import resources

    text = resources.files("cupola").joinpath("torch_names.txt").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(" "):
            names.update(word.partition("=")[::2] for word in line.split())
        elif not line.startswith("#"):
            names = found.setdefault(line, {})
    return found


@functools.cache
def _packages() -> frozenset[str]:
    """Torch's modules that have modules inside."""
    return frozenset(name.rpartition(".")[0] for name in _torch_names())


def _open(fullname: str) -> str | None:
    """Why a module of an unsupported tree is not there; None if it belongs to no such tree."""
    rest = fullname.removeprefix("cupola.")
    while rest:
        if rest in MODULES:
            return MODULES[rest]
        rest = rest.rpartition(".")[0]
    return None


class _Module(types.ModuleType):
    """A module that PyTorch has and cupola has not."""

    reason: str
    own: Any = None  # what has the module's name here, if that can be called

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.own is None:
            raise TypeError("'module' object is not callable")
        return self.own(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        own = self.__name__.removeprefix("cupola.")
        absent = own in ABSENT
        if f"{own}.{name}" in NOT_AT_WORK:
            return lambda *args, **kwargs: False
        if name in HINTS.get(own, ()):
            return _hint
        if f"{own}.{name}" in ANSWERED:
            return _answer(ANSWERED[f"{own}.{name}"])
        if absent and name in ANSWERS:
            return lambda *args, **kwargs: ANSWERS[name]
        if _open(self.__name__) is None:
            return _listed(self.__name__, name)
        return placeholder(f"{self.__name__}.{name}", self.reason)


def _listed(module: str, name: str) -> Any:
    """A name that torch's module of this name has: a module of its own, or a placeholder.

    Raises:
        AttributeError: torch's module has no such name either.
    """
    theirs = "torch" + module.removeprefix("cupola")
    if f"{theirs}.{name}" in _torch_names() or _open(f"{module}.{name}") is not None:
        with contextlib.suppress(ModuleNotFoundError):  # its parent may be a plain module here
            return importlib.import_module(f"{module}.{name}")
    home = _torch_names().get(theirs, {}).get(name)
    if module == "cupola.ops" and name in ("aten", "prims", "higher_order", "quantized"):
        return placeholder(f"torch.ops.{name}", "the registry of PyTorch's operators is not there")
    if home is None:
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    if home.startswith("!"):  # what torch's module imports from the standard library
        place, _, part = home[1:].partition(":")
        if part == "TypeVar" and name != part:
            return _type_variable(name)
        standard = importlib.import_module(place)
        return getattr(standard, part) if part else standard
    if home.startswith("^"):
        return _exception(module, name, home[1:])
    if home:
        return getattr(importlib.import_module("cupola" + home.removeprefix("torch")), name)
    return placeholder(f"{module}.{name}", _WHY.get(f"{theirs[6:]}.{name}", NOT_YET))


@functools.cache
def _exception(module: str, name: str, base: str) -> type:
    """An exception or warning that nothing raises here: it can be caught, filtered and raised."""
    return type(name, (getattr(builtins, base),), {"__module__": module})


@functools.cache
def _type_variable(name: str) -> TypeVar:
    return TypeVar(name, covariant=name.endswith("_co"))  # type: ignore[misc]


class _Loader:
    """Runs a module of cupola, then gives it the names that its original has besides."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def create_module(self, spec: Any) -> Any:
        return self.real.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        self.real.exec_module(module)
        module.__spec__.loader = module.__loader__ = self.real  # type: ignore[union-attr]
        _complete(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def _complete(module: types.ModuleType) -> None:
    """Lets a module answer for the names that torch's has and it has not."""
    own = vars(module).get("__getattr__")

    def __getattr__(name: str) -> Any:
        if own is not None:
            try:
                return own(name)
            except AttributeError:
                pass
        if name.startswith("__"):
            raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'")
        return _listed(module.__name__, name)

    module.__getattr__ = __getattr__  # type: ignore[method-assign]


class _Finder:
    """Finds cupola's modules, and stands in for those that only torch has."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if not fullname.startswith("cupola."):
            return None
        real = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if real is not None:
            if real.loader is not None:
                real.loader = _Loader(real.loader)
            if real.submodule_search_locations is None and "torch" + fullname[6:] in _packages():
                real.submodule_search_locations = []  # a package there, one file here
            return real
        if _open(fullname) is None and "torch" + fullname[6:] not in _torch_names():
            return None
        parent, _, name = fullname.removeprefix("cupola.").rpartition(".")
        if f"{parent}.{name}" in NOT_AT_WORK or name in HINTS.get(parent, ()):
            return None  # a function that answers, not a module
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Module(spec.name)
        module.reason = _open(spec.name) or NOT_YET
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        # What is a module there may be an object here (torch.backends.cudnn): it stays what it is.
        parent, _, name = module.__name__.rpartition(".")
        own = vars(sys.modules[parent]).get(name)
        if own is not None and not callable(own):
            sys.modules[module.__name__] = own
        elif own is not None:
            module.own = own  # a function of that name takes part in the module's: it is called


def install() -> None:
    """Puts the finder before Python's own, once, and completes what is loaded already."""
    if any(isinstance(f, _Finder) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, module in list(sys.modules.items()):
        if name.startswith("cupola.") and not isinstance(module, _Module):
            _complete(module)
            if not hasattr(module, "__path__") and "torch" + name[6:] in _packages():
                module.__path__ = []
