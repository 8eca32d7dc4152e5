import numpy as np
import pytest
import torch

from cupola import dtypes, random

FLOATS = ["float16", "bfloat16", "float32", "float64"]
# 16 numbers are made together; an uneven size draws its last 16 again; blocks end at 65,536.
SIZES = [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 4097, 65536, 65551]


@pytest.mark.parametrize("name", [*FLOATS, "complex64", "complex128"])
@pytest.mark.parametrize("seed", [0, 31])
def test_randn(twin, pair, name, seed):
    theirs, ours = pair(name)
    twin.seed(seed)
    for size in SIZES:
        twin.agree(
            torch.randn(size, dtype=theirs), random.normal((size,), ours, generator=twin.ours)
        )


@pytest.mark.parametrize(("mean", "std"), [(2.1, 3.3), (0.0, 0.02), (-5.0, 0.0), (1e-3, 1e4)])
@pytest.mark.parametrize("name", FLOATS)
def test_normal_with_mean_and_std(twin, pair, name, mean, std):
    theirs, ours = pair(name)
    twin.seed(32)
    for size in (3, 16, 23, 5000):
        expected = torch.empty(size, dtype=theirs).normal_(mean, std)
        twin.agree(expected, random.normal((size,), ours, mean, std, generator=twin.ours))


def test_a_million_float32_normals_are_equal_bit_for_bit(twin):
    twin.seed(33)
    twin.agree(
        torch.randn(1000, 1000), random.normal((1000, 1000), generator=twin.ours), tolerance=1
    )


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("size", [3, 20])
def test_complex_numbers_of_half_precision(twin, size):
    twin.seed(37)
    for theirs, ours in ((torch.rand, random.uniform), (torch.randn, random.normal)):
        expected = torch.view_as_real(theirs(size, dtype=torch.complex32))
        got = ours((size,), dtypes.complex32, generator=twin.ours)
        twin.agree(expected, got.view(np.float16).reshape(size, 2))


def test_short_draws_share_pairs_across_dtypes_and_sizes(twin, pair):
    twin.seed(34)
    for size, name in [(1, "float32"), (2, "float64"), (15, "float16"), (16, "float32")] * 3:
        theirs, ours = pair(name)
        twin.agree(
            torch.randn(size, dtype=theirs), random.normal((size,), ours, generator=twin.ours)
        )


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (torch.linspace(-1, 1, 20), torch.linspace(0, 2, 20)),
        (torch.linspace(-1, 1, 20), 1.7),
        (0.3, torch.linspace(0, 2, 20)),
        (torch.linspace(-1, 1, 20)[:, None], torch.linspace(0, 2, 5)),
        (torch.linspace(-1, 1, 20).double(), torch.linspace(0, 2, 20)),
        (torch.linspace(-1, 1, 20), torch.linspace(0, 2, 20).double()),
        (torch.linspace(-1, 1, 20).half(), torch.linspace(0, 2, 20).half()),
        (torch.linspace(-1, 1, 20).bfloat16(), 0.37),
        (0.37, torch.linspace(0, 2, 20).bfloat16()),
        (torch.tensor(1.5), torch.linspace(0, 2, 20)),
        (torch.linspace(-1, 1, 20).half(), torch.tensor(0.37, dtype=torch.float64)),
        (torch.linspace(-1, 1, 20).reshape(4, 5).t(), torch.ones(5, 4)),
        (torch.zeros(3), torch.ones(3)),
        (torch.zeros(0), torch.ones(0)),
    ],
)
def test_normal_with_tensor_arguments(twin, mean, std):
    arguments = [twin.array(x) if isinstance(x, torch.Tensor) else x for x in (mean, std)]
    twin.seed(35)
    twin.agree(torch.normal(mean, std), random.normal_like(*arguments, generator=twin.ours))


@pytest.mark.parametrize("name", FLOATS)
def test_log_normal(twin, pair, name):
    theirs, ours = pair(name)
    twin.seed(36)
    for size in (1, 16, 1001):
        expected = torch.empty(size, dtype=theirs).log_normal_(0.4, 0.7)
        got = random.log_normal((size,), ours, 0.4, 0.7, generator=twin.ours)
        twin.agree(expected, got, tolerance=1)


@pytest.mark.parametrize(
    ("call", "ours", "error"),
    [
        (
            lambda: torch.empty(2).normal_(0, -1),
            lambda: random.normal((2,), std=-1.0),
            RuntimeError,
        ),
        (
            lambda: torch.empty(0).normal_(0, -1),
            lambda: random.normal((0,), std=-1.0),
            RuntimeError,
        ),
        (
            lambda: torch.randn(2, dtype=torch.int32),
            lambda: random.normal((2,), dtypes.int32),
            NotImplementedError,
        ),
        (
            lambda: torch.normal(torch.zeros(2), torch.tensor([1.0, -1.0])),
            lambda: random.normal_like(np.zeros(2, np.float32), np.array([1, -1], np.float32)),
            RuntimeError,
        ),
        (
            lambda: torch.normal(torch.zeros(2), -1.0),
            lambda: random.normal_like(np.zeros(2, np.float32), -1.0),
            RuntimeError,
        ),
        (
            lambda: torch.empty(2).log_normal_(0, 0),
            lambda: random.log_normal((2,), std=0.0),
            RuntimeError,
        ),
        (
            lambda: torch.empty(2, dtype=torch.int64).log_normal_(),
            lambda: random.log_normal((2,), dtypes.int64),
            NotImplementedError,
        ),
    ],
)
def test_refuses_what_torch_refuses(call, ours, error):
    with pytest.raises(error):
        call()
    with pytest.raises(error):
        ours()
