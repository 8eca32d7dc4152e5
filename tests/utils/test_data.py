"""Data sets and loaders: the same batches in the same order as torch's, seed for seed."""

from __future__ import annotations

import random

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


class Augmented(torch.utils.data.Dataset):
    """Samples with noise from all three random streams; torch's class serves both libraries."""

    def __init__(self, lib):
        self.lib = lib

    def __len__(self):
        return 11

    def __getitem__(self, index):
        noise = self.lib.rand(2) + random.random() + np.random.rand()
        return noise, index, self.lib.utils.data.get_worker_info().id


def stream(lib):
    """An iterable data set of a library that shares its numbers among the workers."""

    class Stream(lib.utils.data.IterableDataset):
        def __iter__(self):
            info = lib.utils.data.get_worker_info()
            return iter(range(info.id, 9, info.num_workers))

    return Stream()


def test_workers_have_torchs_random_streams():
    found = []
    seed(3)
    for lib in PAIR:
        loader = lib.utils.data.DataLoader(Augmented(lib), 2, shuffle=True, num_workers=2)
        found.append([list(loader), lib.rand(2)])
    agree(*found)
    found = []
    for lib in PAIR:
        loader = lib.utils.data.DataLoader(stream(lib), 2, num_workers=2)
        found.append([batch.tolist() for batch in loader])
    assert found[0] == found[1]
    assert cupola.utils.data.get_worker_info() is None
