"""Signs that come from numbers: LLVM's own copysign of halves asked for a function that is not
there, and the process ended.
"""

import numpy as np
import pytest

import cupola


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (8,), (37,)], ids=str)
def test_copysign_of_a_number(dtype, shape):
    x = cupola.full(shape, 1.5, dtype=getattr(cupola, dtype))
    for sign in (-2.4, 2.4, -0.0, 0.0):
        expected = np.full(shape, np.copysign(1.5, sign))
        np.testing.assert_array_equal(cupola.copysign(x, sign).double().numpy(), expected)


def test_sign_of_zero_and_nan():
    x = cupola.tensor([0.0, float("nan"), float("inf"), 1.0])
    found = cupola.copysign(x, cupola.tensor([-1.0, -1.0, -1.0, float("nan")])).numpy()
    assert np.signbit(found).tolist() == [True, True, True, False]
