"""Inside ``autocast`` on a GPU the operators of torch's lists give torch's result types."""

from __future__ import annotations

import pytest
import torch
from torch.testing._internal.autocast_test_lists import AutocastTestLists

import cupola

LISTS = AutocastTestLists(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
CASES = [
    (kind, number, case[0])
    for kind in vars(LISTS)
    for number, case in enumerate(getattr(LISTS, kind))
]
# What torch's own tests call with arguments that the public function does not take.
INTERNAL = ("margin_ranking_loss", "cudnn_convolution", "cudnn_convolution_transpose")
# Where the public name leads to another function than the listed one.
PUBLIC = {"nll_loss2d": "nll_loss"}


def _ours(value):
    if isinstance(value, torch.Tensor):
        return cupola.from_numpy(value.cpu().numpy()).to("cuda")
    if isinstance(value, tuple | list):
        return type(value)(_ours(v) for v in value)
    return value


def _function(framework, kind, name):
    name = PUBLIC.get(name, name)
    if kind.startswith("methods"):
        return lambda x, *rest: getattr(x, name)(*rest)
    if kind.startswith("linalg"):
        return getattr(framework.linalg, name.removeprefix("linalg_"), None)
    if kind.startswith("nn") or kind == "banned":
        own = getattr(torch._C._nn, name, None) if framework is torch else None
        return own or getattr(framework.nn.functional, name, None)
    return getattr(framework, name, None) or getattr(framework.nn.functional, name, None)


def _types(value):
    if isinstance(value, tuple | list):
        return [_types(v) for v in value]
    return str(value.dtype) if hasattr(value, "dtype") else type(value).__name__


@pytest.mark.parametrize("low", ["float16", "bfloat16"])
@pytest.mark.parametrize(("kind", "number", "name"), CASES, ids=lambda v: str(v))
@pytest.mark.filterwarnings("ignore:size_average")
def test_result_types(kind, number, name, low):
    if name in INTERNAL or name.startswith("_") and not name.startswith("__"):
        pytest.skip("private")
    theirs, ours = _function(torch, kind, name), _function(cupola, kind, name)
    if theirs is None or ours is None or name.startswith("__") and not hasattr(torch.Tensor, name):
        pytest.skip("not a public name")
    case = getattr(LISTS, kind)[number]
    if name == "einsum":
        args, keywords = (case[1], *case[2]), {}
    else:
        args, keywords = case[1], case[2] if len(case) > 2 and isinstance(case[2], dict) else {}
    with torch.autocast("cuda", getattr(torch, low)):
        try:
            want = _types(theirs(*args, **keywords))
        except RuntimeError as error:
            if kind != "banned":
                pytest.skip(f"torch does not run it: {error}")
            want = None
    with cupola.autocast("cuda", getattr(cupola, low)):
        if want is None:
            with pytest.raises(RuntimeError, match="binary_cross_entropy"):
                ours(*_ours(args), **keywords)
            return
        assert _types(ours(*_ours(args), **keywords)) == want


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_interpolation(mode):
    kinds = []
    for lib in (torch, cupola):
        x = lib.ones(1, 2, 4, 4, device="cuda", dtype=lib.float16)
        with lib.autocast("cuda"):
            kinds.append(str(lib.nn.functional.interpolate(x, scale_factor=2, mode=mode).dtype))
    assert kinds[1] == kinds[0]


def test_gradient_scaler():
    curves = []
    for lib in (torch, cupola):
        lib.manual_seed(0)
        net = lib.nn.Linear(6, 3)
        with lib.no_grad():
            net.weight.copy_(lib.arange(18.0).reshape(3, 6) / 18 - 0.5)
            net.bias.zero_()
        net = net.to("cuda")
        optimizer = lib.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        scaler = lib.amp.GradScaler("cuda", init_scale=2.0**14, growth_interval=4)
        x = (lib.arange(30.0).reshape(5, 6) / 30).to("cuda")
        rows = []
        for step in range(50):
            optimizer.zero_grad()
            with lib.autocast("cuda", dtype=lib.float16):
                loss = net(x).float().square().mean()
            scaler.scale(loss).backward()
            if step in (7, 8, 20):
                net.weight.grad[0, 0] = float("inf")
            scaler.unscale_(optimizer)
            lib.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            rows.append((scaler.get_scale(), loss.item()))
        curves.append(rows)
    assert [row[0] for row in curves[1]] == [row[0] for row in curves[0]]
    for ours, theirs in zip(curves[1], curves[0], strict=True):
        assert ours[1] == pytest.approx(theirs[1], rel=2e-2, abs=1e-4)
