"""A torch generator and one of ours, drawn from in step."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from cupola import dtypes
from cupola.random import CPUGenerator

# The reference values are those of torch's AVX2 build. Other builds round transcendental functions
# and fused operations differently in the last places.
EXACT = torch.backends.cpu.get_cpu_capability() == "AVX2"


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's values as a contiguous array of the matching dtype."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    """The largest number of floating-point numbers between corresponding elements."""
    if a.size == 0:
        return 0
    kind = {2: np.int16, 4: np.int32, 8: np.int64}[a.dtype.itemsize]

    def place(x: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(x).view(kind).astype(object)
        return np.where(bits < 0, int(np.iinfo(kind).min) - bits, bits)

    return max(int(d) for d in np.abs(place(a) - place(b)).ravel())


def assert_close(got: np.ndarray, want: np.ndarray, dtype: np.dtype) -> None:
    """Equal within some roundings, but for a few numbers that fell on the other side of a bound."""
    epsilon = float(ml_dtypes.finfo(dtype).eps)
    scale = float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want)))
    close = np.isclose(got, want, rtol=8 * epsilon, atol=8 * epsilon * scale, equal_nan=True)
    assert np.count_nonzero(~close) <= 1 + close.size // 1000


class Twin:
    """Both generators; ``agree`` compares what they gave and that they stand at the same place."""

    array = staticmethod(as_numpy)

    def __init__(self) -> None:
        self.torch = torch.default_generator
        self.ours = CPUGenerator()

    def seed(self, seed: int) -> Twin:
        self.torch.manual_seed(seed)
        self.ours.manual_seed(seed)
        return self

    def agree(self, expected: torch.Tensor, got: np.ndarray, tolerance: int = 0) -> None:
        """What was drawn is the same, and so is what will be drawn next."""
        self.same(expected, got, tolerance)
        self.in_step()

    def same(self, expected: torch.Tensor, got: np.ndarray, tolerance: int = 0) -> None:
        """Equal in shape, dtype and values, to ``tolerance`` ulp where torch's build is AVX2."""
        want = as_numpy(expected)
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        if want.dtype.kind == "c":
            want, got = want.view(want.real.dtype), np.ascontiguousarray(got).view(got.real.dtype)
        if not np.array_equal(want, got, equal_nan=want.dtype.kind == "f"):
            assert want.dtype.kind in "fV", (want, got)
            if EXACT:
                distance = ulps(want, got)
                assert distance <= tolerance, f"{distance} ulp apart"
            else:
                assert_close(got.astype(np.float64), want.astype(np.float64), want.dtype)

    def in_step(self) -> None:
        """The states are the same, byte for byte."""
        theirs, ours = self.torch.get_state().numpy(), self.ours.get_state()
        if not EXACT:  # the leftover normal number may differ in its last place
            theirs, ours = theirs[:5016], ours[:5016]
        assert np.array_equal(theirs, ours), "the generators have fallen out of step"


@pytest.fixture
def twin() -> Twin:
    return Twin()


@pytest.fixture
def pair():
    """torch's and our dtype of one name."""
    return lambda name: (getattr(torch, name), getattr(dtypes, name))
