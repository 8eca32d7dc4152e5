"""A model cut off after the layers whose results are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from cupola import nn
from cupola.tensor import Tensor


class IntermediateLayerGetter(nn.ModuleDict):
    """The children of a model up to the last one wanted, run one after another.

    Args:
        return_layers: names of children, and the names of their results.

    Raises:
        ValueError: the model has no such child.

    torchvision.models._utils.IntermediateLayerGetter.
    """

    _version = 2

    def __init__(self, model: nn.Module, return_layers: Mapping[str, str]) -> None:
        wanted = {str(name): str(result) for name, result in return_layers.items()}
        children = dict(model.named_children())
        if missing := wanted.keys() - children.keys():
            raise ValueError(f"return_layers are not present in model: {', '.join(missing)}")
        last = max(list(children).index(name) for name in wanted)
        super().__init__(OrderedDict(list(children.items())[: last + 1]))
        self.return_layers = dict(return_layers)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns the wanted results by name."""
        results: dict[str, Tensor] = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                results[self.return_layers[name]] = x
        return results


def strided_places(features: nn.Module) -> list[int]:
    """Returns where a MobileNet's layers halve the size, its first and its last layer included."""
    halving = [i for i, layer in enumerate(features) if getattr(layer, "_is_cn", False)]
    return [0, *halving, len(features) - 1]
