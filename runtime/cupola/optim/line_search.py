"""Line search under the strong Wolfe conditions (Nocedal and Wright, section 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.tensor import Tensor


def cubic_minimum(
    x1: float, f1: float, g1: float, x2: float, f2: float, g2: float, bounds: Any = None
) -> float:
    """Minimum of the cubic through two points with their slopes, within the bounds."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if square < 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if x1 <= x2:
        place = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        place = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(place, low), high)


def strong_wolfe(
    probe: Callable[[float], tuple[float, Tensor]],
    size: float,
    direction: Tensor,
    loss: float,
    gradient: Tensor,
    slope: float,
    tolerance_change: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_probes: int = 25,
) -> tuple[float, Tensor, float, int]:
    """A step that decreases the loss enough and flattens its slope.

    ``probe(t)`` gives loss and gradient at step ``t``. Returns loss, gradient, step and the number
    of probes.
    """
    reach = float(direction.abs().max())
    new_loss, new_gradient = probe(size)
    probes = 1
    new_slope = float(new_gradient.dot(direction))
    old = (0.0, loss, gradient, slope)
    done = False
    tries = 0
    bracket: list[tuple[float, float, Tensor, float]] = []
    while tries < max_probes:
        new = (size, new_loss, new_gradient.clone(), new_slope)
        if new_loss > loss + c1 * size * slope or (tries > 1 and new_loss >= old[1]):
            bracket = [old, new]
            break
        if abs(new_slope) <= -c2 * slope:
            bracket = [new]
            done = True
            break
        if new_slope >= 0:
            bracket = [old, new]
            break
        bounds = (size + 0.01 * (size - old[0]), size * 10)
        previous_size = size
        size = cubic_minimum(
            old[0], old[1], old[3], previous_size, new_loss, new_slope, bounds=bounds
        )
        old = new
        new_loss, new_gradient = probe(size)
        probes += 1
        new_slope = float(new_gradient.dot(direction))
        tries += 1
    if tries == max_probes:
        bracket = [(0.0, loss, gradient, slope), (size, new_loss, new_gradient, new_slope)]
    stalled = False
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not done and tries < max_probes:
        if abs(bracket[1][0] - bracket[0][0]) * reach < tolerance_change:
            break
        (x1, f1, _, g1), (x2, f2, _, g2) = bracket
        size = cubic_minimum(x1, f1, g1, x2, f2, g2)
        left, right = min(x1, x2), max(x1, x2)
        margin = 0.1 * (right - left)
        if min(right - size, size - left) < margin:
            # Twice too near an end, or beyond it: step inside.
            if stalled or size >= right or size <= left:
                size = right - margin if abs(size - right) < abs(size - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        new_loss, new_gradient = probe(size)
        probes += 1
        new_slope = float(new_gradient.dot(direction))
        tries += 1
        new = (size, new_loss, new_gradient.clone(), new_slope)
        if new_loss > loss + c1 * size * slope or new_loss >= bracket[low][1]:
            bracket[high] = new
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(new_slope) <= -c2 * slope:
                done = True
            elif new_slope * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
    best = bracket[low if len(bracket) > 1 else 0]
    return best[1], best[2], best[0], probes
