"""What packages that support several array libraries have to be told, at the moment they are
imported.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import sys
import types
from collections.abc import Callable
from typing import Any

from cupola.functional import PUBLIC
from cupola.tensor import Tensor, from_numpy

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The functions of the Array API standard for this tensor: ``cupola.array_api``.

    Raises:
        ValueError: a version of the standard that is not supported.
    """
    if api_version is not None and api_version not in _VERSIONS:
        raise ValueError(
            f"version {api_version!r} of the Array API standard is not supported; "
            f"supported are {', '.join(_VERSIONS)}"
        )
    return importlib.import_module("cupola.array_api")


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device (the Array API's name for ``to``).

    Raises:
        ValueError: a stream for a device that has none.
    """
    if stream is not None and self.device.type == "cpu":
        raise ValueError("to_device: a tensor on the CPU has no stream")
    return self.to(device)


Tensor.__array_namespace__ = _array_namespace  # type: ignore[attr-defined]
Tensor.to_device = _to_device  # type: ignore[attr-defined]


def _einops(module: Any) -> None:
    """einops: a backend for Tensor, found by einops as any subclass of its base is."""

    class CupolaBackend(module.AbstractBackend):  # type: ignore[misc]
        framework_name = "cupola"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tensor)

        def from_numpy(self, x: Any) -> Tensor:
            return from_numpy(x)

        def to_numpy(self, x: Tensor) -> Any:
            return x.detach().cpu().numpy()

        def arange(self, start: int, stop: int) -> Any:
            return PUBLIC["arange"](start, stop)

        def reduce(self, x: Any, operation: str, axes: Any) -> Any:
            if operation in ("min", "max"):
                return getattr(x, f"a{operation}")(tuple(axes))
            if operation in ("sum", "mean"):
                return getattr(x, operation)(tuple(axes))
            for axis in sorted(axes, reverse=True):
                x = getattr(x, operation)(axis)
            return x

        def transpose(self, x: Any, axes: Any) -> Any:
            return x.permute(axes)

        def stack_on_zeroth_dimension(self, tensors: list[Any]) -> Any:
            return PUBLIC["stack"](tensors)

        def add_axis(self, x: Any, new_position: int) -> Any:
            return x.unsqueeze(new_position)

        def add_axes(self, x: Any, n_axes: int, pos2len: dict[int, int]) -> Any:
            shape = [-1] * n_axes
            for position, length in pos2len.items():
                x = x.unsqueeze(position)
                shape[position] = length
            return x.expand(shape)

        def tile(self, x: Any, repeats: Any) -> Any:
            return x.repeat(repeats)

        def concat(self, tensors: Any, axis: int) -> Any:
            return PUBLIC["cat"](tensors, axis)

        def is_float_type(self, x: Any) -> bool:
            return bool(x.dtype.is_floating_point)

        def einsum(self, pattern: str, *x: Any) -> Any:
            return PUBLIC["einsum"](pattern, *x)

    module._cupola_backend = CupolaBackend  # classes are found through weak references


class Torch(types.ModuleType):
    """cupola under torch's name, for code that was not converted: its version is PyTorch's."""

    def __init__(self) -> None:
        super().__init__("torch", "PyTorch's names, answered by cupola.")
        cupola = importlib.import_module("cupola")
        self.__dict__.update(
            __version__=cupola.torch_version,
            __file__=cupola.__file__,
            __path__=[],
            __spec__=importlib.machinery.ModuleSpec("torch", None, is_package=True),
        )

    def __getattr__(self, name: str) -> Any:
        if name == "ops":  # cupola.ops holds its own primitives
            return importlib.import_module("cupola.library").ops
        return getattr(sys.modules["cupola"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system keeps its own notes here; all else is meant for the namespace.
        home = self if name.startswith("__") else sys.modules["cupola"]
        types.ModuleType.__setattr__(home, name, value)

    def __dir__(self) -> list[str]:
        return dir(sys.modules["cupola"])


_torch: Torch | None = None


def as_torch() -> Torch:
    """The one module that answers for torch."""
    global _torch
    if _torch is None:
        _torch = Torch()
    return _torch


def _import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> Any:
    """`__import__` for a package that adapts to torch by itself; the real torch goes first."""
    if level or name.partition(".")[0] != "torch" or "torch" in sys.modules:
        return builtins.__import__(name, globals, locals, fromlist, level)
    if "." not in name:
        return as_torch()
    module = importlib.import_module("cupola" + name.removeprefix("torch"))
    return module if fromlist else as_torch()


def _einx(module: Any) -> None:
    """einx: its adapter to torch, which takes Tensor for torch's."""
    registry = module.registry
    if "torch" not in sys.modules:
        for name, factory in registry.state.uninitialized_backends.pop("torch", ()):
            registry.register_on_import("cupola", name, factory)


def _opt_einsum(module: Any) -> None:
    """opt_einsum: where the functions for tensors are, and for arrays with backend="cupola"."""
    from cupola.interop import contraction

    module._aliases["cupola"] = contraction.__name__
    module.CONVERT_BACKENDS["cupola"] = contraction.build_expression
    module.EVAL_CONSTS_BACKENDS["cupola"] = contraction.evaluate_constants


def _matplotlib(module: Any) -> None:
    """matplotlib: tensors become arrays where torch's do, before anything is drawn of them."""
    theirs = getattr(module, "_is_torch_array", None)
    if theirs is not None:
        module._is_torch_array = lambda x: isinstance(x, Tensor) or theirs(x)


def _safetensors(module: Any) -> None:
    """safetensors: its reader loads torch for `framework="pt"`, which is not there."""
    theirs = module.safe_open

    def safe_open(filename: Any, framework: str = "pt", *args: Any, **kwargs: Any) -> Any:
        if framework in ("pt", "torch", "pytorch") and "torch" not in sys.modules:
            ours = importlib.import_module("cupola.io.safetensors").safe_open
            return ours(filename, framework, *args, **kwargs)
        return theirs(filename, framework, *args, **kwargs)

    safe_open.__doc__ = theirs.__doc__
    module.safe_open = safe_open


HOOKS: dict[str, Callable[[Any], None]] = {
    "einops._backends": _einops,
    "einx._src.frontend.impl.torch": _einx,
    "matplotlib.cbook": _matplotlib,
    "opt_einsum.backends.dispatch": _opt_einsum,
    "safetensors": _safetensors,
}
# Packages whose own `import torch`, and that of the code they write, is answered by cupola.
ANSWERED = ("einx", "opt_einsum")


class _Loader:
    """Runs a module, then tells it about cupola."""

    def __init__(self, real: Any, hook: Callable[[Any], None] | None, answered: bool) -> None:
        self.real = real
        self.hook = hook
        self.answered = answered

    def create_module(self, spec: Any) -> Any:
        return self.real.create_module(spec)

    def exec_module(self, module: Any) -> None:
        if self.answered:
            module.__builtins__ = {**vars(builtins), "__import__": _import}
        self.real.exec_module(module)
        if self.hook is not None:
            self.hook(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Finder:
    """Stands before the other finders for the modules in HOOKS and ANSWERED."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        hook = HOOKS.get(name)
        answered = name.partition(".")[0] in ANSWERED
        if hook is None and not answered:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = _Loader(spec.loader, hook, answered)
                    return spec
        return None


def install() -> None:
    """Tells packages that are imported already, and waits for the others."""
    for name, hook in HOOKS.items():
        if name in sys.modules:
            hook(sys.modules[name])
    sys.meta_path.insert(0, _Finder())
