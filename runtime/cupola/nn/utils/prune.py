"""Pruning: masks on parameters, applied before each call (torch.nn.utils.prune).

A pruned parameter ``weight`` becomes the parameter ``weight_orig`` and the buffer ``weight_mask``;
``weight`` itself is their product, computed anew by a forward pre-hook.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

from cupola.functional.creation import ones_like, zeros_like
from cupola.functional.joining import cat
from cupola.functional.reduction import norm
from cupola.functional.sampling import rand, rand_like
from cupola.functional.sorting import topk
from cupola.tensor import Tensor


class BasePruningMethod:
    """A way to choose what is pruned: a subclass defines ``compute_mask`` and ``PRUNING_TYPE``.

    ``PRUNING_TYPE`` is ``"unstructured"`` (single entries), ``"structured"`` (slices along
    ``dim``) or ``"global"`` (entries, several parameters as one).
    """

    PRUNING_TYPE = "unstructured"
    _tensor_name: str

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of a tensor, given what is masked already (shape of ``t``; 1 is kept)."""
        raise NotImplementedError

    def apply_mask(self, module: Any) -> Tensor:
        """The product of the original parameter and its mask."""
        name = self._tensor_name
        mask = getattr(module, name + "_mask")
        return mask.to(getattr(module, name + "_orig").dtype) * getattr(module, name + "_orig")

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Tensor | None = None, **kw: Any
    ) -> BasePruningMethod:
        """Adds this way of pruning to a parameter of a module, after those it has."""
        method = cls(*args, **kw)
        method._tensor_name = name
        earlier = _methods(module, name)
        if len(earlier) > 1:
            raise AssertionError("a parameter has at most one pruning hook")
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise AssertionError("importance_scores should have the same shape as parameter")
        if earlier:
            key, before = earlier[0]
            del module._forward_pre_hooks[key]
            container = before
            if not isinstance(before, PruningContainer):
                container = PruningContainer(before)
            container.add_pruning_method(method)
            method = container
            default = getattr(module, name + "_mask").detach().clone()
        else:
            default = ones_like(original)
        mask = method.compute_mask(scores.detach(), default_mask=default)
        if earlier:
            module.register_buffer(name + "_mask", mask)
        else:
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
            module.register_buffer(name + "_mask", mask.detach().clone())
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """A pruned copy of a tensor."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        default = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=default)

    def remove(self, module: Any) -> None:
        """Makes the pruning permanent: the product becomes the parameter."""
        name = self._tensor_name
        value = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        del module._buffers[name + "_mask"]
        original.data = value.detach()
        setattr(module, name, original)


def _methods(module: Any, name: str) -> list[tuple[Any, BasePruningMethod]]:
    """The pruning hooks of a parameter, with their keys."""
    hooks = module._forward_pre_hooks.items()
    return [
        (key, hook)
        for key, hook in hooks
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
    ]


class PruningContainer(BasePruningMethod):
    """Several ways of pruning one parameter, one after the other."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        methods: Iterable[Any] = args
        if len(args) == 1 and isinstance(args[0], Iterable):
            methods = args[0]
        for method in methods:
            self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Adds one for the same parameter."""
        if not isinstance(method, BasePruningMethod) and method is not None:
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and method._tensor_name != self._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the last method on what the others left."""
        method: Any = self._pruning_methods[-1]
        left = default_mask.to(t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            part: Any = left == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.ndim
            others = tuple(d for d in range(t.ndim) if d != dim)
            kept = left.sum(others) != 0
            part = (slice(None),) * dim + (kept,)
        elif method.PRUNING_TYPE == "global":
            part = (slice(None),) * t.ndim
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask = left.clone()
        mask[part] = method.compute_mask(t[part], default_mask=left[part]).to(left.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing, but makes the mask."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class CustomFromMask(BasePruningMethod):
    """A mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(default_mask.dtype)


class _Amount(BasePruningMethod):
    """Ways that prune a share (a float) or a number (an int) of what there is."""

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        whole = isinstance(amount, numbers.Integral)
        if (whole and amount < 0) or (not whole and not 0.0 <= float(amount) <= 1.0):
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
                "integer"
            )
        self.amount = amount

    def _count(self, size: int) -> int:
        if isinstance(self.amount, numbers.Integral):
            if self.amount > size:
                raise ValueError(
                    f"amount={self.amount} should be smaller than the number of parameters to "
                    f"prune={size}"
                )
            return int(self.amount)
        return round(float(self.amount) * size)


class RandomUnstructured(_Amount):
    """Entries chosen by chance."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count, mask = self._count(t.nelement()), default_mask.clone()
        if count:
            chosen = topk(rand_like(t).view(-1), k=count).indices
            mask.view(-1)[chosen] = 0
        return mask


class L1Unstructured(_Amount):
    """The entries of the smallest absolute value."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count, mask = self._count(t.nelement()), default_mask.clone()
        if count:
            chosen = topk(t.abs().reshape(-1), k=count, largest=False).indices
            mask.view(-1)[chosen] = 0
        return mask


class _Structured(_Amount):
    """Slices along a dimension."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _scores(self, t: Tensor) -> Tensor:
        """One number for each slice: the smallest are pruned."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"with {t.ndim} dims"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"Invalid dimension {self.dim} for tensor of size {tuple(t.shape)}")
        size, dim = t.shape[self.dim], self.dim % t.ndim
        count = self._count(size)
        if not count:
            return default_mask
        kept = topk(self._scores(t), k=size - count).indices
        mask = zeros_like(t)
        mask[(slice(None),) * dim + (kept,)] = 1
        return mask * default_mask.to(mask.dtype)


class RandomStructured(_Structured):
    """Slices chosen by chance."""

    def _scores(self, t: Tensor) -> Tensor:
        return rand(t.shape[self.dim])


class LnStructured(_Structured):
    """The slices of the smallest norm of order ``n``."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _scores(self, t: Tensor) -> Tensor:
        others = tuple(d for d in range(t.ndim) if d != self.dim % t.ndim)
        return norm(t, p=self.n, dim=others)


def identity(module: Any, name: str) -> Any:
    """Gives a parameter a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: float) -> Any:
    """Prunes entries chosen by chance: a share of them, or a number."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Any, name: str, amount: float, importance_scores: Tensor | None = None
) -> Any:
    """Prunes the entries of the smallest absolute value (or score)."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: float, dim: int) -> Any:
    """Prunes slices along ``dim`` chosen by chance."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Any, name: str, amount: float, n: Any, dim: int,
    importance_scores: Tensor | None = None,
) -> Any:  # fmt: skip
    """Prunes the slices along ``dim`` of the smallest norm of order ``n``."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Prunes where a mask is zero."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prunes several parameters as if they were one.

    ``parameters`` holds pairs of a module and a name; ``pruning_method`` is a class for single
    entries; ``importance_scores`` may give a tensor for a pair.
    """
    pairs = list(parameters)
    scores = importance_scores or {}
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be a dict")
    tensors = [scores.get((m, n), getattr(m, n)) for m, n in pairs]
    masks = [getattr(m, n + "_mask", ones_like(getattr(m, n))) for m, n in pairs]
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    container.add_pruning_method(method)
    flat = cat([t.detach().reshape(-1) for t in tensors])
    mask = container.compute_mask(flat, cat([m.reshape(-1) for m in masks]))
    parts = mask.split([t.numel() for t in tensors])
    for (module, name), part in zip(pairs, parts, strict=True):
        custom_from_mask(module, name, part.view(getattr(module, name).shape))


def remove(module: Any, name: str) -> Any:
    """Makes the pruning of a parameter permanent.

    Raises:
        ValueError: the parameter is not pruned.
    """
    for key, method in _methods(module, name):
        method.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module: Any) -> bool:
    """Whether a module or one inside it has a pruned parameter."""
    return any(
        isinstance(hook, BasePruningMethod)
        for inner in module.modules()
        for hook in inner._forward_pre_hooks.values()
    )
