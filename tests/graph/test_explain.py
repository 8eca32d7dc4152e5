"""``cupola.explain`` tells what a call launches."""

import pytest

import cupola
from cupola import nn


def _arrays(module):
    for t in module.state_dict().values():
        t.numpy()
    return module


def test_a_call_is_listed_launch_by_launch():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    model = _arrays(nn.Sequential(*layers, nn.Linear(512, 10), nn.Softmax(-1)).eval())
    x = cupola.randn(2, 3, 8, 8)
    with cupola.no_grad():
        found = cupola.explain(model)(x)
    assert [s.operators[:1] for s in found.steps if s.kind == "library"] == [
        ("convolution_fused",),
        ("matmul_fused",),
    ]
    assert found.calls == 2
    conv = found.steps[0]
    assert conv.operators == ("convolution_fused", "bias", "relu")
    assert conv.flop == 2 * 2 * 8 * 8 * 8 * 27
    assert conv.written == 4 * 2 * 8 * 8 * 8
    last = found.steps[-1]
    assert {"exp", "amax", "sum", "div"} <= set(last.operators) and last.shapes == ((2, 10),)
    assert found.once  # the normalisation is folded into the weight once
    text = str(found)
    assert "convolution_fused bias relu" in text and "2 library calls" in text


def test_nothing_to_explain_is_an_error():
    with pytest.raises(ValueError, match="still to be computed"):
        cupola.explain(lambda: 1)()
