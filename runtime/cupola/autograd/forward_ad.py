"""Derivatives along tangents that tensors carry (torch.autograd.forward_ad).

A dual tensor is an alias that the tape knows. The tangent of a result is worked out when it is
asked for, as ``func.jvp`` does it: the gradient along a free cotangent is linear in it, and its own
gradient along the tangents is the derivative. So every operator with a gradient has a tangent.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from cupola import autodiff
from cupola.ir import source
from cupola.ir.mode import mode, transposes
from cupola.tensor import Tensor, wrap
from cupola.tensor.backward import grad as _gradients
from cupola.tensor.modes import _Decorator


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, None where it has none."""

    primal: Tensor
    tangent: Tensor | None


class _Level:
    """The dual tensors made since the level was entered."""

    def __init__(self) -> None:
        self.recording = mode.grad
        self.duals: list[tuple[Tensor, Tensor]] = []


class _Current(threading.local):
    level: _Level | None = None


_current = _Current()


def enter_dual_level() -> int:
    """Begins a level, inside which tensors may carry tangents; operators are recorded in it, under
    ``no_grad`` outside of it too (torch.autograd.forward_ad.enter_dual_level).

    Raises:
        RuntimeError: there is one already.
    """
    if _current.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _current.level = _Level()
    mode.grad = True
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level: no tensor carries a tangent any more.

    Raises:
        RuntimeError: there is no such level.
    """
    if _current.level is None:
        raise RuntimeError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise RuntimeError(f"Trying to exit dual level {level}, but the only one is level 0.")
    mode.grad = _current.level.recording
    _current.level = None


class dual_level(_Decorator):
    """A level as a context manager or decorator (torch.autograd.forward_ad.dual_level)."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """An alias of ``tensor`` that carries ``tangent``, of the same shape
    (torch.autograd.forward_ad.make_dual).

    Raises:
        RuntimeError: outside a level, or the shapes differ.
        ValueError: a dtype is neither floating point nor complex.
    """
    here = _current.level
    if here is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    for what, x in (("primal", tensor), ("tangent", tangent)):
        if x.dtype.category < 2:
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {x.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the "
            f"given forward gradient is of size {list(tangent.shape)}."
        )
    _refuse_silence()
    dual = wrap(_marked(tensor))
    here.duals.append((wrap(dual.node), tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor and its tangent, which is None if no dual tensor led to it
    (torch.autograd.forward_ad.unpack_dual).

    Raises:
        RuntimeError: gradients are switched off inside the level, so nothing was recorded.
    """
    here = _current.level
    if here is None:
        return UnpackedDualTensor(tensor, None)
    if not tensor.requires_grad or not here.duals:
        if here.duals:
            _refuse_silence()
        return UnpackedDualTensor(tensor, None)
    tangent = _tangent(tensor, here)
    if tangent is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(_released(tensor, here), _released(tangent, here))


def _refuse_silence() -> None:
    if not mode.grad:
        raise RuntimeError(
            "gradients are switched off inside the dual level: tangents follow what is recorded, "
            "so enter no_grad outside the level or not at all"
        )


def _marked(x: Tensor) -> Any:
    """A node of its own for the value, which the tape knows and nobody collects a gradient of."""
    node = x.node
    return source.ALIAS(node if node.requires_grad else source.leaf(node, source.nobody))


def _tangent(y: Tensor, here: _Level) -> Tensor | None:
    """The derivative of ``y`` along the level's tangents."""
    cotangent = wrap(_marked(wrap(source.const(0, y.node.shape, y.node.dtype, y.node.device))))
    duals = [d for d, _ in here.duals]
    options = {"retain_graph": True, "create_graph": True, "allow_unused": True}
    with transposes():
        pulled = _gradients([y], duals, [cotangent], **options)
    live = [(g, t) for g, (_, t) in zip(pulled, here.duals, strict=True) if g is not None]
    if not live:
        return None
    live = [(g, t.to(g.dtype)) for g, t in live if g.requires_grad]
    found = None
    if live:
        (found,) = _gradients([g for g, _ in live], [cotangent], [t for _, t in live], **options)
    if found is None:
        return wrap(source.const(0, y.node.shape, y.node.dtype, y.node.device))
    return found


def _released(x: Tensor, here: _Level) -> Tensor:
    """The tensor without history, unless somebody may want its gradient."""
    leaves = autodiff.leaves([x.node]) if x.requires_grad and here.recording else []
    return x if any(not source.is_nobodys(n) for n in leaves) else x.detach()


__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]
