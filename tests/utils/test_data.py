"""Data sets and loaders: the same batches in the same order as torch's, seed for seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.utils.data

import cupola
from nn.twin import PAIR, agree, given, seed

ARRAY = np.arange(46, dtype=np.float32).reshape(23, 2)
LOADERS = {
    "shuffled": lambda data, set_: data.DataLoader(set_, batch_size=4, shuffle=True),
    "last dropped": lambda data, set_: data.DataLoader(set_, batch_size=5, drop_last=True),
    "no batches": lambda data, set_: data.DataLoader(set_, batch_size=None),
    "weighted": lambda data, set_: data.DataLoader(
        set_, 4, sampler=data.WeightedRandomSampler([1.0, 2.0, 3.0] * 7 + [1.0, 1.0], 15)
    ),
    "with replacement": lambda data, set_: data.DataLoader(
        set_, 3, sampler=data.RandomSampler(set_, replacement=True, num_samples=40)
    ),
    "subset": lambda data, set_: data.DataLoader(
        set_, 3, sampler=data.SubsetRandomSampler([3, 1, 4, 15, 9, 2])
    ),
    "concatenated": lambda data, set_: data.DataLoader(
        data.ConcatDataset([set_, data.Subset(set_, [5, 1])]), 8, shuffle=True
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_loader(name):
    seed(5)
    passes = []
    for lib in PAIR:
        data = lib.utils.data
        loader = LOADERS[name](data, data.TensorDataset(given(ARRAY, lib), lib.arange(23)))
        found = [list(loader) for _ in range(2)]
        assert len(found[0]) == len(loader)
        passes.append([found, lib.rand(3)])
    agree(*passes)


def test_random_split():
    seed(2)
    found = []
    for lib in PAIR:
        parts = lib.utils.data.random_split(range(23), [0.5, 0.3, 0.2])
        found.append([part.indices for part in parts])
    assert found[0] == found[1]


class Count(cupola.utils.data.IterableDataset):
    def __iter__(self):
        return iter(range(7))


def test_iterable_data_set():
    loader = cupola.utils.data.DataLoader(Count(), batch_size=3)
    assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(ValueError, match="shuffle"):
        cupola.utils.data.DataLoader(Count(), shuffle=True)


def test_collation():
    samples = [
        {"a": i, "b": (0.5 + i, "x"), "c": np.float32(i), "d": np.full(2, i)} for i in range(3)
    ]
    expected = torch.utils.data.default_collate(samples)
    found = cupola.utils.data.default_collate(samples)
    assert list(found) == list(expected)
    for key in "acd":
        agree(expected[key], found[key])
    agree(expected["b"][0], found["b"][0])
    assert found["b"][1] == expected["b"][1]
    with pytest.raises(TypeError, match="default_collate"):
        cupola.utils.data.default_collate([object()])
