"""vmap: the function is recorded once and computed for the batch; torch does the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from cupola.ir.op import pending


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def flat(x):
    if isinstance(x, dict):
        return [v for key in sorted(x) for v in flat(x[key])]
    if isinstance(x, (tuple, list)):
        return [v for part in x for v in flat(part)]
    return [x]


def agree(program, *arrays, tolerance=2e-5):
    """The same values on both sides."""
    want = flat(program(torch, *map(torch.tensor, arrays)))
    got = flat(program(cupola, *map(cupola.tensor, arrays)))
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        assert tuple(g.shape) == tuple(w.shape)
        assert str(g.dtype) == str(w.dtype)
        a, b = w.detach().numpy(), g.detach().numpy()
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


X, Y, W = values(5, 3, 4), values(5, 4, 3, seed=1), values(4, 3, seed=2)
I = np.array([[0, 2], [1, 1], [2, 0], [0, 1], [2, 2]])  # noqa: E741
V = values(5, 6, seed=3)
IMG, KER = values(3, 2, 2, 7, 7), values(3, 4, 2, 3, 3, seed=4)

ONE = {
    "sin": lambda m, x: x.sin() * 2 + 1,
    "sum": lambda m, x: x.sum(),
    "sum_dim": lambda m, x: x.sum(0, keepdim=True),
    "mean_std": lambda m, x: (x.mean(-1), x.std(0)),
    "max": lambda m, x: tuple(x.max(1)),
    "argmax": lambda m, x: x.argmax(),
    "softmax": lambda m, x: x.softmax(-1),
    "transpose": lambda m, x: x.t(),
    "reshape": lambda m, x: x.reshape(2, 6),
    "flatten": lambda m, x: x.flatten(),
    "slice": lambda m, x: x[1:, ::2],
    "select": lambda m, x: x[1],
    "flip": lambda m, x: x.flip(0),
    "index": lambda m, x: x[m.tensor([2, 0, 0])],
    "gather": lambda m, x: x.gather(1, m.tensor([[0, 1], [1, 1], [3, 0]])),
    "expand": lambda m, x: x.unsqueeze(0).expand(2, 3, 4),
    "cat": lambda m, x: m.cat([x, x * 2], 1),
    "stack": lambda m, x: m.stack([x, x * 2]),
    "cumsum": lambda m, x: x.cumsum(0),
    "cumprod": lambda m, x: x.cumprod(1),
    "sort": lambda m, x: tuple(x.sort(0)),
    "topk": lambda m, x: x.topk(2, 1)[0],
    "where": lambda m, x: m.where(x > 0, x, x * 0.1),
    "clamp": lambda m, x: x.clamp(-0.5, 0.5),
    "matmul": lambda m, x: x @ m.tensor(W),
    "matmul_left": lambda m, x: m.tensor(W) @ x,
    "matmul_self": lambda m, x: x @ x.t(),
    "einsum": lambda m, x: m.einsum("ij,kj->ik", x, x),
    "norm": lambda m, x: x.norm(),
    "svdvals": lambda m, x: m.linalg.svdvals(x),
    "inverse": lambda m, x: m.linalg.inv(x @ x.t() + m.eye(3)),
    "cholesky": lambda m, x: m.linalg.cholesky(x @ x.t() + m.eye(3)),
    "solve": lambda m, x: m.linalg.solve(x @ x.t() + m.eye(3), x),
    "det": lambda m, x: m.linalg.det(x[:, :3]),
    "pad": lambda m, x: m.nn.functional.pad(x, (1, 2, 0, 1), value=2.0),
    "unfold": lambda m, x: x.unfold(1, 2, 1),
    "diagonal": lambda m, x: x.diagonal(),
    "tril": lambda m, x: x.tril(),
    "layer_norm": lambda m, x: m.nn.functional.layer_norm(x, (4,)),
    "fft": lambda m, x: m.fft.rfft(x).abs(),
    "in_place": lambda m, x: x.clone().mul_(2).add_(x),
    "write_slice": lambda m, x: _written(x.clone()),
    "roll": lambda m, x: x.roll(1, 0),
    "repeat": lambda m, x: x.repeat(2, 1),
    "constant": lambda m, x: (x, m.ones(2)),
    "grad": lambda m, x: m.func.grad(lambda y: (y.sin() * y).sum())(x),
    "grad_grad": lambda m, x: m.func.grad(
        lambda y: m.func.grad(lambda z: (z**3).sum())(y).pow(2).sum()
    )(x),
    "jacrev": lambda m, x: m.func.jacrev(lambda y: y.sum(0).tanh())(x),
    "jvp": lambda m, x: m.func.jvp(lambda y: y.tanh(), (x,), (x * 2,)),
    "vmap": lambda m, x: m.vmap(lambda y: y * y.sum())(x),
    "vmap_dims": lambda m, x: m.vmap(lambda y: y.cumsum(0), 1, 1)(x),
}


def _written(x):
    x[0] = 1.0
    x[1:, 1] += 2.0
    return x


@pytest.mark.parametrize("name", ONE)
def test_one_argument(name):
    """A function of one mapped tensor."""
    agree(lambda m, x: m.vmap(lambda y: ONE[name](m, y))(x), X)


TWO = {
    "both": (lambda m, x, y: x @ y, (0, 0), 0),
    "first": (lambda m, x, y: x * y.sum(), (0, None), 0),
    "second": (lambda m, x, y: x.sum() * y, (None, 0), 0),
    "inner": (lambda m, x, y: x @ y, (1, 2), 1),
    "negative": (lambda m, x, y: x.sum() + y, (-1, -1), -1),
}


@pytest.mark.parametrize("name", TWO)
def test_two_arguments(name):
    """``in_dims`` and ``out_dims``."""
    f, dims, out = TWO[name]
    x, y = (values(3, 5, 4), values(4, 2, 5, seed=1)) if name == "inner" else (X, Y)
    if name == "negative":
        x, y = values(2, 3), values(4, 3)
    agree(lambda m, a, b: m.vmap(lambda p, q: f(m, p, q), dims, out)(a, b), x, y)


def test_mapped_indices():
    """Gathering and scattering where the indices, the values or both are mapped."""
    gather = lambda m, x, i: (x[i], x.index_select(0, i))  # noqa: E731
    agree(lambda m, x, i: m.vmap(lambda a, b: gather(m, a, b))(x, i), V, I)
    agree(lambda m, x, i: m.vmap(lambda a, b: gather(m, a, b), (None, 0))(x[0], i), V, I)
    agree(lambda m, x, i: m.vmap(lambda a, b: gather(m, a, b), (0, None))(x, i[0]), V, I)
    add = lambda m, x, i: x.index_add(0, i, m.ones(2))  # noqa: E731
    agree(lambda m, x, i: m.vmap(lambda a, b: add(m, a, b))(x, i), V, I)
    agree(lambda m, x, i: m.vmap(lambda a, b: a.scatter_add(0, b, a[:2]))(x, i), V, I)


@pytest.mark.parametrize("dims", [(0, None), (0, 0), (None, 0)])
def test_convolution(dims):
    """Images, kernels or both are mapped, with gradients."""

    def program(m, x, w):
        x, w = (x if dims[0] == 0 else x[0]), (w if dims[1] == 0 else w[0])
        f = lambda a, b: m.nn.functional.conv2d(a, b, padding=1, stride=2)  # noqa: E731
        g = m.func.grad(lambda a, b: f(a, b).square().sum(), (0, 1))
        return m.vmap(f, dims)(x, w), m.vmap(g, dims)(x, w)

    agree(program, IMG, KER, tolerance=1e-3)


def test_gradient_through():
    """The gradient of a mapped function, and of a captured tensor."""

    def program(m, x, w):
        w.requires_grad_()
        x.requires_grad_()
        m.vmap(lambda y: (y @ w).tanh().sum(0))(x).square().sum().backward()
        return x.grad, w.grad

    agree(program, X, W)


def test_per_sample_gradients():
    """The usual use: gradients of a module's parameters for each example."""

    def program(m, x):
        m.manual_seed(0)
        net = m.nn.Sequential(m.nn.Linear(4, 5), m.nn.Tanh(), m.nn.Linear(5, 2))
        weights = {k: v.detach() for k, v in net.named_parameters()}

        def loss(w, row):
            return m.func.functional_call(net, w, (row,)).square().sum()

        return m.vmap(m.func.grad(loss), (None, 0))(weights, x)

    agree(program, values(6, 4))


def test_ensemble():
    """Stacked modules, one function."""

    def program(m, x):
        m.manual_seed(0)
        nets = [m.nn.Linear(4, 3) for _ in range(3)]
        weights, buffers = m.func.stack_module_state(nets)
        call = lambda w, b, y: m.func.functional_call(nets[0], (w, b), (y,))  # noqa: E731
        return m.vmap(call, (0, 0, None))(weights, buffers, x)

    agree(program, values(6, 4))


def test_nests_and_keywords():
    """Dictionaries, tuples and keyword arguments."""

    def program(m, x, y):
        def f(d, pair, scale):
            return {"a": d["x"] * scale, "b": (pair[0].sum(), pair[1])}

        return m.vmap(f, ({"x": 0}, (1, None)))({"x": x}, (y, y[0]), scale=x[0, 0])

    agree(program, X, values(3, 5, seed=5))


def test_chunks():
    """Chunks give what the whole gives."""
    agree(lambda m, x: m.vmap(lambda y: y.tanh().sum(0), chunk_size=2)(x), X)
    agree(lambda m, x: m.vmap(lambda y: y.tanh(), 1, 1, chunk_size=2)(x), X)


def test_custom_function():
    """A hand-written gradient, mapped, and its gradient outside."""

    def program(m, x):
        class Cube(m.autograd.Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(x):
                return x**3

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(inputs[0])

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * 3 * x * x * 1.5

        x.requires_grad_()
        m.vmap(lambda y: Cube.apply(y).sum())(x).square().sum().backward()
        return x.grad

    agree(program, X)


@pytest.mark.parametrize("mode", ["same", "different"])
def test_randomness(mode):
    """One draw, or one for each example: torch's numbers."""

    def program(m, x):
        m.manual_seed(3)
        draws = m.vmap(lambda y: y + m.randn(4), randomness=mode)(x)
        inner = m.vmap(
            lambda y: m.vmap(lambda z: z + m.rand(2), randomness=mode)(y[:, :1].expand(3, 2)),
            randomness=mode,
        )(x)
        return draws, inner

    agree(program, X)


def test_dropout_differs():
    """Dropout draws for each example."""
    x = cupola.ones(4, 100)
    out = cupola.vmap(cupola.nn.functional.dropout, randomness="different")(x).numpy()
    assert len({row.tobytes() for row in out}) == 4
    out = cupola.vmap(cupola.nn.functional.dropout, randomness="same")(x).numpy()
    assert len({row.tobytes() for row in out}) == 1


ERRORS = {
    "nothing": lambda m, x: m.vmap(lambda y: y, None)(x),
    "no_args": lambda m, x: m.vmap(lambda: m.ones(2))(),
    "sizes": lambda m, x: m.vmap(lambda a, b: a)(x, x[:2]),
    "range": lambda m, x: m.vmap(lambda y: y, 5)(x),
    "number": lambda m, x: m.vmap(lambda a, b: a)(x, 3),
    "out": lambda m, x: m.vmap(lambda y: 3)(x),
    "out_dims": lambda m, x: m.vmap(lambda y: (y, y), 0, (0,))(x),
    "item": lambda m, x: m.vmap(lambda y: y * y.sum().item())(x),
    "branch": lambda m, x: m.vmap(lambda y: y if y.sum() > 0 else -y)(x),
    "random": lambda m, x: m.vmap(lambda y: y + m.randn(4))(x),
    "mode": lambda m, x: m.vmap(lambda y: y, randomness="no"),
    "chunk": lambda m, x: m.vmap(lambda y: y, chunk_size=0),
    "shape": lambda m, x: m.vmap(lambda y: y @ y)(x),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    """The same type of error."""
    found = []
    for m in (torch, cupola):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            ERRORS[name](m, m.tensor(X))
        found.append(caught.type)
    assert found[0] is found[1]


def test_recorded_once():
    """The function runs once, and what is recorded does not grow with the batch."""
    calls = []

    def f(x):
        calls.append(1)
        return (x.sin() * x).sum(0)

    counts = []
    for n in (2, 200):
        before = pending.count
        cupola.vmap(f)(cupola.ones(n, 3, 4))
        counts.append(pending.count - before)
    assert len(calls) == 2
    assert counts[0] == counts[1]


def test_mapped_probabilities():
    """Random functions of mapped numbers draw for the batch at once, as torch does."""

    def program(m, x):
        m.manual_seed(1)
        p = x.sigmoid()
        draws = m.vmap(lambda q: m.bernoulli(q), randomness="different")(p)
        return draws, m.vmap(lambda q: m.normal(q, 2.0), randomness="different")(p)

    agree(program, values(5, 40))
