"""Arguments in other forms: 0-d tensors as integers, NumPy's names, torch's checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola

COUNTS = {
    "narrow": lambda t, x, n: x.narrow(1, n(1), n(2)),
    "split": lambda t, x, n: t.split(x, n(2), 2)[1],
    "chunk": lambda t, x, n: t.chunk(x, n(2), 2)[1],
    "roll": lambda t, x, n: t.roll(x, n(1), 1),
    "rolls": lambda t, x, n: t.roll(x, (n(1), 2), (0, 1)),
    "unfold": lambda t, x, n: x.unfold(2, n(2), n(1)),
    "linspace": lambda t, x, n: t.linspace(0.0, 1.0, n(5)),
    "eye": lambda t, x, n: t.eye(n(3), n(2)),
    "topk": lambda t, x, n: x.topk(n(2))[0],
    "diagonal": lambda t, x, n: t.diagonal(x, n(1), 1, 2),
    "diag_embed": lambda t, x, n: t.diag_embed(x, n(1)),
    "sum": lambda t, x, n: x.sum(n(1)),
    "softmax": lambda t, x, n: x.softmax(n(1)),
    "logsumexp": lambda t, x, n: x.logsumexp(n(1)),
    "squeeze": lambda t, x, n: x[:1].squeeze(n(0)),
    "movedim": lambda t, x, n: x.movedim(n(0), n(2)),
    "adaptive": lambda t, x, n: t.nn.functional.adaptive_avg_pool1d(x, n(2)),
    "pool": lambda t, x, n: t.nn.functional.max_pool1d(x, n(2), n(1)),
    "rfft": lambda t, x, n: t.fft.rfft(x, n(6)).abs(),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_tensor_of_one_integer_is_an_integer(name):
    theirs, ours = (
        COUNTS[name](t, t.arange(24.0).reshape(2, 3, 4), t.tensor) for t in (torch, cupola)
    )
    assert all(type(n) is int for n in ours.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_windows_of_a_length_that_was_computed():
    x = cupola.arange(24.0).reshape(2, 3, 4)
    length = cupola.div(cupola.tensor(5), 2, rounding_mode="trunc")
    piece = x.narrow(2, 0, length).transpose(1, 2).reshape(4, 3)
    want = x.numpy()[:, :, :2].transpose(0, 2, 1).reshape(4, 3)
    np.testing.assert_array_equal(piece.numpy(), want)


@pytest.mark.parametrize(
    "name",
    "cumsum cumprod cummax argmax argsort sort median mode softmax log_softmax unsqueeze squeeze "
    "std var prod any all amax amin logsumexp nansum count_nonzero diff".split(),
)
def test_numpys_names_of_arguments(name):
    theirs, ours = (getattr(t.arange(6.0).reshape(2, 3), name)(axis=1) for t in (torch, cupola))
    theirs, ours = (v if hasattr(v, "numpy") else v[0] for v in (theirs, ours))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_keepdims():
    x = cupola.arange(6.0).reshape(2, 3)
    for name in ("std", "prod", "amax", "argmax", "logsumexp", "any"):
        assert getattr(x, name)(axis=1, keepdims=True).shape == (2, 1)
        assert getattr(cupola, name)(x, dim=1, keepdims=True).shape == (2, 1)


@pytest.mark.parametrize("kind", ["_softmax_backward_data", "_log_softmax_backward_data"])
def test_what_comes_back_through_softmax(kind):
    r = np.random.default_rng(0)
    given, x = r.standard_normal((2, 3, 5)), r.standard_normal((2, 3, 5))
    found = []
    for t in (torch, cupola):
        function = t.softmax if kind.startswith("_soft") else t.log_softmax
        output = function(t.tensor(x), 1)
        found.append(getattr(t, kind)(t.tensor(given), output, 1, t.float32))
    assert found[1].dtype is cupola.float32
    np.testing.assert_allclose(found[1].numpy(), found[0].numpy(), rtol=1e-5, atol=1e-6)


def test_checks_with_an_error_of_ones_own():
    for t in (torch, cupola):
        t._check_with(ValueError, True, lambda: "no")
        t._check_tensor_all_with(ValueError, t.tensor([True, True]), None)
        with pytest.raises(ValueError, match="odd"):
            t._check_with(ValueError, False, lambda: "odd")
        with pytest.raises(KeyError, match="some"):
            t._check_tensor_all_with(KeyError, t.tensor([True, False]), lambda: "some")
        with pytest.raises(TypeError, match="must be a tensor"):
            t._check_tensor_all_with(ValueError, True, None)
        with pytest.raises(TypeError, match="must have dtype"):
            t._check_tensor_all_with(ValueError, t.tensor([1]), None)
        with pytest.raises(TypeError, match="must be a bool"):
            t._check_with(ValueError, 1, None)


def test_hints_for_a_compiler_change_nothing():
    assert cupola._dynamo.mark_static_address(cupola.zeros(2)) is None
    assert len(cupola.cuda.default_generators) in (0, cupola.cuda.device_count())
