"""einops on cupola's tensors: the same calls on NumPy's arrays, and gradients beside torch's."""

import numpy as np
import pytest

import cupola

einops = pytest.importorskip("einops")
torch = pytest.importorskip("torch")

GIVEN = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
REARRANGEMENTS = {
    "b c h w -> b (h w) c": {},
    "b c (h p) (w q) -> b (p q c) h w": {"p": 2, "q": 3},
    "b c h w -> (b c) 1 h w": {},
    "... h w -> ... (w h)": {},
    "b ... -> (...) b": {},
}
REPETITIONS = {
    "b c h w -> b c (h r) (w s)": {"r": 2, "s": 3},
    "b c h w -> b n c h w": {"n": 2},
}
REDUCTIONS = {"b c (h 2) w -> b c h": {}, "... h w -> ...": {}, "b c h w -> () c () ()": {}}


def gradient(package, f):
    x = package.tensor(GIVEN, requires_grad=True)
    out = f(x)
    (out * out).sum().backward()
    return out.detach().numpy(), x.grad.numpy()


def alike(f):
    """The same function of einops on tensors of both: values and gradients."""
    for mine, other in zip(gradient(cupola, f), gradient(torch, f), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("pattern", REARRANGEMENTS)
def test_rearrange(pattern):
    alike(lambda x: einops.rearrange(x, pattern, **REARRANGEMENTS[pattern]))


@pytest.mark.parametrize("pattern", REPETITIONS)
def test_repeat(pattern):
    alike(lambda x: einops.repeat(x, pattern, **REPETITIONS[pattern]))


@pytest.mark.parametrize("pattern", REDUCTIONS)
@pytest.mark.parametrize("how", ["sum", "mean", "max", "min", "prod"])
def test_reduce(pattern, how):
    alike(lambda x: einops.reduce(x, pattern, how))


def test_reduce_by_truth_and_by_a_function():
    a = GIVEN > -1
    for how in ("any", "all"):
        mine = einops.reduce(cupola.tensor(a), "b c h w -> c w", how)
        np.testing.assert_array_equal(mine.numpy(), einops.reduce(a, "b c h w -> c w", how))
    by = lambda x, axes: x.sum(tuple(axes))
    mine = einops.reduce(cupola.tensor(GIVEN), "b c h w -> w b", by)
    np.testing.assert_allclose(mine.numpy(), GIVEN.sum((1, 2)).T, rtol=1e-5)


def test_several_tensors_are_joined():
    stacked = einops.rearrange([cupola.tensor(GIVEN), cupola.tensor(GIVEN)], "n b ... -> b ... n")
    np.testing.assert_array_equal(stacked.numpy(), np.stack([GIVEN, GIVEN], -1))


def test_einsum():
    alike(lambda x: einops.einsum(x, x, "batch one h w, batch two h w -> batch one two"))
    alike(lambda x: einops.einsum(x, "b c h w -> c b"))


def test_pack_and_unpack():
    def there_and_back(x):
        packed, shapes = einops.pack([x, x[0, :, :2], x[1, 0]], "* w")
        parts = einops.unpack(packed * 2, shapes, "* w")
        assert [tuple(p.shape) for p in parts] == [(2, 3, 4, 6), (3, 2, 6), (4, 6)]
        return einops.pack(parts, "* w")[0]

    alike(there_and_back)


def test_shapes_and_arrays():
    x = cupola.tensor(GIVEN)
    assert einops.parse_shape(x, "b _ h w") == {"b": 2, "h": 4, "w": 6}
    np.testing.assert_array_equal(einops.asnumpy(x), GIVEN)
    with pytest.raises(einops.EinopsError, match="rearrange"):
        einops.rearrange(x, "b c (h 3) w -> b c h w")


def test_the_functions_for_the_array_api():
    from einops import array_api

    x = cupola.tensor(GIVEN)
    for pattern, sizes in REARRANGEMENTS.items():
        mine = array_api.rearrange(x, pattern, **sizes)
        np.testing.assert_array_equal(mine.numpy(), einops.rearrange(GIVEN, pattern, **sizes))
    for pattern, sizes in REPETITIONS.items():
        mine = array_api.repeat(x, pattern, **sizes)
        np.testing.assert_array_equal(mine.numpy(), einops.repeat(GIVEN, pattern, **sizes))
    for how in ("sum", "mean", "max", "min", "prod"):
        mine = array_api.reduce(x, "b c h w -> c", how)
        other = einops.reduce(GIVEN, "b c h w -> c", how)
        np.testing.assert_allclose(mine.numpy(), other, rtol=1e-4, atol=1e-4)
    packed, shapes = array_api.pack([x, x], "* w")
    assert [tuple(p.shape) for p in array_api.unpack(packed, shapes, "* w")] == [GIVEN.shape] * 2
    np.testing.assert_array_equal(array_api.asnumpy(x), GIVEN)


def test_layers():
    from einops.layers import torch as theirs

    from cupola_compat.einops.layers import EinMix, Rearrange, Reduce

    alike_layers = [
        (Rearrange("b c h w -> b (c h w)"), theirs.Rearrange("b c h w -> b (c h w)")),
        (
            Reduce("b c (h 2) (w 2) -> b c h w", "max"),
            theirs.Reduce("b c (h 2) (w 2) -> b c h w", "max"),
        ),
    ]
    for mine, other in alike_layers:
        np.testing.assert_array_equal(
            mine(cupola.tensor(GIVEN)).numpy(), other(torch.tensor(GIVEN)).numpy()
        )
        assert repr(mine) == repr(other)
    how = {"weight_shape": "c d", "bias_shape": "d", "c": 3, "d": 5}
    mine, other = (kind("b c h w -> b (h w) d", **how) for kind in (EinMix, theirs.EinMix))
    with torch.no_grad():
        for p, q in zip(mine.parameters(), other.parameters(), strict=True):
            q.copy_(torch.tensor(p.detach().numpy()))
    np.testing.assert_allclose(
        mine(cupola.tensor(GIVEN)).detach().numpy(),
        other(torch.tensor(GIVEN)).detach().numpy(),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    network = cupola.nn.Sequential(Rearrange("b c h w -> b (c h w)"), cupola.nn.Linear(72, 2))
    assert network(cupola.tensor(GIVEN)).shape == (2, 2)
