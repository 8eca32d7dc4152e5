import numpy as np
import pytest
import torch

import cupola
from cupola import random

FLOATS = ["float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("shape", [(300,), (3, 100), (1, 2), (0, 5)])
@pytest.mark.parametrize("name", FLOATS)
def test_with_replacement(twin, pair, name, shape):
    theirs, _ = pair(name)
    weights = torch.linspace(0.01, 1, max(int(np.prod(shape)), 1))[: int(np.prod(shape))]
    weights = weights.to(theirs).reshape(shape)
    twin.seed(61)
    for samples in (1, 2, 1000):
        expected = torch.multinomial(weights, samples, True)
        got = random.multinomial(twin.array(weights), samples, True, generator=twin.ours)
        twin.agree(expected, got)


@pytest.mark.parametrize("samples", [1, 2, 50, 100])
@pytest.mark.parametrize("name", FLOATS)
def test_without_replacement(twin, pair, name, samples):
    theirs, _ = pair(name)
    if name.endswith("16") and samples > 2:
        # Quotients of 16-bit numbers tie, and torch's top-k orders ties by its sorting network.
        return
    weights = torch.linspace(0.01, 1, 300).to(theirs).reshape(3, 100)
    twin.seed(62)
    got = random.multinomial(twin.array(weights), samples, generator=twin.ours)
    twin.agree(torch.multinomial(weights, samples), got)
    twin.agree(
        torch.multinomial(weights[0], samples),
        random.multinomial(twin.array(weights[0]), samples, generator=twin.ours),
    )


def test_weights_out_of_row_order(twin):
    weights = torch.linspace(0.01, 1, 300).reshape(3, 100).t()
    twin.seed(63)
    for replacement in (True, False):
        got = random.multinomial(
            twin.array(weights), 1, replacement, strides=weights.stride(), generator=twin.ours
        )
        twin.agree(torch.multinomial(weights, 1, replacement), got)


def test_weights_of_zero_are_never_drawn(twin):
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    twin.seed(64)
    got = random.multinomial(weights.numpy(), 500, True, generator=twin.ours)
    twin.agree(torch.multinomial(weights, 500, True), got)
    assert set(got.tolist()) == {1, 3}


@pytest.mark.parametrize(
    ("weights", "samples", "replacement"),
    [
        (torch.ones(3), 4, False),
        (torch.ones(3), 0, True),
        (torch.ones(2, 2, 2), 1, True),
        (torch.tensor(1.0), 1, True),
        (torch.ones(3, dtype=torch.int64), 1, True),
        (torch.zeros(3), 1, False),
        (torch.zeros(3), 2, True),
        (torch.tensor([1.0, -1.0]), 1, False),
        (torch.tensor([1.0, -1.0]), 2, True),
        (torch.tensor([1.0, float("inf")]), 1, False),
        (torch.tensor([1.0, float("nan")]), 2, True),
    ],
)
def test_refuses_what_torch_refuses(weights, samples, replacement):
    with pytest.raises(RuntimeError):
        torch.multinomial(weights, samples, replacement)
    with pytest.raises(RuntimeError):
        random.multinomial(weights.numpy(), samples, replacement)


def test_weights_are_one_row_or_several():
    for shape in ((), (1, 2, 3)):
        for lib in (torch, cupola):
            with pytest.raises(RuntimeError, match="prob_dist must be 1 or 2 dim"):
                lib.multinomial(lib.ones(shape), 1)
