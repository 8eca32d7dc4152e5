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
