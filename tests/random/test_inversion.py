import pytest
import torch

from cupola import dtypes, random

FLOATS = ["float16", "bfloat16", "float32", "float64"]
SIZES = [0, 1, 1001, 70001]


@pytest.mark.parametrize("rate", [1.0, 2.3, 1e-3, float("inf")])
@pytest.mark.parametrize("name", FLOATS)
def test_exponential(twin, pair, name, rate):
    theirs, ours = pair(name)
    twin.seed(41)
    for size in SIZES:
        expected = torch.empty(size, dtype=theirs).exponential_(rate)
        got = random.exponential((size,), ours, rate, generator=twin.ours)
        twin.agree(expected, got, tolerance=1)


@pytest.mark.parametrize("name", FLOATS)
def test_cauchy(twin, pair, name):
    theirs, ours = pair(name)
    twin.seed(42)
    for size in SIZES:
        expected = torch.empty(size, dtype=theirs).cauchy_(0.4, 0.7)
        twin.agree(expected, random.cauchy((size,), ours, 0.4, 0.7, generator=twin.ours), 1)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.999])
@pytest.mark.parametrize("name", [*FLOATS, "int8", "uint8", "int16", "int32", "int64"])
def test_geometric(twin, pair, name, p):
    theirs, ours = pair(name)
    twin.seed(43)
    for size in SIZES:
        expected = torch.empty(size, dtype=theirs).geometric_(p)
        twin.agree(expected, random.geometric((size,), ours, p, generator=twin.ours))


def test_geometric_with_a_tiny_probability(twin, pair):
    twin.seed(44)
    expected = torch.empty(10000, dtype=torch.float64).geometric_(1e-9)
    twin.agree(expected, random.geometric((10000,), dtypes.float64, 1e-9, generator=twin.ours))


@pytest.mark.parametrize(
    ("method", "arguments", "name", "error"),
    [
        ("exponential", (0.0,), "float32", RuntimeError),
        ("exponential", (float("nan"),), "float32", RuntimeError),
        ("exponential", (1.0,), "int32", RuntimeError),
        ("cauchy", (0.0, 0.0), "float32", RuntimeError),
        ("cauchy", (0.0, 1.0), "int32", RuntimeError),
        ("geometric", (0.0,), "float32", RuntimeError),
        ("geometric", (1.0,), "float32", RuntimeError),
        ("geometric", (0.5,), "bool", NotImplementedError),
        ("geometric", (0.5,), "uint16", NotImplementedError),
    ],
)
def test_refuses_what_torch_refuses(pair, method, arguments, name, error):
    theirs, ours = pair(name)
    with pytest.raises(error):
        getattr(torch.empty(2, dtype=theirs), method + "_")(*arguments)
    with pytest.raises(error):
        getattr(random, method)((2,), ours, *arguments)
