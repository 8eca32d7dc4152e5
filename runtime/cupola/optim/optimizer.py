"""``Optimizer``: parameter groups, state, hooks, state dicts."""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np

import cupola.dtypes as dtypes
from cupola import engine
from cupola.ir.mode import mode
from cupola.optim._formula import Updates
from cupola.tensor import Tensor, enable_grad, no_grad, tensor
from cupola.tensor.written import take
from cupola.utils.hooks import RemovableHandle

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]

_global_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable] = OrderedDict()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _register(hooks: OrderedDict, hook: Callable, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every optimizer's step."""
    return _register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every optimizer's step."""
    return _register(_global_post_hooks, hook)


def number(value: Any) -> float:
    """A setting as a Python number; tensors are read."""
    return value.item() if isinstance(value, Tensor) else value


def check_range(name: str, value: Any, low: float = 0.0, high: float | None = None) -> None:
    """Raise ValueError unless ``low <= value``, and ``value < high`` where given."""
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"Invalid {name}: a tensor must have 1 element, got {value.numel()}")
    value = number(value)
    if not low <= value or (high is not None and not value < high):
        raise ValueError(f"Invalid {name}: {value}")


def check_betas(betas: Any) -> None:
    """Raise ValueError unless both decay rates are in [0, 1)."""
    for i in range(2):
        if not 0.0 <= number(betas[i]) < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def refuse_complex(param: Tensor, optimizer: str) -> None:
    """Raise RuntimeError for a parameter that an optimizer of real numbers cannot move."""
    if param.is_complex():
        raise RuntimeError(f"{optimizer} does not support complex parameters")


def _with_hooks(step: Callable) -> Callable:
    """Runs the step hooks around ``step``."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        for hook in [*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
            replaced = hook(self, (self, *args), kwargs)
            if replaced is None:
                continue
            if not (isinstance(replaced, tuple) and len(replaced) == 2):
                raise RuntimeError(
                    f"{type(self).__name__}.step pre-hook must return None or a tuple of "
                    f"(new_args, new_kwargs), but got {replaced}."
                )
            (self, *args), kwargs = replaced
        result = step(self, *args, **kwargs)
        for hook in [*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()]:
            hook(self, (self, *args), kwargs)
        return result

    wrapper.hooked = True
    return wrapper


class Optimizer:
    """Base class of optimizers.

    Subclasses define ``_init_state(param, group) -> dict`` and
    ``_update(param, grad, state, group)``; ``step`` calls them for every parameter with a gradient.
    ``_update`` writes the parameter, or leaves that to ``self._updates``, at the step's end.
    Step counts and other numbers in the state are Python numbers, saved as 0-dim tensors.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that describe groups.
        defaults: settings of groups that do not set them.
    """

    _number_names: tuple[str, ...] = ("step",)
    _updates: Updates  # of the step that runs
    _fitted: frozenset[int] = frozenset()  # parameters whose state was loaded

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._init_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}"
            )
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group))

    def _init_hooks(self) -> None:
        for name in (
            "_optimizer_step_pre_hooks",
            "_optimizer_step_post_hooks",
            "_optimizer_state_dict_pre_hooks",
            "_optimizer_state_dict_post_hooks",
            "_optimizer_load_state_dict_pre_hooks",
            "_optimizer_load_state_dict_post_hooks",
        ):
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())
        # The object's own class, as in PyTorch: a wrapper that never gets here (it passes
        # everything on to another optimizer) has no hooks around its step.
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._init_hooks()
        for group in self.param_groups:
            for name, value in getattr(self, "defaults", {}).items():
                group.setdefault(name, value)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(("\n" if i else "") + f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # -- hooks ---------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; the first of args is itself."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step; the first of args is itself."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before the state is saved."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after saving; a result replaces the dict."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; a result replaces the dict."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after the state has been loaded."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # -- state dicts ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State by parameter number, and the groups' settings."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}

        def packed(group: dict[str, Any]) -> dict[str, Any]:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            settings = {key: value for key, value in group.items() if key != "params"}
            return {**settings, "params": [numbers[id(param)] for param in group["params"]]}

        groups = [packed(group) for group in self.param_groups]
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: self._saved(value, key)
            for key, value in self.state.items()
        }
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, result)
            if replaced is not None:
                result = replaced
        return result

    def _saved(self, state: Any, param: Any) -> Any:
        """One parameter's state with its numbers as 0-dim tensors, as PyTorch has them: of float32,
        but of the parameter's dtype once they have been loaded.
        """
        if not isinstance(state, dict):
            return state
        fitted = param.dtype if id(param) in self._fitted else dtypes.float32
        return {
            key: tensor(float(value), dtype=dtypes.float32 if key == "step" else fitted)
            if key in self._number_names and isinstance(value, (int, float))
            else value
            for key, value in state.items()
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state; ValueError if the groups do not fit."""
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        groups, saved_groups = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(
            len(own["params"]) != len(saved["params"])
            for own, saved in zip(groups, saved_groups, strict=True)
        ):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        saved_ids = chain.from_iterable(group["params"] for group in saved_groups)
        params = chain.from_iterable(group["params"] for group in groups)
        by_id = dict(zip(saved_ids, params, strict=True))
        state: dict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            param = by_id.get(key)
            if param is None:
                state[key] = value
            else:
                state[param] = self._loaded(param, value)
        new_groups = []
        for own, saved in zip(groups, saved_groups, strict=True):
            saved["params"] = own["params"]
            if "param_names" in own:
                saved["param_names"] = own["param_names"]
            new_groups.append(saved)
        self.__setstate__({"state": state, "param_groups": new_groups})
        self._fitted = frozenset(id(p) for p in state if isinstance(p, Tensor))
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _loaded(self, param: Tensor, value: Any, key: str | None = None) -> Any:
        """Saved state, with numbers as numbers and tensors fitted to their parameter."""
        if isinstance(value, dict):
            return {name: self._loaded(param, entry, name) for name, entry in value.items()}
        if isinstance(value, Tensor):
            if key in self._number_names:
                return value.item()
            if key != "step" and param.is_floating_point():
                return value.to(param.device, param.dtype).clone()
            return value.to(param.device)
        if isinstance(value, (list, tuple)):
            return type(value)(self._loaded(param, entry) for entry in value)
        return value

    # -- parameters ----------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with its own settings."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = list(params)
        named = [isinstance(entry, tuple) for entry in params]
        if any(named):
            if not all(named):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are "
                    "missing"
                )
            param_group["param_names"] = [name for name, _ in params]
            params = [param for _, param in params]
        param_group["params"] = params
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(param).__name__}"
                )
            free = self.defaults.get("differentiable")
            if not free and not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    + name
                )
            param_group.setdefault(name, default)
        if len({id(param) for param in params}) != len(params):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error",
                stacklevel=3,
            )
        known = {id(param) for group in self.param_groups for param in group["params"]}
        if any(id(param) in known for param in params):
            raise ValueError("some parameters appear in more than one parameter group")
        if self.param_groups and ("param_names" in param_group) != (
            "param_names" in self.param_groups[0]
        ):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                "with names to the optimizer"
            )
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear all gradients: None, or zeros without ``set_to_none``."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if set_to_none:
                    param.grad = None
                elif param.grad.grad_fn is not None:
                    param.grad.detach_().zero_()
                else:
                    param.grad.requires_grad_(False)
                    param.grad.zero_()

    # -- stepping ------------------------------------------------------------------------------

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        return {}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Change one parameter and its state. Subclasses define this."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change all parameters by their gradients; returns the closure's result."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._updates = Updates()
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    grad = param.grad
                    if grad is None:
                        continue
                    state = self.state.get(param)
                    if not state:
                        state = self._init_state(param, group)
                    self._update(param, -grad if group.get("maximize") else grad, state, group)
                    if state:
                        self.state[param] = state
            self._updates.write()
            self._run()
        return loss

    def _run(self) -> None:
        """Start the recorded work: a step is where training loops pause."""
        if not mode.held:
            engine.realize(take())


def rounded(value: float) -> float:
    """A number as PyTorch's float32 state tensors keep it."""
    return float(np.float32(value))


def parameters_of(groups: Iterable[dict[str, Any]]) -> list[Tensor]:
    """All parameters of some groups."""
    return [param for group in groups for param in group["params"]]
