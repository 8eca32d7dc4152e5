"""How a builder becomes known: its name, its `weights` argument, its place in `list_models`."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cupola import nn
from cupola.models import _weights

Builder = Callable[..., nn.Module]
BUILDERS: dict[str, Builder] = {}
_ARGUMENTS = (
    inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default=None),
    inspect.Parameter("progress", inspect.Parameter.KEYWORD_ONLY, default=True),
)


def builder(
    function: Builder | None = None,
    *,
    published: Mapping[str, Any] | None = None,
    optional: tuple[str, ...] = (),
) -> Any:
    """Publishes a function that makes a model, and gives it the arguments of all builders.

    What is published takes `weights` (see `get_model`), `progress` (accepted, without effect) and
    `pretrained` (PyTorch's old spelling of `weights`), and hands on the rest. A function with an
    argument `trained` is told whether weights will be loaded into its model or its backbone.

    Args:
        published: defaults of arguments where `weights` names published weights.
        optional: beginnings of keys that published files have and a model may lack.
    """
    if function is None:
        return functools.partial(builder, published=published, optional=optional)
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def build(weights: Any = None, progress: bool = True, **kwargs: Any) -> nn.Module:
        weights = _weights.verified(build.__name__, _legacy(weights, kwargs))
        named = isinstance(weights, _weights.WeightsEnum)
        if named:
            kwargs = {**(published or {}), **kwargs}
        if "trained" in parameters:
            if weights is not None:
                kwargs["weights_backbone"] = None
            kwargs["trained"] = bool(weights or kwargs.get("weights_backbone"))
        if weights is None:
            return function(**kwargs)
        state = _weights.read(weights)  # before the model: a missing file is told at once
        model = function(**kwargs)
        for key in state.keys() - model.state_dict().keys():
            if named and key.startswith(optional):
                del state[key]
        model.load_state_dict(state, strict=True)
        return model

    rest = [p for name, p in parameters.items() if name not in ("trained", "weights", "progress")]
    build.__signature__ = inspect.Signature(sorted([*_ARGUMENTS, *rest], key=lambda p: p.kind))
    if build.__name__ in BUILDERS:
        raise ValueError(f"there are two builders of the name {build.__name__!r}")
    BUILDERS[build.__name__] = build
    return build


def _legacy(weights: Any, kwargs: dict[str, Any]) -> Any:
    """What `weights` means, with `pretrained` and its booleans understood."""
    for name in ("pretrained", "pretrained_backbone"):
        if name not in kwargs:
            continue
        warnings.warn(f"{name} is deprecated: use weights=…, or None", stacklevel=3)
        wanted = "DEFAULT" if kwargs.pop(name) else None
        if name == "pretrained":
            weights = wanted
        else:
            kwargs["weights_backbone"] = wanted
    if isinstance(weights, bool):
        return "DEFAULT" if weights else None
    return weights


def list_models(
    module: types.ModuleType | None = None,
    include: Iterable[str] | str | None = None,
    exclude: Iterable[str] | str | None = None,
) -> list[str]:
    """Returns the names of the builders, sorted.

    Args:
        module: only those of this package, such as cupola.models.detection.
        include: only those that match one of these shell patterns.
        exclude: none that match one of these.

    torchvision.models.list_models.
    """
    names = {
        name
        for name, build in BUILDERS.items()
        if module is None or build.__module__.rpartition(".")[0] == module.__name__
    }

    def matching(patterns: Iterable[str] | str) -> set[str]:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        return {name for pattern in patterns for name in fnmatch.filter(names, pattern)}

    if include:
        names = matching(include)
    return sorted(names - matching(exclude or ()))


def get_model_builder(name: str) -> Builder:
    """Returns the function that makes the model `name`.

    Raises:
        ValueError: there is no such model; close names are listed.

    torchvision.models.get_model_builder.
    """
    found = BUILDERS.get(name.lower())
    if found is None:
        import difflib

        close = difflib.get_close_matches(name.lower(), BUILDERS, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ", see list_models()"
        raise ValueError(f"Unknown model {name}{hint}")
    return found


def get_model(name: str, **config: Any) -> nn.Module:
    """Returns the model `name`, randomly initialised, or with the weights of a file.

    Args:
        weights: None; a path or a binary file (whatever `cupola.load` reads: torch.save's files,
            safetensors, TorchScript archives); a state dict; or the name of published weights,
            such as "DEFAULT", whose file must already lie in torch.hub's folder.
        config: arguments of the model, such as num_classes.

    Raises:
        ValueError: there is no such model.
        FileNotFoundError: the weights' file is not there. Nothing is ever downloaded.
        RuntimeError: keys or shapes differ from the model's.

    torchvision.models.get_model.
    """
    return get_model_builder(name)(**config)


def get_model_weights(name: str | Builder) -> type[_weights.WeightsEnum]:
    """Returns the enumeration of the published weights of a model, or of its builder.

    torchvision.models.get_model_weights.
    """
    build = get_model_builder(name) if isinstance(name, str) else name
    return _weights.of_builder(build.__name__)
