"""What a GPU without room says."""

import pytest

import cupola


def test_an_error_names_the_largest_tensors():
    held = cupola.zeros(1 << 28, device="cuda").add(1).realize()
    with pytest.raises(cupola.OutOfMemoryError) as found:
        cupola.zeros(1 << 42, dtype=cupola.int8, device="cuda").add(1).realize()
    text = str(found.value)
    assert "1.00 GiB" in text and f"[{held.numel()}]" in text and "cuda: " in text
