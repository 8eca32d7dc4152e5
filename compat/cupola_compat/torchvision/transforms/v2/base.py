"""The base of the second interface's transforms, and what they ask of their inputs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cupola
from cupola import nn
from cupola.tensor import Tensor
from cupola.utils._pytree import tree_flatten, tree_unflatten
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.transforms.v2 import functional as F
from cupola_compat.torchvision.transforms.v2.dispatch import is_pil, is_pure_tensor, kernel_of

PICTURES = (is_pure_tensor, tv_tensors.Image, is_pil, tv_tensors.Video)
PLACES = (tv_tensors.Mask, tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)


def check_type(obj: Any, types_or_checks: tuple[Any, ...]) -> bool:
    """Whether an object is of one of the types, or one of the functions says so."""
    return any(isinstance(obj, t) if isinstance(t, type) else t(obj) for t in types_or_checks)


def has_any(flat_inputs: list[Any], *types_or_checks: Any) -> bool:
    """Whether one of the inputs is of one of the types."""
    return any(check_type(inpt, types_or_checks) for inpt in flat_inputs)


def has_all(flat_inputs: list[Any], *types_or_checks: Any) -> bool:
    """Whether there is an input of each type."""
    return all(has_any(flat_inputs, one) for one in types_or_checks)


def _first(flat_inputs: list[Any], kind: type, words: str) -> Any:
    for inpt in flat_inputs:
        if isinstance(inpt, kind):
            return inpt
    raise ValueError(f"No {words} were found in the sample")


def get_bounding_boxes(flat_inputs: list[Any]) -> tv_tensors.BoundingBoxes:
    """The first boxes.

    Raises:
        ValueError: there are none.
    """
    return _first(flat_inputs, tv_tensors.BoundingBoxes, "bounding boxes")


def get_keypoints(flat_inputs: list[Any]) -> tv_tensors.KeyPoints:
    """The first key points.

    Raises:
        ValueError: there are none.
    """
    return _first(flat_inputs, tv_tensors.KeyPoints, "keypoints")


def _only(found: set[tuple[int, ...]], missing: str, words: str) -> Any:
    if not found:
        raise TypeError(f"No {missing} was found in the sample")
    if len(found) > 1:
        listed = ", ".join(map(str, sorted(found)))
        raise ValueError(f"Found multiple {words} dimensions in the sample: {listed}")
    return found.pop()


def query_chw(flat_inputs: list[Any]) -> tuple[int, int, int]:
    """Channels, height and width of the pictures.

    Raises:
        TypeError: there is none.
        ValueError: they differ.
    """
    found = {tuple(F.get_dimensions(i)) for i in flat_inputs if check_type(i, PICTURES)}
    return _only(found, "image or video", "CxHxW")


def query_size(flat_inputs: list[Any]) -> tuple[int, int]:
    """Height and width of pictures, masks, boxes and points.

    Raises:
        TypeError: there is none.
        ValueError: they differ.
    """
    found = {tuple(F.get_size(i)) for i in flat_inputs if check_type(i, PICTURES + PLACES)}
    return _only(found, "image, video, mask, bounding box of keypoint", "HxW")


def _labels(inputs: Any) -> Any:
    """The tensor behind the picture, or what a dictionary has under a key such as "labels"."""
    inputs = inputs[1] if isinstance(inputs, (tuple, list)) else inputs
    if is_pure_tensor(inputs):
        return inputs
    if not isinstance(inputs, Mapping):
        raise ValueError(
            "When using the default labels_getter, the input passed to forward must be a "
            "dictionary or a two-tuple whose second item is a dictionary or a tensor, "
            f"but got {inputs} instead."
        )
    for is_label in (lambda key: key.lower() == "labels", lambda key: "label" in key.lower()):
        for key in inputs:
            if is_label(key):
                return inputs[key]
    raise ValueError(
        "Could not infer where the labels are in the sample. Try passing a callable as the "
        "labels_getter parameter? If there are no labels in the sample by design, pass "
        "labels_getter=None."
    )


def labels_getter(value: Any) -> Callable[[Any], Any]:
    """What finds the labels: of "default", of a function, or of None for no labels.

    Raises:
        ValueError: anything else.
    """
    if value == "default":
        return _labels
    if value is None:
        return lambda _: None
    if callable(value):
        return value
    raise ValueError(
        f"labels_getter should either be 'default', a callable, or None, but got {value}."
    )


def checked_fill(fill: Any) -> dict[Any, Any]:
    """What to fill with, by type of input; "others" for all that have no entry.

    Raises:
        TypeError: neither a number, a sequence nor a dictionary of them.
    """
    by_type = fill if isinstance(fill, dict) else {"others": fill}
    for value in by_type.values():
        if value is not None and not isinstance(value, (int, float, tuple, list)):
            raise TypeError(
                "Got inappropriate fill arg, only Numbers, tuples, lists and dicts are allowed."
            )
    return {
        kind: [float(v) for v in value] if isinstance(value, (tuple, list)) else value
        for kind, value in by_type.items()
    }


def fill_of(fills: dict[Any, Any], inpt: Any) -> Any:
    """What to fill with for an input."""
    return fills.get(type(inpt), fills.get("others"))


def number_pair(value: Any, name: str) -> list[float]:
    """Two numbers, of one or of a sequence.

    Raises:
        TypeError: neither a number nor a sequence.
        ValueError: a sequence of another length, or of other things than numbers.
    """
    if not isinstance(value, (int, float, Sequence)):
        raise TypeError(f"{name} should be a number or a sequence of numbers. Got {type(value)}")
    values = [value] if isinstance(value, (int, float)) else list(value)
    if len(values) not in (1, 2):
        raise ValueError(f"If {name} is a sequence its length should be 1 or 2. Got {len(values)}")
    if not all(isinstance(v, (int, float)) for v in values):
        raise ValueError(f"{name} should be a sequence of numbers. Got {values}")
    return [float(v) for v in (values * 2)[:2]]


class Transform(nn.Module):
    """Changes the pictures in a sample, and masks, boxes and points with them.

    A sample is any nest of tuples, lists and dictionaries. Where it has no image of its own kind,
    the first plain tensor is taken for one; other plain tensors stay as they are. A subclass writes
    `transform`, and `make_params` for what is drawn once for a sample.
    """

    _transformed_types: tuple[Any, ...] = (Tensor, is_pil)
    _v1_transform_cls: type | None = None
    # What is printed, in this order; empty for all attributes as they were set.
    _shown: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls._v1_transform_cls, "get_params"):
            cls.get_params = staticmethod(cls._v1_transform_cls.get_params)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raises an error for inputs that are not supported."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is the same for all inputs of a sample; random numbers are drawn here."""
        return {}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Changes one input."""
        raise NotImplementedError

    def _call_kernel(self, functional: Callable, inpt: Any, *args: Any, **kwargs: Any) -> Any:
        return kernel_of(functional, inpt, allow_passthrough=True)(inpt, *args, **kwargs)

    def _needs_transform_list(self, flat_inputs: list[Any]) -> list[bool]:
        explicit = has_any(flat_inputs, tv_tensors.Image, tv_tensors.Video, is_pil)
        found = []
        for inpt in flat_inputs:
            wanted = check_type(inpt, self._transformed_types)
            if wanted and is_pure_tensor(inpt):
                wanted, explicit = not explicit, True
            found.append(wanted)
        return found

    def _changed(self, flat_inputs: list[Any], spec: Any) -> Any:
        needed = self._needs_transform_list(flat_inputs)
        params = self.make_params([i for i, n in zip(flat_inputs, needed, strict=True) if n])
        outputs = [
            self.transform(inpt, params) if need else inpt
            for inpt, need in zip(flat_inputs, needed, strict=True)
        ]
        return tree_unflatten(outputs, spec)

    def forward(self, *inputs: Any) -> Any:
        flat_inputs, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        self.check_inputs(flat_inputs)
        return self._changed(flat_inputs, spec)

    def extra_repr(self) -> str:
        shown = (bool, int, float, str, tuple, list, enum.Enum)
        return ", ".join(
            f"{name}={value}"
            for name, value in ((name, vars(self).get(name)) for name in self._shown or vars(self))
            if name[0] != "_" and name != "training" and isinstance(value, shown)
        )


class RandomTransform(Transform):
    """A transform that happens with probability `p`.

    Raises:
        ValueError: a probability outside [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        super().__init__()
        self.p = p

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat_inputs, spec = tree_flatten(sample)
        self.check_inputs(flat_inputs)
        return sample if cupola.rand(1).item() >= self.p else self._changed(flat_inputs, spec)
