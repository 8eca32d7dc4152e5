"""The `weights` argument: files, state dicts, and the names of published weights.

Nothing here fetches anything. A name stands for a file in torch.hub's folder.
"""

from __future__ import annotations

import enum
import functools
import os
import pathlib
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from cupola import hub
from cupola.io import load


class WeightsEnum(enum.Enum):
    """Base of the enumerations of published weights; a member's value is the name of its file.

    torchvision.models.WeightsEnum.
    """

    @classmethod
    def verify(cls, obj: Any) -> Any:
        """Returns the member that `obj` is or names; None stays None.

        Raises:
            KeyError: no member of that name.
            TypeError: a member of another enumeration.
        """
        if isinstance(obj, str):
            return cls[obj.removeprefix(f"{cls.__name__}.")]
        if obj is not None and not isinstance(obj, cls):
            raise TypeError(
                f"Invalid Weight class provided; expected {cls.__name__} "
                f"but received {type(obj).__name__}."
            )
        return obj

    @property
    def url(self) -> str:
        """Where the file is published."""
        return str(_table()["address"] + self.value)

    @property
    def meta(self) -> dict[str, Any]:
        """What is known of the weights: categories, num_params, min_size, recipe, metrics.

        As in torchvision, without its prose ("_docs").
        """
        row, lists = self._published()["meta"], _details()["lists"]
        named = ("categories", "keypoint_names")
        sizes = ("min_size",)
        return {
            key: list(lists[value]) if key in named else tuple(value) if key in sizes else value
            for key, value in row.items()
        }

    @property
    def transforms(self) -> Callable[..., Any]:
        """What makes the preparation of images for the weights, as torchvision's does:
        `weights.transforms()(image)`.
        """
        given = dict(self._published()["transforms"])
        kind = given.pop("preset")

        def make(**kwargs: Any) -> Any:
            from cupola.models._presets import PRESETS

            return PRESETS[kind](**{**given, **kwargs})

        return make

    def _published(self) -> dict[str, Any]:
        builder = _classes()[type(self).__name__]
        return _details()[builder][self._name_]

    @property
    def path(self) -> pathlib.Path:
        """Where the file is looked for: torch.hub's folder, as torchvision saves it."""
        return pathlib.Path(hub.get_dir(), "checkpoints", pathlib.PurePosixPath(self.value).name)

    def get_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the state dict in the file; the arguments of torchvision are accepted.

        Raises:
            FileNotFoundError: the file is not in torch.hub's folder.
        """
        return read(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("weights.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def _details() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def _classes() -> dict[str, str]:
    """The builder of each enumeration."""
    return {row["class"]: name for name, row in _table()["builders"].items()}


@functools.cache
def of_builder(name: str) -> type[WeightsEnum]:
    """Returns the enumeration of the published weights of a builder.

    Raises:
        ValueError: none are published for it.
    """
    row = _table()["builders"].get(name)
    if row is None:
        raise ValueError(f"no weights are published for {name}: pass a file as weights=")
    members = dict(row["files"])
    if "default" in row:
        members["DEFAULT"] = members[row["default"]]  # an alias, as its value is the same
    made = WeightsEnum(row["class"], members, module="cupola.models")
    return made  # type: ignore[return-value]


def by_class(name: str) -> type[WeightsEnum]:
    """Returns the enumeration of that name.

    Raises:
        KeyError: there is none.
    """
    return of_builder(_classes()[name])


def enumerations() -> list[str]:
    """Returns the names of all enumerations of published weights."""
    return list(_classes())


def face_getattr(module: str) -> Callable[[str], Any]:
    """Returns a module's `__getattr__`: the enumerations of weights, made when asked for."""

    def __getattr__(name: str) -> Any:
        if name.endswith("_Weights") and name in _classes():
            return by_class(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


def get_weight(name: str) -> WeightsEnum:
    """Returns the member that a string such as "ResNet50_Weights.IMAGENET1K_V2" names.

    Raises:
        ValueError: the text is not of that form, or there is no such enumeration.
        KeyError: it has no such member.

    torchvision.models.get_weight.
    """
    family, dot, member = name.partition(".")
    if not dot or "." in member:
        raise ValueError(f"Invalid weight name provided: '{name}'.")
    if family not in _classes():
        raise ValueError(f"there is no enumeration of weights {family!r}")
    return by_class(family)[member]


def verified(builder: str, weights: Any) -> Any:
    """Returns what a builder's `weights` stands for: None, a member, a path, a file, a mapping.

    Raises:
        ValueError: a name in capitals that is not among the builder's published weights.
        TypeError: weights of another model, or something else altogether.
    """
    if weights is None or isinstance(weights, Mapping):
        return weights
    if isinstance(weights, str) and builder in _table()["builders"]:
        own = of_builder(builder)
        name = weights.removeprefix(f"{own.__name__}.")
        if name in own.__members__:
            return own[name]
    if isinstance(weights, WeightsEnum):
        return of_builder(builder).verify(weights)
    if isinstance(weights, (str, os.PathLike)):
        name = str(weights).rpartition(".")[2]
        if name.isupper() and not os.path.exists(weights):
            raise ValueError(f"no weights {str(weights)!r} are published for {builder}")
        return weights
    if hasattr(weights, "read"):
        return weights
    raise TypeError(
        f"weights should be None, a path, a binary file, a state dict or a name, "
        f"got {type(weights).__name__}"
    )


def read(weights: Any) -> dict[str, Any]:
    """Returns the state dict that `weights` (not None) stands for.

    A file that holds the state dict under "state_dict" or "model", beside other things, is
    understood, and so is the prefix "module." that DataParallel gives every key.

    Raises:
        FileNotFoundError: a published file that has not been fetched.
        TypeError: the file holds no mapping.
    """
    if isinstance(weights, WeightsEnum):
        if not weights.path.exists():
            raise FileNotFoundError(
                f"{weights!r} is the file {weights.path.name}, and cupola downloads nothing. "
                f"Fetch {weights.url} and pass its path as weights=, or put it into "
                f"{weights.path.parent}; weights=None initialises at random."
            )
        weights = weights.path
    state = weights if isinstance(weights, Mapping) else load(weights)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise TypeError(f"the file holds no state dict but an object of type {type(state)}")
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    # What torch.save keeps beside the values, such as layers' versions, is kept.
    copy = type(state)(state) if type(state) is not dict else dict(state)
    if hasattr(state, "_metadata"):
        copy._metadata = state._metadata
    return copy
