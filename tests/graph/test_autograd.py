"""The tape as users meet it: small programs that must end the same in torch and in cupola."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import cupola


def start(m, *shape):
    values = np.linspace(-1.3, 1.6, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return m.tensor(values, requires_grad=True)


def plain(result):
    """Results with tensors as arrays, so that both sides compare."""
    if isinstance(result, (list, tuple)):
        return [plain(r) for r in result]
    if hasattr(result, "detach"):
        return np.round(result.detach().numpy().astype(np.float64), 4).tolist()
    return result


def error_of(function):
    """The type of what a function raises."""
    try:
        function()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def accumulates(m):
    x = start(m, 3)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    return x.grad


def second_derivative(m):
    x = start(m, 4)
    (g,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    (h,) = m.autograd.grad((g * g).sum(), x)
    return g, h


def gradient_penalty(m):
    w = start(m, 3, 2)
    x = start(m, 4, 3)
    (g,) = m.autograd.grad((x @ w).tanh().sum(), x, create_graph=True)
    ((g.norm(dim=1) - 1) ** 2).mean().backward()
    return w.grad


def conv_second(m):
    x, w = start(m, 1, 2, 5, 5), start(m, 3, 2, 3, 3)
    (g,) = m.autograd.grad((m.nn.functional.conv2d(x, w) ** 2).sum(), x, create_graph=True)
    g.pow(2).sum().backward()
    return w.grad / 1e4


def retain(m):
    x = start(m, 3)
    y = (x.sin() * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad, error_of(y.backward)


def hooks(m):
    seen = []
    x = start(m, 3)
    y = x * 2
    y.register_hook(lambda g: seen.append(plain(g)))
    y.register_hook(lambda g: g * 10)
    y.retain_grad()
    x.register_post_accumulate_grad_hook(lambda t: seen.append(plain(t.grad)))
    y.sum().backward()
    return x.grad, seen


def modes(m):
    x = start(m, 3)
    with m.no_grad():
        a = x * 2
        with m.enable_grad():
            b = x * 2

    @m.no_grad()
    def inside():
        return (x * 2).requires_grad

    return a.requires_grad, b.requires_grad, inside(), m.is_grad_enabled(), x.detach().requires_grad


def leaves(m):
    x = start(m, 3)
    y = x + 1
    x.requires_grad_(False)
    return x.is_leaf, y.is_leaf, y.grad_fn is not None, error_of(lambda: y.requires_grad_(False))


def in_place_on_leaf(m):
    x = start(m, 3)
    return error_of(lambda: x.add_(1)), error_of(lambda: x[:2].zero_())


def overwritten(m):
    x = start(m, 3)
    y = x.exp()
    z = y.sum()
    y.add_(1)
    return error_of(z.backward)


def optimizer_by_hand(m):
    x = start(m, 3)
    for _ in range(3):
        (x**2).sum().backward()
        with m.no_grad():
            x -= 0.1 * x.grad
        x.grad.zero_()
    return x, x.is_leaf, x.requires_grad


def inputs_only(m):
    x, y = start(m, 3), start(m, 3)
    (x * y).sum().backward(inputs=[x])
    return x.grad, y.grad


def unused(m):
    x, y = start(m, 3), start(m, 3)
    out = (x * 2).sum()
    missing = m.autograd.grad(out, [x, y], allow_unused=True, retain_graph=True)[1]
    return missing, error_of(lambda: m.autograd.grad(out, [y]))


def vector_seed(m):
    x = start(m, 2, 2)
    y = x * x
    return error_of(y.backward), y.backward(m.ones(2, 2) * 0.5), x.grad


def function(m):
    class Cube(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return x**3 * factor

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x * ctx.factor, None

    x = start(m, 3)
    y = Cube.apply(x, 2.0)
    (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return y, g, x.grad, type(y.grad_fn).__name__


def function_of_two(m):
    class Both(m.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y, x + y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, a, b):
            x, y = ctx.saved_tensors
            return a * y + b, a * x + b

    x, y = start(m, 3), start(m, 3)
    p, q = Both.apply(x, y)
    (p.sum() + (q * q).sum()).backward()
    return x.grad, y.grad


def function_that_writes(m):
    """Rows of a new tensor are written while a hand-written gradient is computed."""

    class Rows(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            rows = m.empty(2, 3)
            rows[0] = 2 * x
            rows[1] = g
            rows[0] *= rows[1]
            return rows.reshape(-1)[:3]

    x = start(m, 3)
    Rows.apply(x * 3).pow(2).sum().backward()
    return x.grad


def hooks_that_write(m):
    def halve_the_first(g):
        rows = m.zeros(2, 3)
        rows[0] = g
        rows[0, :1] *= 0.5
        return rows.sum(0)

    x = start(m, 3)
    y = x.exp()
    y.register_hook(halve_the_first)
    y.sin().sum().backward()
    return x.grad


def straight_through(m):
    x = start(m, 5)
    y = x + (x.round() - x).detach()
    y.sum().backward()
    return y, x.grad


def copies(m):
    x = start(m, 3)
    x.grad = m.ones(3)
    y = copy.deepcopy(x)
    y.data.mul_(2)
    z = pickle.loads(pickle.dumps(x.detach()))
    return x, y, y.grad, z, error_of(lambda: copy.deepcopy(x * 2))


def data_writes(m):
    x = start(m, 3)
    y = (x * x).sum()
    x.data.fill_(2.0)
    y.backward()
    return x


def many_results(m):
    x = start(m, 4, 3)
    a, b = x.split([1, 3])
    v, i = x.max(0)
    (a.sum() * 2 + b.pow(2).sum() + v.sum()).backward()
    return x.grad, i


PROGRAMS = [
    accumulates,
    second_derivative,
    gradient_penalty,
    conv_second,
    retain,
    hooks,
    modes,
    leaves,
    in_place_on_leaf,
    overwritten,
    optimizer_by_hand,
    inputs_only,
    unused,
    vector_seed,
    function,
    function_of_two,
    function_that_writes,
    hooks_that_write,
    straight_through,
    copies,
    data_writes,
    many_results,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_program(program):
    """The same results, flags and errors on both sides."""
    assert plain(program(cupola)) == plain(program(torch))


def test_rows_written_one_after_another():
    """What is written into a row is not overwritten by a write to the next row."""
    found = []
    for m in (torch, cupola):
        y = m.tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)
        rows = m.empty(3, 2, 2)
        state = m.tanh(y)
        rows[0] = state
        for i in (1, 2):
            state = state + m.tanh(state * 0.5)
            rows[i] = state
        (rows * rows).sum().backward()
        found.append(y.grad.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.parametrize("order", [None, 0.5, 1, 1.5, 2, 3, 4.5, -1, -2.5, float("inf")])
@pytest.mark.parametrize("start", [[0.0, 0, 0], [0.0, 2, -3], [1.0, 2, -3]])
def test_norm_at_zero(order, start):
    """Norms and their gradients where elements are zero: no NaN that torch has not."""

    def program(m):
        x = m.tensor([start, [1.0, -2, 3]], requires_grad=True)
        y = m.linalg.vector_norm(x, 2 if order is None else order, dim=1)
        (g,) = m.autograd.grad((y * m.tensor([1.0, 3.0])).sum(), x)
        return y.tolist(), g.tolist()

    for ours, theirs in zip(program(cupola), program(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_views_that_are_gone_are_forgotten():
    """A data set is read for as long as training runs, and never written."""
    data = cupola.rand(8, 4)
    for i in range(1000):
        data[i % 8].sum().item()
    assert len(data._storage.views) <= 128
    kept = [data[i % 8] for i in range(300)]
    data.mul_(2)
    assert all(v._version == 1 for v in kept)


def test_arrays_of_what_requires_a_gradient():
    """Under no_grad they are given."""

    def program(m):
        x = start(m, 3)
        y = x.view(-1)
        found = [error_of(lambda: x.numpy()), error_of(lambda: np.asarray(y)), x.numpy(force=True)]
        with m.no_grad():
            found += [x.numpy(), y.numpy(), (x * 2).numpy(), np.asarray(x), np.square(y.numpy())]
        with m.inference_mode():
            found.append(x.numpy())
        return [f if isinstance(f, (str, type)) else f.tolist() for f in found]

    assert program(cupola) == program(torch)
