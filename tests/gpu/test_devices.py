"""Values that move between the GPU and the host, and what comes back along them."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola.backends.cuda import available

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]


def test_gradients_return_to_the_device_they_are_for() -> None:
    here = cupola.tensor([1.0, 2.0, 3.0], requires_grad=True)
    there = cupola.tensor([4.0, 5.0, 6.0], device="cuda", requires_grad=True)
    loss = (here.to("cuda") * there).sum() + (there.cpu() * here).sum()
    loss.backward(create_graph=True)
    assert here.grad.device.type == "cpu" and there.grad.device.type == "cuda"
    np.testing.assert_allclose(here.grad.detach().numpy(), [8.0, 10.0, 12.0])
    np.testing.assert_allclose(there.grad.detach().cpu().numpy(), [2.0, 4.0, 6.0])


def test_a_loss_on_the_host() -> None:
    layer = cupola.nn.Linear(4, 2, device="cuda")
    loss = layer(cupola.ones(3, 4, device="cuda")).cpu().square().mean()
    loss.backward()
    assert layer.weight.grad.device.type == "cuda"
    assert float(layer.weight.grad.abs().sum()) > 0


def test_random_states_live_on_the_host() -> None:
    cupola.set_default_device("cuda")
    try:
        state = cupola.get_rng_state()
        first = cupola.rand(3)
        cupola.set_rng_state(state)
        assert state.device.type == "cpu" and cupola.equal(first, cupola.rand(3))
    finally:
        cupola.set_default_device(None)
