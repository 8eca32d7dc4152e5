"""Which kernel a function of the second interface takes for which kind of input."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from cupola.tensor import Tensor
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.tv_tensors import BoundingBoxes, Image, KeyPoints, Mask, Video
from cupola_compat.torchvision.tv_tensors.base import TVTensor

METADATA = ("format", "canvas_size", "clamping_mode")
_kernels: dict[Callable, dict[Any, Callable]] = {}
_names: dict[str, Callable] = {}


def is_pil(inpt: Any) -> bool:
    """Whether this is a PIL image."""
    return hasattr(inpt, "getbands")


def is_pure_tensor(inpt: Any) -> bool:
    """Whether this is a tensor that does not say what it holds."""
    return isinstance(inpt, Tensor) and not isinstance(inpt, TVTensor)


def _wrapped(output: Any, like: Any, **metadata: Any) -> Any:
    if isinstance(output, (tuple, list)):
        return type(output)(_wrapped(part, like) for part in output)
    if not isinstance(output, Tensor):
        return output
    return tv_tensors.wrap(output, like=like, **metadata)


def _of_picture(kernel: Callable) -> Callable:
    def picture(inpt: Any, *args: Any, **kwargs: Any) -> Any:
        return _wrapped(kernel(inpt.as_subclass(Tensor), *args, **kwargs), inpt)

    return picture


def _of_other(kernel: Callable, signature: inspect.Signature) -> Callable:
    """A kernel that takes those arguments of the function that it knows, and the metadata."""
    known = list(inspect.signature(kernel).parameters)[1:]

    def other(inpt: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(inpt, *args, **kwargs).arguments
        values = {name: given[name] for name in known if name in given}
        values |= {n: getattr(inpt, n) for n in METADATA if n in known and hasattr(inpt, n)}
        output = kernel(inpt.as_subclass(Tensor), **values)
        if isinstance(output, tuple):
            return _wrapped(output[0], inpt, canvas_size=output[1])
        return _wrapped(output, inpt)

    return other


def function(
    name: str,
    image: Callable,
    *,
    mask: Callable | None = None,
    boxes: Callable | None = None,
    points: Callable | None = None,
    pictures: tuple[type, ...] = (Image, Video),
) -> Callable:
    """A function `name` that chooses its kernel by the type of its first argument.

    `image` is for PIL images, plain tensors and `pictures`; the others are for the kinds that they
    are named after. The function raises a TypeError for kinds without a kernel.
    """
    signature = inspect.signature(image)

    def call(inpt: Any, *args: Any, **kwargs: Any) -> Any:
        return kernel_of(call, inpt)(inpt, *args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = image.__doc__
    call.__signature__ = signature  # type: ignore[attr-defined]
    table: dict[Any, Callable] = {Tensor: image, "PIL": image}
    table |= {kind: _of_picture(image) for kind in pictures}
    others = {Mask: mask, BoundingBoxes: boxes, KeyPoints: points}
    table |= {k: _of_other(kernel, signature) for k, kernel in others.items() if kernel is not None}
    _kernels[call], _names[name] = table, call
    return call


def kernel_of(call: Callable, inpt: Any, *, allow_passthrough: bool = False) -> Callable:
    """The kernel of a function for an input.

    Raises:
        ValueError: this is none of the functions that choose.
        TypeError: there is none, and inputs may not be handed on as they are.
    """
    table = _kernels.get(call)
    if table is None:
        raise ValueError(f"No kernel registered for functional {call.__name__}.")
    if is_pil(inpt):
        return table["PIL"]
    for kind in type(inpt).__mro__:
        if kind in table:
            return table[kind]
        if kind is TVTensor:
            break
    if allow_passthrough:
        return lambda inpt, *args, **kwargs: inpt
    raise TypeError(
        f"Functional F.{call.__name__} supports inputs of type {list(table)}, "
        f"but got {type(inpt)} instead."
    )


def register_kernel(functional: Callable | str, tv_tensor_cls: type) -> Callable:
    """Decorates the kernel of a function for a kind of tensor of one's own.

    Raises:
        ValueError: no such function, a class that is none of a kind of one's own, or a second
            kernel.
    """
    call = _names.get(functional) if isinstance(functional, str) else functional
    if call is None:
        raise ValueError(
            f"Could not find functional with name '{functional}' in "
            "torchvision.transforms.v2.functional."
        )
    if call not in _kernels:
        raise ValueError(
            "Kernels can only be registered on functionals from the "
            f"torchvision.transforms.v2.functional namespace, but got {functional}."
        )
    if not (isinstance(tv_tensor_cls, type) and issubclass(tv_tensor_cls, TVTensor)):
        raise ValueError(
            "Kernels can only be registered for subclasses of torchvision.tv_tensors.TVTensor, "
            f"but got {tv_tensor_cls}."
        )
    if tv_tensor_cls in (TVTensor, Image, Video, Mask, BoundingBoxes, KeyPoints):
        raise ValueError(
            f"Kernels cannot be registered for the builtin tv_tensor classes, "
            f"but got {tv_tensor_cls}"
        )
    if tv_tensor_cls in _kernels[call]:
        raise ValueError(
            f"Functional {call} already has a kernel registered for type {tv_tensor_cls}."
        )

    def decorator(kernel: Callable) -> Callable:
        _kernels[call][tv_tensor_cls] = kernel
        return kernel

    return decorator
