import numpy as np
import pytest
import torch

from cupola import dtypes, random
from cupola.random import integers

INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]


@pytest.mark.parametrize(
    "span",
    [1, 2, 10, 256, 65535, 10**6, 2**24, 2**28 - 1, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32]
    + [2**33, 2**40 + 3, 2**62, 2**63 - 1],
)
def test_randint_ranges(twin, span):
    twin.seed(21)
    for low in (0, -7):
        high = min(low + span, 2**63 - 1)
        expected = torch.randint(low, high, (3000,))
        twin.agree(expected, random.randint((3000,), low, high, generator=twin.ours))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("uint8", 0, 256),
        ("uint8", 3, 100),
        ("int8", -128, 128),
        ("int16", -5, 32768),
        ("int32", -(2**31), 2**31),
        ("int32", 0, 2**28),
        ("uint16", 0, 65536),
        ("uint32", 5, 2**32),
        ("uint64", 0, 2**63 - 1),
        ("bool", 0, 2),
        ("float16", 0, 65505),
        ("float16", -100, 65504),
        ("bfloat16", 0, 2048),
        ("bfloat16", -129, 5),
        ("bfloat16", -1025, -1000),
        ("bfloat16", 0, 2**60),
        ("float32", 0, 2**28 - 1),
        ("float32", 2**24 + 1, 2**24 + 3),
        ("float32", -(2**30) - 1, 2**30),
        ("float32", 0, 2**63 - 1),
        ("float64", 0, 2**53 + 1),
        ("float64", 0, 2**63 - 1),
        ("int64", -(2**63), 2**63 - 1),
    ],
)
@pytest.mark.filterwarnings("ignore:.*out of bounds")
def test_random_between_bounds_by_dtype(twin, pair, name, low, high):
    theirs, ours = pair(name)
    expected = torch.empty(2000, dtype=theirs)
    twin.seed(22)
    twin.agree(
        expected.random_(low, high), random.randint((2000,), low, high, ours, generator=twin.ours)
    )


@pytest.mark.parametrize("low", [0, -5, 3])
@pytest.mark.parametrize("name", ["int8", "int32", "int64", "float16", "float32"])
def test_random_without_an_upper_bound(twin, pair, name, low):
    theirs, ours = pair(name)
    twin.seed(23)
    expected = torch.empty(2000, dtype=theirs).random_(low, None)
    twin.agree(expected, random.randint((2000,), low, None, ours, generator=twin.ours))


@pytest.mark.parametrize("name", ["int64", "float32", "float64", "bfloat16"])
def test_random_over_all_of_int64(twin, pair, name):
    theirs, ours = pair(name)
    twin.seed(24)
    expected = torch.empty(2000, dtype=theirs).random_(-(2**63), None)
    twin.agree(expected, random.randint((2000,), -(2**63), None, ours, generator=twin.ours))


@pytest.mark.parametrize("name", [*INTEGERS, "bool", "float16", "bfloat16", "float32", "float64"])
def test_random_full_range(twin, pair, name):
    theirs, ours = pair(name)
    twin.seed(25)
    for size in (0, 1, 3000, 70001):
        expected = torch.empty(size, dtype=theirs).random_()
        twin.agree(expected, random.random((size,), ours, generator=twin.ours))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 63, 64, 65, 1000, 100001])
def test_randperm(twin, n):
    twin.seed(26)
    twin.agree(torch.randperm(n), random.randperm(n, generator=twin.ours))
    twin.agree(torch.randperm(n), random.randperm(n, generator=twin.ours))


@pytest.mark.parametrize(
    ("name", "n"),
    [("uint8", 256), ("int8", 128), ("int16", 32768), ("int32", 1000), ("float16", 2049)]
    + [("bfloat16", 1000), ("float32", 5000), ("float64", 5000)],
)
def test_randperm_dtypes(twin, pair, name, n):
    theirs, ours = pair(name)
    twin.seed(27)
    twin.agree(torch.randperm(n, dtype=theirs), random.randperm(n, ours, generator=twin.ours))


def test_very_long_permutations_take_64_bits_a_swap(monkeypatch):
    # Lengths from 214,748,364 on are too long for a test: at that length the rule was checked by
    # hand against torch; here it is followed on a short one.
    monkeypatch.setattr(integers, "WIDE_PERMUTATION", 100)
    got = random.randperm(1000, generator=random.CPUGenerator(1))
    draws = random.randint((1000,), -(2**63), None, generator=random.CPUGenerator(1))
    items: list[int] = []
    for i, draw in enumerate(draws.view(np.uint64).tolist()):
        items.append(i)
        j = draw % (i + 1)
        items[i], items[j] = items[j], items[i]
    assert got.tolist() == items


@pytest.mark.parametrize(
    ("name", "low", "high", "error"),
    [
        ("int64", 5, 5, RuntimeError),
        ("int64", 6, 5, RuntimeError),
        ("int8", 0, 1000, RuntimeError),
        ("int8", -1000, 10, RuntimeError),
        ("bool", 0, 3, RuntimeError),
        ("float16", 0, 70000, RuntimeError),
        ("float16", -70000, 0, RuntimeError),
    ],
)
def test_randint_refuses_what_torch_refuses(pair, name, low, high, error):
    theirs, ours = pair(name)
    with pytest.raises(error):
        torch.empty(2, dtype=theirs).random_(low, high)
    with pytest.raises(error):
        random.randint((2,), low, high, ours)


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64", "complex64"])
def test_random_full_range_refuses_what_torch_refuses(pair, name):
    theirs, ours = pair(name)
    with pytest.raises(NotImplementedError):
        torch.empty(2, dtype=theirs).random_()
    with pytest.raises(NotImplementedError):
        random.random((2,), ours)


@pytest.mark.parametrize(
    ("name", "n", "error"),
    [
        ("int64", -1, RuntimeError),
        ("uint8", 257, RuntimeError),
        ("int8", 129, RuntimeError),
        ("float16", 2050, RuntimeError),
        ("float32", 2**24 + 2, RuntimeError),
        ("bool", 10, NotImplementedError),
        ("uint16", 5, NotImplementedError),
    ],
)
def test_randperm_refuses_what_torch_refuses(pair, name, n, error):
    theirs, ours = pair(name)
    with pytest.raises(error):
        torch.randperm(n, dtype=theirs)
    with pytest.raises(error):
        random.randperm(n, ours)


def test_a_data_loader_shuffles_as_torchs_does():
    # RandomSampler seeds a generator of its own from the default one, then permutes.
    data = torch.utils.data.DataLoader(torch.arange(50), batch_size=None, shuffle=True)
    torch.manual_seed(3)
    expected = [int(x) for x in data]

    default = random.CPUGenerator(3)
    random.random((), dtypes.int64, generator=default)  # the loader's base seed
    sampler = random.CPUGenerator(int(random.random((), dtypes.int64, generator=default)))
    assert random.randperm(50, generator=sampler).tolist() == expected
