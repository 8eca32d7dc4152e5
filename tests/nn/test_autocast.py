"""``autocast`` gives results of the dtypes that torch's does, and gradients of the weights' own."""

import pytest
import torch
from torch.testing._internal.autocast_test_lists import AutocastCPUTestLists

import cupola
from cupola import nn

_LISTS = AutocastCPUTestLists(torch.device("cpu"))
_CASES = [
    (kind, number, case[0])
    for kind in vars(_LISTS)
    for number, case in enumerate(getattr(_LISTS, kind))
]


def _ours(value):
    if isinstance(value, torch.Tensor):
        array = (value.float() if value.dtype is torch.bfloat16 else value).detach().numpy()
        return cupola.from_numpy(array).to(getattr(cupola, str(value.dtype)[6:]))
    if isinstance(value, tuple | list):
        return type(value)(_ours(v) for v in value)
    return value


def _function(framework, kind, name):
    if kind.startswith("methods"):
        return lambda x, *rest: getattr(x, name)(*rest)
    if kind.startswith("nn"):
        own = torch._C._nn if framework is torch else None
        return getattr(own, name, None) or getattr(framework.nn.functional, name, None)
    return getattr(framework, name, None)


@pytest.mark.parametrize(("kind", "number", "name"), _CASES, ids=lambda v: str(v))
@pytest.mark.filterwarnings("ignore:size_average")
def test_result_types(kind, number, name):
    if name == "margin_ranking_loss":
        pytest.skip("torch.margin_ranking_loss takes shapes that nn.functional's refuses")
    if name.startswith("_") and not name.startswith("__"):
        pytest.skip("private")
    theirs, ours = _function(torch, kind, name), _function(cupola, kind, name)
    if theirs is None or not hasattr(torch.Tensor, name) and name.startswith("__"):
        pytest.skip("not a public name")
    _, args, *rest = getattr(_LISTS, kind)[number]
    keywords = rest[0] if rest and isinstance(rest[0], dict) else {}
    with torch.autocast("cpu", torch.bfloat16):
        want = theirs(*args, **keywords)
    if ours is None:
        pytest.skip("not a public name")
    with cupola.autocast("cpu", dtype=cupola.bfloat16):
        got = ours(*_ours(args), **keywords)
    assert str(got.dtype) == str(want.dtype)


def test_gradients_have_the_weights_type():
    linear = nn.Linear(4, 3)
    with cupola.autocast("cpu", dtype=cupola.bfloat16):
        y = linear(cupola.ones(2, 4))
        with cupola.autocast("cpu", enabled=False):
            assert linear(cupola.ones(2, 4)).dtype is cupola.float32
        loss = nn.functional.mse_loss(y, cupola.zeros(2, 3))
    assert y.dtype is cupola.bfloat16
    assert loss.dtype is cupola.float32
    loss.backward()
    assert linear.weight.grad.dtype is cupola.float32
    assert linear(cupola.ones(2, 4)).dtype is cupola.float32


def test_compiled_calls_know_the_region():
    linear = cupola.compile(nn.Linear(4, 3))
    with cupola.no_grad():
        for _ in range(2):
            assert linear(cupola.ones(2, 4)).dtype is cupola.float32
            with cupola.autocast("cpu", dtype=cupola.bfloat16):
                assert linear(cupola.ones(2, 4)).dtype is cupola.bfloat16
