"""How torch.nn.init and the layers' own initialisation use the draws."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cupola import dtypes, random


def kaiming_uniform(shape, a, generator):
    fan_in = math.prod(shape[1:])
    bound = math.sqrt(3.0) * math.sqrt(2.0 / (1 + a * a)) / math.sqrt(fan_in)
    return random.uniform(shape, dtypes.float32, -bound, bound, generator=generator)


def bias_uniform(shape, fan_in, generator):
    bound = 1 / math.sqrt(fan_in)
    return random.uniform(shape, dtypes.float32, -bound, bound, generator=generator)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(3, 4),
        lambda: nn.Linear(100, 30),
        lambda: nn.Conv2d(3, 8, 3),
        lambda: nn.Conv1d(6, 4, 5, groups=2),
    ],
)
def test_layers_with_weight_and_bias(twin, make, seed):
    twin.seed(seed)
    layer = make()
    weight = kaiming_uniform(layer.weight.shape, math.sqrt(5), twin.ours)
    fan_in = math.prod(layer.weight.shape[1:])
    bias = bias_uniform(layer.bias.shape, fan_in, twin.ours)
    twin.same(layer.weight, weight)
    twin.agree(layer.bias, bias)


def test_embedding_and_recurrent_layers(twin):
    twin.seed(4)
    embedding = nn.Embedding(10, 6)
    twin.agree(embedding.weight, random.normal((10, 6), generator=twin.ours))
    lstm = nn.LSTM(5, 7, num_layers=2, bidirectional=True)
    bound = 1 / math.sqrt(7)
    for parameter in lstm.parameters():
        got = random.uniform(parameter.shape, dtypes.float32, -bound, bound, generator=twin.ours)
        twin.same(parameter, got)
    twin.in_step()


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4), (50, 60)])
def test_fills(twin, pair, name, shape):
    theirs, ours = pair(name)
    empty = torch.empty(shape, dtype=theirs)
    g = {"generator": twin.ours}
    twin.seed(5)
    twin.agree(nn.init.uniform_(empty, -0.1, 0.3), random.uniform(shape, ours, -0.1, 0.3, **g))
    twin.agree(nn.init.normal_(empty, 0, 0.02), random.normal(shape, ours, 0.0, 0.02, **g))
    bound = math.sqrt(3.0) * math.sqrt(2.0 / sum(shape))
    twin.agree(nn.init.xavier_uniform_(empty), random.uniform(shape, ours, -bound, bound, **g))
    std = math.sqrt(2.0 / sum(shape))
    twin.agree(nn.init.xavier_normal_(empty), random.normal(shape, ours, 0.0, std, **g))
    std = math.sqrt(2.0) / math.sqrt(shape[0])
    expected = nn.init.kaiming_normal_(empty, mode="fan_out", nonlinearity="relu")
    twin.agree(expected, random.normal(shape, ours, 0.0, std, **g))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -0.04, 0.04),
        (1.0, 2.0, 0.0, 3.0),
        (0.0, 1.0, -0.1, 0.1),
        (0.0, 1.0, 1.5, 3.0),
    ],
)
def test_trunc_normal(twin, pair, name, mean, std, low, high):
    theirs, ours = pair(name)
    twin.seed(6)
    for shape in ((5,), (50, 60)):
        expected = nn.init.trunc_normal_(torch.empty(shape, dtype=theirs), mean, std, low, high)
        got = random.trunc_normal(shape, ours, mean, std, low, high, generator=twin.ours)
        twin.agree(expected, got)
        assert (got >= ours.np.type(low)).all()
        assert (got <= ours.np.type(high)).all()


def test_orthogonal_and_sparse_start_from_plain_draws(twin):
    twin.seed(7)
    expected = nn.init.orthogonal_(torch.empty(5, 8))
    q, r = np.linalg.qr(random.normal((5, 8), generator=twin.ours).T)
    got = (q * np.sign(np.diag(r))).T
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)
    twin.in_step()

    expected = nn.init.sparse_(torch.empty(10, 4), 0.3, std=0.5)
    got = random.normal((10, 4), std=0.5, generator=twin.ours)
    for column in range(4):
        got[random.randperm(10, generator=twin.ours)[:3], column] = 0
    twin.agree(expected, got)


def test_a_whole_model_and_its_first_step(twin):
    twin.seed(8)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(0.25), nn.Linear(30, 2))
    x = torch.randn(16, 20)
    y = model(x)

    ours = []
    for rows, columns in ((30, 20), (2, 30)):
        ours.append(kaiming_uniform((rows, columns), math.sqrt(5), twin.ours))
        ours.append(bias_uniform((rows,), columns, twin.ours))
    inputs = random.normal((16, 20), generator=twin.ours)
    hidden = np.maximum(inputs @ ours[0].T + ours[1], 0)
    hidden *= random.dropout_noise((16, 30), dtypes.float32, 0.25, generator=twin.ours)
    np.testing.assert_allclose(hidden @ ours[2].T + ours[3], y.detach().numpy(), atol=1e-5)
    twin.in_step()
