"""Weight normalization through a hook (the older form; see ``parametrizations``)."""

from __future__ import annotations

from typing import Any

from cupola.nn.parameter import Parameter, is_lazy
from cupola.tensor import Tensor

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Norm over all dimensions but ``dim``, which stays; over all of them for -1."""
    if dim == -1:
        return v.norm(pow)
    dims = tuple(i for i in range(v.dim()) if i != dim % v.dim())
    return v.norm(pow, dims, keepdim=True) if dims else v.abs()


def scaled(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """``g * v / ||v||``."""
    return v * (g / norm_except_dim(v, 2, dim))


class WeightNorm:
    """Recomputes a weight from its magnitude ``name_g`` and direction ``name_v``."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Tensor:
        """The weight for the current magnitude and direction."""
        return scaled(
            getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim
        )

    @staticmethod
    def apply(module: Any, name: str, dim: int | None) -> WeightNorm:
        """Split the parameter ``name`` and register the hook."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        function = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `WeightNorm` can't have uninitialized parameters. Make sure "
                "to run the dummy forward before applying weight normalization"
            )
        del module._parameters[name]
        magnitude = norm_except_dim(weight.detach(), 2, function.dim)
        module.register_parameter(name + "_g", Parameter(magnitude.clone()))
        module.register_parameter(name + "_v", Parameter(weight.detach()))
        setattr(module, name, function.compute_weight(module))
        module.register_forward_pre_hook(function)
        return function

    def remove(self, module: Any) -> None:
        """Make the weight a parameter again."""
        weight = self.compute_weight(module).detach()
        delattr(module, self.name)
        del module._parameters[self.name + "_g"]
        del module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Split a parameter into magnitude and direction (Salimans and Kingma, 2016)."""
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Undo :func:`weight_norm`; ValueError if it was not applied."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
