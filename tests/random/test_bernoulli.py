import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cupola import dtypes, random

FLOATS = ["float16", "bfloat16", "float32", "float64"]
OUTPUTS = [*FLOATS, "uint8", "int8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("name", OUTPUTS)
def test_scalar_probability(twin, pair, name, p):
    theirs, ours = pair(name)
    twin.seed(51)
    for size in (0, 1, 1000, 70001):
        expected = torch.empty(size, dtype=theirs).bernoulli_(p)
        twin.agree(expected, random.bernoulli((size,), p, ours, generator=twin.ours))


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_probability_per_element(twin, pair, name, kind):
    theirs, ours = pair(name)
    p = torch.linspace(0, 1, 50).to(getattr(torch, kind))
    twin.seed(52)
    expected = torch.empty(40, 50, dtype=theirs).bernoulli_(p)
    got = random.bernoulli((40, 50), twin.array(p), ours, generator=twin.ours)
    twin.agree(expected, got)


@pytest.mark.parametrize("name", FLOATS)
def test_torch_bernoulli(twin, pair, name):
    theirs, ours = pair(name)
    p = torch.linspace(0, 1, 2000).to(theirs).reshape(40, 50).t()
    twin.seed(53)
    got = random.bernoulli((50, 40), twin.array(p), ours, generator=twin.ours)
    twin.agree(torch.bernoulli(p), got)  # contiguous, whatever the layout of p


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", FLOATS)
def test_dropout(twin, pair, name, p):
    theirs, ours = pair(name)
    x = (torch.arange(2000) / 7 - 99).to(theirs).reshape(40, 50)
    twin.seed(54)
    noise = random.dropout_noise((40, 50), ours, p, generator=twin.ours)
    twin.agree(F.dropout(x, p), twin.array(x) * noise)


def test_dropout_follows_the_memory_of_its_input(twin):
    x = torch.randn(3, 4, 5, 6)
    twin.seed(55)
    for view in (
        x.transpose(1, 2),
        x.permute(3, 0, 2, 1),
        x.to(memory_format=torch.channels_last),
        x[:, ::2].transpose(0, 3),
        x[:, :1].expand(3, 4, 5, 6),
        x.flatten(1).t(),
    ):
        strides = random.like_strides(view.shape, view.stride())
        assert strides == torch.empty_like(view).stride()
        noise = random.dropout_noise(
            view.shape, dtypes.float32, 0.4, strides=strides, generator=twin.ours
        )
        twin.agree(F.dropout(view, 0.4), twin.array(view) * noise)


@pytest.mark.parametrize("function", [F.dropout1d, F.dropout2d, F.dropout3d])
def test_dropout_of_whole_channels(twin, function):
    shape = (3, 4, *[5] * (int(function.__name__[-2])))
    x = torch.randn(shape)
    twin.seed(56)
    noise = random.dropout_noise(
        random.feature_shape(shape), dtypes.float32, 0.4, generator=twin.ours
    )
    twin.agree(function(x, 0.4), x.numpy() * noise)
    with pytest.raises(RuntimeError):
        random.feature_shape((3,))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", FLOATS)
def test_alpha_dropout(twin, pair, name, p):
    theirs, ours = pair(name)
    x = (torch.arange(240) / 7 - 9).to(theirs).reshape(4, 5, 12)
    twin.seed(57)
    noise, shift = random.alpha_dropout_noise(x.shape, ours, p, generator=twin.ours)
    twin.agree(F.alpha_dropout(x, p, True), (twin.array(x) * noise + shift).astype(ours.np))
    shape = random.feature_shape(x.shape)
    noise, shift = random.alpha_dropout_noise(shape, ours, p, generator=twin.ours)
    expected = F.feature_alpha_dropout(x, p, True)
    twin.agree(expected, (twin.array(x) * noise + shift).astype(ours.np))


def test_refuses_what_torch_refuses():
    with pytest.raises(RuntimeError):
        torch.empty(2).bernoulli_(1.5)
    with pytest.raises(RuntimeError):
        random.bernoulli((2,), 1.5)
    with pytest.raises(RuntimeError):
        torch.bernoulli(torch.tensor([1.5]))
    with pytest.raises(RuntimeError):
        random.bernoulli((1,), np.array([1.5], np.float32))
    with pytest.raises(RuntimeError):
        random.bernoulli((1,), np.array([np.nan]))
    with pytest.raises(NotImplementedError):
        torch.bernoulli(torch.tensor([1, 0]))
    with pytest.raises(NotImplementedError):
        random.bernoulli((2,), np.array([1, 0]))
    with pytest.raises(NotImplementedError):
        torch.empty(2, dtype=torch.uint16).bernoulli_(0.5)
    with pytest.raises(NotImplementedError):
        random.bernoulli((2,), 0.5, dtypes.uint16)
    with pytest.raises(ValueError, match="between 0 and 1"):
        F.dropout(torch.ones(2), 1.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        random.dropout_noise((2,), dtypes.float32, 1.5)
