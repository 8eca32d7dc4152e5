"""einops' layers as modules of cupola (einops.layers.torch)."""

from __future__ import annotations

from typing import Any

from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import cupola
from cupola import Tensor, nn


class Rearrange(RearrangeMixin, nn.Module):
    """einops.rearrange as a layer; arguments as einops'."""

    def forward(self, input: Tensor) -> Tensor:
        return self._apply_recipe(input)


class Reduce(ReduceMixin, nn.Module):
    """einops.reduce as a layer; arguments as einops'."""

    def forward(self, input: Tensor) -> Tensor:
        return self._apply_recipe(input)


class EinMix(_EinmixMixin, nn.Module):
    """A linear layer described by a pattern; arguments as einops'."""

    def _create_parameters(
        self, weight_shape: Any, weight_bound: float, bias_shape: Any, bias_bound: float
    ) -> None:
        weight = cupola.zeros(weight_shape).uniform_(-weight_bound, weight_bound)
        self.weight = nn.Parameter(weight)
        self.bias = None
        if bias_shape is not None:
            self.bias = nn.Parameter(cupola.zeros(bias_shape).uniform_(-bias_bound, bias_bound))

    def _create_rearrange_layers(
        self, pre_pattern: Any, pre_lengths: Any, post_pattern: Any, post_lengths: Any
    ) -> None:
        self.pre_rearrange = None if pre_pattern is None else Rearrange(pre_pattern, **pre_lengths)
        self.post_rearrange = (
            None if post_pattern is None else Rearrange(post_pattern, **post_lengths)
        )

    def forward(self, input: Tensor) -> Tensor:
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        out = cupola.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            out = out + self.bias
        return out if self.post_rearrange is None else self.post_rearrange(out)
