"""Feature pyramids (Lin et al., "Feature Pyramid Networks for Object Detection", 2017)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cupola import nn
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.misc import Conv2dNormActivation


class ExtraFPNBlock(nn.Module):
    """Base of what adds levels on top of a pyramid."""

    def forward(
        self, results: list[Tensor], x: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Returns the levels and their names, more than before.

        Args:
            results: the pyramid's levels, finest first.
            x: the backbone's levels.
            names: their names.
        """
        raise NotImplementedError


class FeaturePyramidNetwork(nn.Module):
    """Adds each coarser level, doubled in size, to the finer one, all of `out_channels`.

    Raises:
        ValueError: a level without channels.
        TypeError: `extra_blocks` is no `ExtraFPNBlock`.

    torchvision.ops.FeaturePyramidNetwork.
    """

    _version = 2

    def __init__(
        self,
        in_channels_list: Sequence[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList()
        self.layer_blocks = nn.ModuleList()
        plain = {"norm_layer": norm_layer, "activation_layer": None}
        for channels in in_channels_list:
            if channels == 0:
                raise ValueError("in_channels=0 is currently not supported")
            self.inner_blocks.append(
                Conv2dNormActivation(channels, out_channels, kernel_size=1, padding=0, **plain)
            )
            self.layer_blocks.append(
                Conv2dNormActivation(out_channels, out_channels, kernel_size=3, **plain)
            )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                draw_level(module)
        if extra_blocks is not None and not isinstance(extra_blocks, ExtraFPNBlock):
            raise TypeError(
                f"extra_blocks should be of type ExtraFPNBlock not {type(extra_blocks)}"
            )
        self.extra_blocks = extra_blocks

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        # Files of the first version hold convolutions without a sequence around them.
        if (local_metadata.get("version") or 1) < 2:
            for blocks in ("inner_blocks", "layer_blocks"):
                for i in range(len(self.inner_blocks)):
                    for kind in ("weight", "bias"):
                        if (key := f"{prefix}{blocks}.{i}.{kind}") in state_dict:
                            state_dict[f"{prefix}{blocks}.{i}.0.{kind}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the levels under the names they came with, finest first."""
        names, levels = list(x), list(x.values())
        above = self.inner_blocks[-1](levels[-1])
        results = [self.layer_blocks[-1](above)]
        for i in range(len(levels) - 2, -1, -1):
            level = self.inner_blocks[i](levels[i])
            above = level + F.interpolate(above, size=level.shape[-2:], mode="nearest")
            results.insert(0, self.layer_blocks[i](above))
        if self.extra_blocks is not None:
            results, names = self.extra_blocks(results, levels, names)
        return OrderedDict(zip(names, results))


def draw_level(conv: nn.Conv2d) -> None:
    """Draws a pyramid's convolution: uniform, bias zero."""
    nn.init.kaiming_uniform_(conv.weight, a=1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


class LastLevelMaxPool(ExtraFPNBlock):
    """Adds a level, "pool": every second pixel of the coarsest."""

    def forward(
        self, x: list[Tensor], y: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Returns one level more."""
        return [*x, F.max_pool2d(x[-1], kernel_size=1, stride=2, padding=0)], [*names, "pool"]


class LastLevelP6P7(ExtraFPNBlock):
    """Adds two levels by convolutions of stride 2: of the pyramid's coarsest level, or, where it
    has other channels, of the backbone's.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        draw_level(self.p6)
        draw_level(self.p7)
        self.use_P5 = in_channels == out_channels

    def forward(
        self, p: list[Tensor], c: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Returns two levels more."""
        p6 = self.p6(p[-1] if self.use_P5 else c[-1])
        return [*p, p6, self.p7(F.relu(p6))], [*names, "p6", "p7"]
