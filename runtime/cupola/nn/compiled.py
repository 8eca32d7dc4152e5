"""What ``cupola.compile`` makes of a module."""

from __future__ import annotations

from typing import Any

from cupola import jit
from cupola.nn.modules.module import Module


class OptimizedModule(Module):
    """A module whose calls are captured and replayed; everything else is the module's own.

    As with torch.compile, names in its ``state_dict`` begin with ``_orig_mod.``; the module itself
    is the attribute ``_orig_mod``.
    """

    def __init__(self, module: Module, call: jit.Compiled) -> None:
        super().__init__()
        self._orig_mod = module
        self.__dict__["_replayed"] = call
        self.__dict__["training"] = module.training

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return super().__call__(*args, **kwargs)
        return self._replayed(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The captured call."""
        return self._replayed(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self._modules["_orig_mod"]
        return getattr(self._modules["_orig_mod"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_orig_mod", "training") or "_orig_mod" not in self.__dict__["_modules"]:
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __deepcopy__(self, memo: Any) -> OptimizedModule:
        import copy

        return jit.compile(copy.deepcopy(self._orig_mod, memo))


jit.wrappers.append((lambda value: isinstance(value, Module), OptimizedModule))
