import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola import dtypes, random
from cupola.random.layout import is_contiguous, like_strides


@st.composite
def views(draw):
    """A strided tensor without overlaps: dimensions permuted, some sliced."""
    shape = draw(st.lists(st.integers(1, 5), min_size=0, max_size=4))
    base = torch.empty(shape)
    for dim in range(len(shape)):
        base = base[(slice(None),) * dim + (slice(None, None, draw(st.sampled_from([1, 1, 2]))),)]
    return base.permute(draw(st.permutations(range(len(shape)))))


@settings(max_examples=150, deadline=None)
@given(views())
def test_strides_of_empty_like(view):
    assert is_contiguous(view.shape, view.stride()) == view.is_contiguous()
    assert like_strides(view.shape, view.stride()) == torch.empty_like(view).stride()


@settings(max_examples=150, deadline=None)
@given(views(), st.sampled_from(["uniform", "normal", "randint", "bernoulli", "exponential"]))
def test_fills_follow_memory(view, function):
    ours = random.CPUGenerator(3)
    torch.manual_seed(3)
    arguments = {"strides": view.stride(), "generator": ours}
    if function == "uniform":
        expected, got = view.uniform_(), random.uniform(view.shape, **arguments)
    elif function == "normal":
        expected, got = view.normal_(), random.normal(view.shape, **arguments)
    elif function == "randint":
        expected = view.random_(0, 100)
        got = random.randint(view.shape, 0, 100, dtypes.float32, **arguments)
    elif function == "bernoulli":
        expected, got = view.bernoulli_(0.4), random.bernoulli(view.shape, 0.4, **arguments)
    else:
        expected, got = view.exponential_(), random.exponential(view.shape, **arguments)
    np.testing.assert_allclose(got, expected.numpy(), rtol=3e-7, atol=1e-6)
    assert np.array_equal(ours.get_state()[:5016], torch.get_rng_state().numpy()[:5016])


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_a_tensor_out_of_row_order_draws_normal_pairs_one_by_one(twin, pair, name):
    theirs, ours = pair(name)
    view = torch.empty(50, 40, dtype=theirs).t()
    twin.seed(81)
    for mean, std in ((0.0, 1.0), (1.3, 0.2)):
        expected = view.normal_(mean, std)
        got = random.normal(view.shape, ours, mean, std, strides=view.stride(), generator=twin.ours)
        twin.agree(expected, got)


def test_probabilities_meet_their_own_elements(twin):
    p = torch.linspace(0, 1, 2000).reshape(40, 50)
    view = torch.empty(50, 40).t()
    twin.seed(82)
    got = random.bernoulli(view.shape, p.numpy(), strides=view.stride(), generator=twin.ours)
    twin.agree(view.bernoulli_(p), got)


def test_rand_like_and_randn_like(twin):
    x = torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last)
    strides = like_strides(x.shape, x.stride())
    twin.seed(83)
    twin.agree(torch.rand_like(x), random.uniform(x.shape, strides=strides, generator=twin.ours))
    twin.agree(torch.randn_like(x), random.normal(x.shape, strides=strides, generator=twin.ours))
