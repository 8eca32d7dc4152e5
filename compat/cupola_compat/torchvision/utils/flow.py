"""Optical flow as colours (torchvision.utils.flow_to_image), by the wheel of Baker et al.,
"A Database and Evaluation Methodology for Optical Flow" (2007).
"""

from __future__ import annotations

import math

import cupola
from cupola.tensor import Tensor

# Steps from red to yellow, green, cyan, blue, magenta and back: the eye tells some hues better.
STEPS = (15, 6, 4, 11, 13, 6)


def _wheel() -> Tensor:
    """The colours of the circle (55, 3): one channel rises, then the one before it falls."""
    rows = []
    for part, steps in enumerate(STEPS):
        full, moving = ((0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2))[part]
        for k in range(steps):
            level = math.floor(255 * k / steps)
            color = [0, 0, 0]
            color[full] = 255
            color[moving] = 255 - level if part % 2 else level
            rows.append(color)
    return cupola.tensor(rows, dtype=cupola.float32)


@cupola.no_grad()
def flow_to_image(flow: Tensor) -> Tensor:
    """A flow (N, 2, H, W) or (2, H, W), float32, as an image of as many dimensions, uint8.

    Direction is hue and speed is saturation.

    Raises:
        ValueError: another shape or type.
    """
    if flow.dtype != cupola.float32:
        raise ValueError(f"Flow should be of dtype torch.float, got {flow.dtype}.")
    batch = flow[None] if flow.dim() == 3 else flow
    if batch.dim() != 4 or batch.shape[1] != 2:
        raise ValueError(
            f"Input flow should have shape (2, H, W) or (N, 2, H, W), got {tuple(flow.shape)}."
        )
    batch = batch / (batch.pow(2).sum(1).sqrt().max() + cupola.finfo(flow.dtype).eps)
    wheel = _wheel().to(flow.device)
    speed = batch.pow(2).sum(1).sqrt()
    turn = (cupola.atan2(-batch[:, 1], -batch[:, 0]) / math.pi + 1) / 2 * (len(wheel) - 1)
    first = turn.floor().long()
    part = (turn - first)[..., None]
    color = ((1 - part) * wheel[first] + part * wheel[(first + 1) % len(wheel)]) / 255.0
    color = 1 - speed[..., None] * (1 - color)
    image = (255 * color).floor().to(cupola.uint8).permute(0, 3, 1, 2)
    return image[0] if flow.dim() == 3 else image
