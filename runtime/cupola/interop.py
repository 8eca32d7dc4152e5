"""What packages that support several array libraries have to be told, at the moment they are
imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from cupola.functional import PUBLIC
from cupola.tensor import Tensor, from_numpy


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


HOOKS: dict[str, Callable[[Any], None]] = {"einops._backends": _einops}


class _Loader(importlib.abc.Loader):
    """Runs a module, then tells it about cupola."""

    def __init__(self, real: Any, hook: Callable[[Any], None]) -> None:
        self.real = real
        self.hook = hook

    def create_module(self, spec: Any) -> Any:
        return self.real.create_module(spec)

    def exec_module(self, module: Any) -> None:
        self.real.exec_module(module)
        self.hook(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Finder(importlib.abc.MetaPathFinder):
    """Stands before the other finders for the modules in HOOKS."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        hook = HOOKS.get(name)
        if hook is None:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if spec.loader is not None:
                        spec.loader = _Loader(spec.loader, hook)
                    return spec
        return None


def install() -> None:
    """Tells packages that are imported already, and waits for the others."""
    for name, hook in HOOKS.items():
        if name in sys.modules:
            hook(sys.modules[name])
    sys.meta_path.insert(0, _Finder())
