"""Batches of a ``TensorDataset`` are rows taken at once: what stacking its samples gives."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola.utils.data import DataLoader, Subset, TensorDataset, default_collate


def data():
    x = cupola.arange(30.0).reshape(10, 3)
    return TensorDataset(x, cupola.arange(10))


class Doubled(TensorDataset):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return 2 * x, y


@pytest.mark.parametrize("kind", ["plain", "subset", "doubled", "numbers"])
@pytest.mark.parametrize("workers", [0, 1])
def test_batches(kind, workers):
    dataset = Doubled(*data().tensors) if kind == "doubled" else data()
    if kind == "subset":
        dataset = Subset(Subset(dataset, [9, 8, 7, 6, 5, -1]), [0, 2, 5, 3])
    if kind == "numbers":
        dataset = Subset(dataset, np.array([3, 1, 2]))
    loader = DataLoader(dataset, batch_size=3, num_workers=workers)
    found = list(loader)
    wanted = [
        default_collate([dataset[i] for i in range(k, min(k + 3, len(dataset)))])
        for k in range(0, len(dataset), 3)
    ]
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert type(a) is type(b) is list
        assert [t.tolist() for t in a] == [t.tolist() for t in b]
        assert [t.dtype for t in a] == [t.dtype for t in b]


def test_places_outside_are_refused():
    loader = DataLoader(Subset(data(), [3, 10]), batch_size=2)
    with pytest.raises(IndexError):
        next(iter(loader))
