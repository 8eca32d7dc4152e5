import numpy as np
import pytest
import torch

from cupola import dtypes, random

FLOATS = ["float16", "bfloat16", "float32", "float64"]
SIZES = [0, 1, 7, 16, 100, 624, 70001]


@pytest.mark.parametrize("name", [*FLOATS, "complex64", "complex128"])
def test_rand(twin, pair, name):
    theirs, ours = pair(name)
    twin.seed(11)
    for size in SIZES:
        twin.agree(
            torch.rand(size, dtype=theirs), random.uniform((size,), ours, generator=twin.ours)
        )


@pytest.mark.parametrize(
    "bounds", [(-1.3, 2.2), (-0.1, 0.1), (1000.0, 1003.0), (5.0, 5.0), (0.0, 3.0), (-2e-7, 5e4)]
)
@pytest.mark.parametrize("name", FLOATS)
def test_uniform_rounds_once_and_stays_below_its_bound(twin, pair, name, bounds):
    theirs, ours = pair(name)
    twin.seed(12)
    for size in (1, 100, 70001):
        expected = torch.empty(size, dtype=theirs).uniform_(*bounds)
        twin.agree(expected, random.uniform((size,), ours, *bounds, generator=twin.ours))
    values = random.uniform((100000,), ours, *bounds)
    if bounds[0] < bounds[1]:
        assert (values != ours.np.type(bounds[1])).all()


def test_uniform_where_half_of_the_float32_numbers_round_to_the_bound(twin):
    twin.seed(13)
    expected = torch.empty(5000).uniform_(1e8, 1e8 + 8)
    twin.agree(expected, random.uniform((5000,), dtypes.float32, 1e8, 1e8 + 8, generator=twin.ours))


@pytest.mark.parametrize(
    ("name", "bounds", "error"),
    [
        ("float32", (1.0, 0.0), RuntimeError),
        ("float32", (float("nan"), 1.0), RuntimeError),
        ("float32", (0.0, float("inf")), RuntimeError),
        ("float32", (-3e38, 3e38), RuntimeError),
        ("float16", (0.0, 1e5), RuntimeError),
        ("int32", (0.0, 1.0), NotImplementedError),
        ("bool", (0.0, 1.0), NotImplementedError),
    ],
)
def test_uniform_refuses_what_torch_refuses(pair, name, bounds, error):
    theirs, ours = pair(name)
    with pytest.raises(error):
        torch.empty(2, dtype=theirs).uniform_(*bounds)
    with pytest.raises(error):
        random.uniform((2,), ours, *bounds)


def test_ten_million_uniforms_are_quick():
    generator = random.CPUGenerator(0)
    values = random.uniform((10_000_000,), generator=generator)
    torch.manual_seed(0)
    assert np.array_equal(values, torch.rand(10_000_000).numpy())
