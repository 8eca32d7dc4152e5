"""CUDA graphs give what their launches give one by one."""

import pathlib

import numpy as np
import pytest

import cupola
import harness
from cupola import nn


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    harness.convert(harness.FIXTURES / "models", pathlib.Path(folder))
    return harness.load(folder, "resnet", "graph_resnet")


@pytest.mark.parametrize("batch", [1, 8, 16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_replays_of_a_residual_network(resnet, batch, dtype):
    cupola.manual_seed(0)
    model = resnet.resnet50(num_classes=10).eval().cuda().to(getattr(cupola, dtype))
    compiled = cupola.compile(model)
    tolerance = 2e-3 if dtype == "float32" else 1e-2  # scales are folded into 16-bit weights
    with cupola.no_grad():
        for _ in range(6):
            x = cupola.randn(batch, 3, 224, 224).cuda().to(getattr(cupola, dtype))
            want = model(x).float().cpu().numpy()
            results = [compiled(x).float().cpu().numpy() for _ in range(3)]
            assert all(np.array_equal(r, results[-1]) for r in results[1:])
            for got in results:
                assert np.linalg.norm(got - want) <= tolerance * np.linalg.norm(want)
    assert not compiled._replayed.reason


def test_a_training_step_is_one_graph():
    def run(compiled):
        cupola.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 4))
        model = model.cuda()
        optimizer = cupola.optim.AdamW(model.parameters(), 0.01)
        schedule = cupola.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        call = cupola.compile(step) if compiled else step
        losses = []
        for _ in range(10):
            x, y = cupola.randn(8, 3, 8, 8).cuda(), cupola.randint(0, 4, (8,)).cuda()
            losses.append(call(x, y).item())
            schedule.step()
        return losses, call

    want, _ = run(False)
    got, call = run(True)
    assert not call.reason
    np.testing.assert_allclose(got, want, rtol=1e-3)
