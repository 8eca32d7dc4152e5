"""A sample's parts, and calls with them on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import cupola
from scoreboard.compare import flatten
from scoreboard.tally import seed, torch_only

Parts = tuple[Any, tuple[Any, ...], dict[str, Any]]


def parts_of(sample: Any) -> Parts:
    """A sample's (first argument, further arguments, keyword arguments)."""
    return sample.input, tuple(sample.args), dict(sample.kwargs)


def described(sample: Any) -> str:
    """A sample's arguments in a line: tensors as their shapes, the names of keyword arguments."""
    named = [f"{key}={_told(value)}" for key, value in sample.kwargs.items()]
    return ", ".join([_told(sample.input), *map(_told, sample.args), *named])


def _told(x: Any) -> str:
    return str(list(x.shape)) if isinstance(x, torch.Tensor) else repr(x)


def call(function: Callable[..., Any], parts: Parts, **more: Any) -> Any:
    """Calls a function with the parts of a sample."""
    return function(parts[0], *parts[1], **parts[2], **more)


def copied(x: Any) -> Any:
    """Tensors copied with their strides, so that a call that writes leaves the sample alone."""
    if isinstance(x, torch.Tensor):
        return x.clone() if x.layout is torch.strided else x
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields") and type(x) in (tuple, list):
        return type(x)(copied(v) for v in x)
    return {k: copied(v) for k, v in x.items()} if isinstance(x, dict) else x


def owned(parts: Parts) -> Parts:
    """The parts with leaves that are views (made while nothing was recorded) in memory of their
    own: torch loses the gradients of such views.
    """
    memo: dict[int, torch.Tensor] = {}

    def one(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            if not (x.requires_grad and x.is_leaf and x._is_view()):
                return x
            return memo.setdefault(id(x), x.detach().clone().requires_grad_())
        if type(x) in (tuple, list):
            return type(x)(one(v) for v in x)
        return {k: one(v) for k, v in x.items()} if isinstance(x, dict) else x

    return one(parts[0]), one(parts[1]), one(parts[2])


def start() -> None:
    """Puts the random streams of both libraries at the place where every call starts."""
    seed("run")
    cupola.manual_seed(torch.initial_seed())


def expected(function: Callable[..., Any], parts: Parts, **more: Any) -> Any:
    """torch's result, computed on a copy: some entries write into their input.

    Raises:
        Skipped: torch does not run this sample here.
    """
    start()
    return torch_only(lambda: call(function, copied(parts), **more))


def leaves(parts: Parts, kind: type) -> list[Any]:
    """The tensors among the arguments that require a gradient, each once."""
    found: list[Any] = []
    for x in flatten([parts[0], list(parts[1]), parts[2]]):
        if isinstance(x, kind) and x.requires_grad and not any(x is y for y in found):
            found.append(x)
    return found


def random_like(tensors: list[torch.Tensor], number: int) -> list[torch.Tensor]:
    """Normal numbers in the shapes and dtypes of tensors: cotangents and tangents."""
    generator = torch.Generator().manual_seed(number)
    return [torch.randn(o.shape, generator=generator, dtype=o.dtype) for o in tensors]
