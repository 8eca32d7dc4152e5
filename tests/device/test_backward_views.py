"""Slices of arrays that run backwards in memory."""

import numpy as np
import pytest

import cupola


@pytest.mark.parametrize("dims", [(-1,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("realized", [True, False])
def test_a_corner_of_a_flipped_array(dims, realized):
    array = np.arange(3 * 8 * 7).reshape(3, 8, 7).astype("float32")
    flipped = cupola.from_numpy(array).flip(dims)
    if realized:
        flipped.numpy()
    want = np.flip(array, dims)
    for rows, columns in ((slice(0, 2), slice(5, 7)), (slice(6, 8), slice(0, 3))):
        np.testing.assert_array_equal(flipped[..., rows, columns].numpy(), want[..., rows, columns])
