import copy
import pickle
import threading

import numpy as np
import pytest
import torch

from cupola import dtypes, random
from cupola.random import CPUGenerator


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 + 7, 2**63, 2**64 - 1, -1, -(2**63)])
def test_seeds_start_the_same_stream(seed):
    theirs, ours = torch.Generator(), CPUGenerator()
    theirs.manual_seed(seed)
    ours.manual_seed(seed)
    assert ours.initial_seed() == theirs.initial_seed()
    assert np.array_equal(theirs.get_state().numpy(), ours.get_state())
    expected = torch.randint(0, 2**63 - 1, (1000,), generator=theirs).numpy()
    assert np.array_equal(random.randint((1000,), 0, 2**63 - 1, generator=ours), expected)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 10**30])
def test_seeds_beyond_64_bits_are_refused(seed):
    with pytest.raises(ValueError):
        torch.Generator().manual_seed(seed)
    with pytest.raises(ValueError, match="64 bits"):
        CPUGenerator().manual_seed(seed)


def test_an_unseeded_generator_is_torchs():
    assert np.array_equal(torch.Generator().get_state().numpy(), CPUGenerator().get_state())


@pytest.mark.parametrize("drawn", [0, 1, 5, 623, 624, 625, 1247, 1248, 1249, 5000])
def test_states_go_both_ways(drawn):
    theirs = torch.Generator()
    theirs.manual_seed(9)
    torch.randint(0, 100, (drawn,), generator=theirs)
    ours = CPUGenerator()
    ours.set_state(theirs.get_state().numpy())
    assert np.array_equal(theirs.get_state().numpy(), ours.get_state())
    assert ours.initial_seed() == 9

    random.randint((drawn + 3,), 0, 100, generator=ours)
    theirs.set_state(torch.from_numpy(ours.get_state()))
    expected = torch.rand(2000, generator=theirs).numpy()
    assert np.array_equal(random.uniform((2000,), generator=ours), expected)


def test_the_leftover_normal_number_is_part_of_the_state(twin):
    twin.seed(4).agree(torch.randn(3), random.normal((3,), generator=twin.ours))
    assert twin.ours.next_double_normal is not None
    again = CPUGenerator()
    again.set_state(twin.torch.get_state().numpy())
    assert again.next_double_normal == twin.ours.next_double_normal
    twin.ours = again
    twin.agree(torch.randn(4), random.normal((4,), generator=twin.ours))
    twin.seed(4)  # seeding forgets it
    twin.agree(torch.randn(4), random.normal((4,), generator=twin.ours))


def test_torchs_own_saved_state_may_hold_a_float_leftover():
    state = CPUGenerator(3).get_state()
    state[5048:5052] = np.frombuffer(np.float32(1.25).tobytes(), np.uint8)
    state[5052] = 1
    ours, theirs = CPUGenerator(), torch.Generator()
    ours.set_state(state)
    theirs.set_state(torch.from_numpy(state))
    assert ours.next_float_normal == 1.25
    assert np.array_equal(ours.get_state(), theirs.get_state().numpy())


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (np.zeros(5056, np.uint8), RuntimeError),
        (np.zeros(5055, np.uint8), RuntimeError),
        (np.zeros(5056, np.int8), TypeError),
    ],
)
def test_damaged_states_are_refused(state, error):
    with pytest.raises(error):
        torch.Generator().set_state(torch.from_numpy(state))
    generator = CPUGenerator(1)
    before = generator.get_state()
    with pytest.raises(error):
        generator.set_state(state)
    assert np.array_equal(generator.get_state(), before)


@pytest.mark.parametrize(
    "duplicate", [CPUGenerator.clone, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_copies_are_independent(duplicate):
    generator = CPUGenerator(5)
    random.normal((3,), generator=generator)
    twin = duplicate(generator)
    assert np.array_equal(twin.get_state(), generator.get_state())
    expected = random.uniform((7,), generator=generator)
    assert not np.array_equal(twin.get_state(), generator.get_state())
    assert np.array_equal(random.uniform((7,), generator=twin), expected)


def test_seed_is_unpredictable_and_reported():
    generator = CPUGenerator(0)
    first, second = generator.seed(), generator.seed()
    assert first != second
    assert generator.initial_seed() == second
    assert np.array_equal(generator.get_state(), CPUGenerator(second).get_state())


def test_fork_rng_puts_the_default_generator_back():
    random.manual_seed(8)
    with random.fork_rng():
        random.normal((5,))
        random.manual_seed(1)
    with pytest.raises(KeyError), random.fork_rng():
        random.uniform((5,))
        raise KeyError
    assert random.initial_seed() == 8
    with random.fork_rng(enabled=False):
        inside = random.uniform((4,))
    torch.manual_seed(8)
    assert np.array_equal(inside, torch.rand(4).numpy())
    assert np.array_equal(random.uniform((4,)), torch.rand(4).numpy())


def test_threads_share_a_generator_without_losing_numbers():
    generator = CPUGenerator(2)
    parts: list[np.ndarray] = []

    def draw() -> None:
        for _ in range(50):
            parts.append(random.randint((100,), 0, 2**20, generator=generator))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drawn = np.sort(np.concatenate(parts))
    whole = np.sort(random.randint((20000,), 0, 2**20, generator=CPUGenerator(2)))
    assert np.array_equal(drawn, whole)


def test_the_default_dtype_of_each_function():
    assert random.uniform((2,)).dtype == np.float32
    assert random.randint((2,), 0, 5).dtype == np.int64
    assert random.randperm(4).dtype == np.int64
    assert random.normal((), dtypes.float64).shape == ()
