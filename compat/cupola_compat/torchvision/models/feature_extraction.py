"""What layers inside a model compute (torchvision.models.feature_extraction), by hooks."""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import Any

from cupola import nn
from cupola_compat.torchvision._unsupported import module_getattr

__all__ = ["create_feature_extractor"]


def _wanted(nodes: list[str] | dict[str, str]) -> dict[str, str]:
    return dict(nodes) if isinstance(nodes, dict) else {name: name for name in nodes}


def _find(model: nn.Module, node: str) -> tuple[str, int | None]:
    """The module that a node's name stands for, and the number of the call, None for the last."""
    names = dict(model.named_modules())
    if node in names:
        return node, None
    repeated = re.fullmatch(r"(.+)_(\d+)", node)
    if repeated and repeated[1] in names:
        return repeated[1], int(repeated[2])
    raise ValueError(
        f"node: {node!r} is not a layer of the model. Layers have the names of named_modules(), "
        "with _1, _2, ... for a second and third call; functions between layers have no name here"
    )


class _Extractor:
    """Gives a model's class a `forward` that returns what the chosen layers computed."""

    _nodes: dict[bool, dict[str, str]]

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        wanted = self._nodes[self.training]
        modules = dict(self.named_modules())
        calls: Counter[str] = Counter()
        found: dict[str, Any] = {}
        places: dict[str, list[tuple[int | None, str]]] = {}
        for node, key in wanted.items():
            name, number = _find(self, node)
            places.setdefault(name, []).append((number, key))

        def keep(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                for number, key in places[name]:
                    if number is None or number == calls[name]:
                        found[key] = output
                calls[name] += 1

            return hook

        handles = [modules[name].register_forward_hook(keep(name)) for name in places]
        try:
            super().forward(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        missing = [key for key in wanted.values() if key not in found]
        if missing:
            raise RuntimeError(f"no layer of these names was called: {', '.join(missing)}")
        return {key: found[key] for key in wanted.values()}


def create_feature_extractor(
    model: nn.Module,
    return_nodes: list[str] | dict[str, str] | None = None,
    train_return_nodes: list[str] | dict[str, str] | None = None,
    eval_return_nodes: list[str] | dict[str, str] | None = None,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> nn.Module:
    """A copy of a model that returns a dictionary of what the named layers computed.

    Layers that come after the last of them stay in the copy; PyTorch's has only what it needs.

    Raises:
        ValueError: no names or too many are given, or a name that is not a layer's.
    """
    if (train_return_nodes is None) != (eval_return_nodes is None):
        raise ValueError(
            "If either of train_return_nodes and eval_return_nodes is given, so is the other"
        )
    if (return_nodes is None) == (train_return_nodes is None):
        raise ValueError("Give either return_nodes, or train_return_nodes and eval_return_nodes")
    train = _wanted(train_return_nodes if return_nodes is None else return_nodes)
    test = _wanted(eval_return_nodes if return_nodes is None else return_nodes)
    for node in {**train, **test}:
        _find(model, node)
    made = copy.deepcopy(model)
    made.__class__ = type(type(model).__name__, (_Extractor, type(model)), {})
    made._nodes = {True: train, False: test}
    return made


__getattr__ = module_getattr(
    "models.feature_extraction", "the names of layers are those of model.named_modules()"
)
