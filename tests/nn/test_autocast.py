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


def _states(lib):
    """Whether and in what type autocast is on, along regions in regions."""
    rows = []

    def note():
        rows.append(
            [lib.is_autocast_enabled("cpu"), str(lib.get_autocast_dtype("cpu"))]
            + [lib.is_autocast_cache_enabled(), str(lib.ones(2, 2).mm(lib.ones(2, 2)).dtype)]
        )

    note()
    outer = lib.autocast("cpu", dtype=lib.float16, cache_enabled=False)
    with outer:
        note()
        with lib.autocast("cpu", enabled=False):
            note()
            with lib.amp.autocast("cpu"):
                note()
            with lib.cpu.amp.autocast():
                note()
        note()
        lib.set_autocast_enabled("cpu", False)
        note()
    note()

    @lib.autocast("cpu", dtype=lib.bfloat16)
    def inside():
        note()
        with outer:
            note()
        note()

    inside()
    lib.set_autocast_dtype("cpu", lib.float16)
    note()
    with lib.autocast("cpu"):
        note()
        with pytest.raises(ValueError, match="own"), lib.autocast("cpu", dtype=lib.bfloat16):
            note()
            raise ValueError("own")
        note()
    lib.set_autocast_dtype("cpu", lib.bfloat16)
    lib.set_autocast_enabled("cpu", True)
    note()
    lib.set_autocast_enabled("cpu", False)
    note()
    return rows


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_regions_in_regions():
    assert _states(cupola) == _states(torch)


@pytest.mark.parametrize(
    "wrong", [lambda a: a(3), lambda a: a("cpu")(3)], ids=["device", "function"]
)
def test_errors(wrong):
    found = []
    for lib in (torch, cupola):
        with pytest.raises((ValueError, RuntimeError, TypeError)) as caught:
            wrong(lib.autocast)
        found.append((type(caught.value), str(caught.value)[:8]))
    assert found[1] == found[0]


def test_unsupported_dtype_is_told():
    for lib in (torch, cupola):
        with pytest.warns(UserWarning, match="In CPU autocast, but the target dtype"):
            region = lib.autocast("cpu", dtype=lib.float64)
        with region:
            assert not lib.is_autocast_enabled("cpu")


def _custom(lib, cast):
    """An autograd function inside a region: dtypes that forward and backward see and give."""
    seen = []

    class Product(lib.autograd.Function):
        @staticmethod
        @lib.amp.custom_fwd(device_type="cpu", cast_inputs=getattr(lib, cast) if cast else None)
        def forward(ctx, a, parts):
            ctx.save_for_backward(a, parts[0])
            seen.append([str(a.dtype), str(parts[0].dtype), lib.is_autocast_enabled("cpu")])
            return a.mm(parts[0])

        @staticmethod
        @lib.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            seen.append([str(g.dtype), lib.is_autocast_enabled("cpu"), str(g.mm(b.t()).dtype)])
            return g.to(a.dtype).mm(b.t().to(a.dtype)), None

    a = lib.ones(2, 2, requires_grad=True)
    for enabled in (True, False):
        with lib.autocast("cpu", dtype=lib.bfloat16, enabled=enabled):
            out = Product.apply(a, [lib.ones(2, 2)])
        seen.append(str(out.dtype))
        out.sum().backward()
        seen.append(str(a.grad.dtype))
    return seen


@pytest.mark.parametrize("cast", [None, "float32", "float16"])
def test_custom_functions(cast):
    assert _custom(cupola, cast) == _custom(torch, cast)


def test_a_parameter_is_cast_once_a_region():
    linear = nn.Linear(3, 3)
    seen = []
    for cached in (True, False):
        with cupola.autocast("cpu", cache_enabled=cached):
            linear(cupola.ones(1, 3))
            linear(cupola.ones(1, 3))
            seen.append(len(cupola.ir.mode.mode.cast_cache))
            cupola.clear_autocast_cache()
            assert not cupola.ir.mode.mode.cast_cache
    assert seen == [2, 0]
    with cupola.autocast("cpu"):
        linear(cupola.ones(1, 3)).sum().backward()
        with cupola.no_grad():
            linear.weight.zero_()
            linear.bias.zero_()
        assert linear(cupola.ones(1, 3)).tolist() == [[0.0, 0.0, 0.0]]
        linear(cupola.ones(1, 3)).sum().backward()
    assert linear.weight.grad.tolist() == [[2.0] * 3] * 3
    assert cupola.ir.mode.mode.cast_cache is None


def test_unknown_device():
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'nowhere'"):
        cupola.autocast("nowhere")
