"""Generators of random numbers are copied and pickled, state and all."""

import copy
import pickle

import pytest

from nn.twin import PAIR


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_a_copy_goes_on_alike(copied):
    found = []
    for m in PAIR:
        one = m.Generator().manual_seed(3)
        m.rand(5, generator=one)
        other = copied(one)
        assert other.device == one.device and repr(other).startswith("<torch._C.Generator object")
        numbers = m.randn(4, generator=other).tolist()
        assert m.randn(4, generator=one).tolist() == numbers
        found.append(numbers)
    assert found[0] == found[1]
