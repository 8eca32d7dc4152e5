"""3x3 convolutions with kept weights by Winograd's algorithm, where that takes less time.

It needs 2.25 to 4 times fewer multiplications than the direct sum, rounds about as much as one
longer sum would, and keeps the transformed weight in memory (up to 4 times the weight's size).
Images are channels-last, float32.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from cupola.backends.cpu.heavy import HeavyOps
from cupola.backends.cpu.pool import Pool
from cupola.backends.cpu.team import Team
from cupola.backends.cpu.threads import threads
from cupola.codegen.llvm import winograd as dialect
from cupola.codegen.llvm.winograd import ARGUMENTS, Form

Pads = tuple[tuple[int, int], ...]

# A rough count in multiplications of one core: transforms an input or result channel of a tile, by
# the tile's size; reading one weight that is used once, from memory or from a cache; what the
# direct sum loses.
_TAKE = {2: 250, 4: 400}
_GIVE = {2: 250, 4: 400}
_READ, _READ_NEAR = 16, 4
_NEAR = 4 << 20
_DIRECT = 1.15
# Below this gain the direct sum stays.
_WORTH = 1.25
# Bytes of transformed tiles that are worked on at a time: they should stay in the cache.
_CHUNK = 4 << 20


class Switch:
    """Whether convolutions may be computed so. ``enabled`` holds from the next plan on."""

    def __init__(self) -> None:
        self.enabled = True


switch = Switch()


def tile_for(shape: tuple[int, ...], channels: int, results: int) -> int:
    """The size of a tile, 2 or 4, or 0: the direct sum is as fast.

    ``shape`` (N, height, width) is the result's.
    """
    n, height, width = shape
    pixels = n * height * width
    pairs = channels * results
    best, found = (9 * pixels * _DIRECT + 9 * _read(9 * pairs)) * pairs / _WORTH, 0
    for m in (2, 4):
        tiles = n * -(-height // m) * -(-width // m)
        squared = (m + 2) ** 2
        cost = (squared * tiles * 1.1 + squared * _read(squared * pairs)) * pairs
        cost += tiles * (_TAKE[m] * channels + _GIVE[m] * results)
        if cost < best:
            best, found = cost, m
    return found


def _read(numbers: int) -> int:
    """What reading each of so many float32 costs."""
    return _READ if 4 * numbers > _NEAR else _READ_NEAR


def transformed(weight: np.ndarray, m: int) -> np.ndarray:
    """G w G' of weight (O, 3, 3, C): ((m + 2)^2, C, O), float32."""
    g = np.array(dialect.KERNEL[m])
    results, _, _, channels = weight.shape
    taps = weight.transpose(1, 2, 3, 0).reshape(9, -1).astype(np.float64)
    u = (np.kron(g, g) @ taps).astype(np.float32)
    return u.reshape(-1, channels, results)


class Winograd:
    """The convolutions of one process.

    Attributes:
        kept: transformed weights by key and tile size.
    """

    def __init__(self, heavy: HeavyOps, team: Team, pool: Pool) -> None:
        self.heavy = heavy
        self.team = team
        self.pool = pool
        self.kept: dict[tuple[Hashable, int], np.ndarray] = {}

    def tile(
        self, x: np.ndarray, w: np.ndarray, window: dict[str, Any], activation: str | None
    ) -> int:
        """The size of a tile for x (N, H, W, C), w (O, 3, 3, C); 0 where something else fits."""
        if (
            not switch.enabled
            or x.dtype != np.float32
            or w.shape[1:3] != (3, 3)
            or window["groups"] != 1
            or set(window["stride"]) | set(window["dilation"]) != {1}
            or activation not in (None, "relu")
            or max(max(pair) for pair in window["padding"]) > 2
        ):
            return 0
        unit = dialect.lanes(self.team.jit.target)
        if x.shape[3] % unit or w.shape[0] % unit or x.shape[0] == 0:
            return 0
        (top, bottom), (left, right) = window["padding"]
        shape = (x.shape[0], x.shape[1] + top + bottom - 2, x.shape[2] + left + right - 2)
        return tile_for(shape, x.shape[3], w.shape[0]) if min(shape) > 0 else 0

    def __call__(
        self,
        m: int,
        x: np.ndarray,
        w: np.ndarray,
        bias: np.ndarray | None,
        residual: np.ndarray | None,
        padding: Pads,
        activation: str | None,
        key: Hashable,
    ) -> np.ndarray:
        """activation(conv(x, w) + bias + residual), (N, OH, OW, O)."""
        u = self.kept.get((key, m))
        if u is None:
            u = self.kept[key, m] = transformed(w, m)
        x = np.ascontiguousarray(x)
        n, height, width, channels = x.shape
        (top, bottom), (left, right) = padding
        shape = (n, height + top + bottom - 2, width + left + right - 2, w.shape[0])
        out = self.pool.empty(shape, x.dtype)
        results, planes = shape[3], len(u)
        zeros = np.zeros(max(channels, results), x.dtype)
        spare = np.empty(threads.count * results, x.dtype)
        bias = zeros if bias is None else np.ascontiguousarray(bias)
        if residual is not None:
            residual = np.ascontiguousarray(residual)
        across = -(-shape[2] // m)
        each = -(-shape[1] // m) * across
        tiles = n * each
        chunk = max(64, _CHUNK // (4 * planes * (channels + results)))
        chunk = -(-tiles // -(-tiles // chunk))  # chunks of about equal size
        take = Form(m, False)
        give = Form(m, True, residual is not None, activation == "relu")
        common = {
            "across": across, "each": each, "zeros": zeros.ctypes.data, "spare": spare.ctypes.data,
        }  # fmt: skip
        first = {
            **common, "source": x.ctypes.data, "height": height, "width": width, "top": top,
            "left": left, "channels": channels,
        }  # fmt: skip
        last = {
            **common, "target": out.ctypes.data, "height": shape[1], "width": shape[2],
            "channels": results, "bias": bias.ctypes.data,
            "residual": 0 if residual is None else residual.ctypes.data,
        }  # fmt: skip
        for start in range(0, tiles, chunk):
            count = min(chunk, tiles - start)
            taken = self.pool.empty((planes, count, channels), x.dtype)
            self._transform(take, first, start, count, target=taken)
            products = self.pool.empty((planes, count, results), x.dtype)
            self.heavy.matmul(taken, u, out=products, weight_key=("winograd", key, m))
            self._transform(give, last, start, count, source=products)
        return out

    def forget(self, key: Hashable) -> None:
        """Drops the transformed weights kept for ``key``."""
        for m in (2, 4):
            if self.kept.pop((key, m), None) is not None:
                self.heavy.forget(("winograd", key, m))

    def _transform(
        self, form: Form, given: dict[str, int], first: int, count: int, **planes: np.ndarray
    ) -> None:
        """One transform of some tiles."""
        words = {**given, "first": first, "count": count}
        for name, array in planes.items():
            words[name] = array.ctypes.data
            words["plane"] = math.prod(array.shape[1:])
        target = self.team.jit.target
        self.team.call(form, lambda: dialect.module(form, target), ARGUMENTS, words)
