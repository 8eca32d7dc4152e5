"""Recurrent networks inside ``autocast`` on the CPU: types and values of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola

NETWORKS = {
    "GRU": lambda m: m.nn.GRU(3, 4, 2, bidirectional=True),
    "RNN": lambda m: m.nn.RNN(3, 4),
    "RNN without bias": lambda m: m.nn.RNN(3, 4, nonlinearity="relu", bias=False),
    "LSTM": lambda m: m.nn.LSTM(3, 4, 2),
    "LSTM with projections": lambda m: m.nn.LSTM(3, 4, proj_size=2),
    "GRUCell": lambda m: m.nn.GRUCell(3, 4),
    "RNNCell": lambda m: m.nn.RNNCell(3, 4),
    "LSTMCell": lambda m: m.nn.LSTMCell(3, 4),
}


def _flat(out):
    return [x for part in out for x in _flat(part)] if isinstance(out, tuple | list) else [out]


def _run(m, build, low, lowered, cell):
    m.manual_seed(0)
    net = build(m)
    x = m.randn(*((5, 3) if cell else (4, 5, 3)), requires_grad=True)
    with m.autocast("cpu", dtype=getattr(m, low)):
        out = _flat(net(x.to(getattr(m, low)) if lowered else x))
    sum(o.float().sum() for o in out).backward()
    return out, [x.grad, *[p.grad for p in net.parameters()]]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("lowered", [True, False])
def test_as_torch(name, low, lowered):
    """The input may be what a convolution gave, in the region's dtype, or float32."""
    cell = name.endswith("Cell")
    ours = _run(cupola, NETWORKS[name], low, lowered, cell)
    if name == "LSTM" and not lowered:
        # torch has one operator for it, which oneDNN does not offer on every machine.
        assert {str(o.dtype) for o in ours[0]} == {f"torch.{low}"}
        return
    theirs = _run(torch, NETWORKS[name], low, lowered, cell)
    assert [str(o.dtype) for o in ours[0]] == [str(o.dtype) for o in theirs[0]]
    room = 2e-2 if low == "bfloat16" else 3e-3
    for a, b in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
        a, b = a.detach().float().numpy(), b.detach().float().numpy()
        np.testing.assert_allclose(a, b, atol=room * max(1, np.abs(b).max()), rtol=0)


def test_outside_types_are_checked():
    """Without autocast other types than the weights' are refused."""
    with pytest.raises(ValueError, match="does not match weight dtype"):
        cupola.nn.GRU(3, 4)(cupola.zeros(2, 1, 3, dtype=cupola.bfloat16))
