"""Dual numbers (torch.autograd.forward_ad) and hooks on the graph, beside torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from func.test_vmap import agree, values

X, T, W = values(3, 4), values(3, 4, seed=1), values(4, 2, seed=2)
F = {
    "sin": lambda m, x, w: x.sin() * x,
    "matmul": lambda m, x, w: (x @ w).tanh(),
    "softmax": lambda m, x, w: x.softmax(-1).log(),
    "norm": lambda m, x, w: m.nn.functional.layer_norm(x, (4,)),
    "index": lambda m, x, w: x[:, 1:].cumsum(0).max(-1).values,
    "written": lambda m, x, w: x.clone().mul_(2).add_(x.exp()),
    "itself": lambda m, x, w: x,
    "rows written twice": lambda m, x, w: m.index_copy(x, 0, m.tensor([1, 1, 1]), x.exp()),
    "places written twice": lambda m, x, w: m.index_put(
        x, (m.tensor([2, 0, 2]), m.tensor([1, 3, 1])), x[:, 0].sin()
    ),
    "scattered twice": lambda m, x, w: x.scatter(1, m.tensor([[3, 0, 3], [1, 1, 1]]), x.exp()),
    "unpooled twice": lambda m, x, w: m.nn.functional.max_unpool1d(
        x, m.tensor([[5, 5, 0, 7], [1, 2, 1, 2], [0, 1, 2, 3]]), 2
    ),
    "flat": lambda m, x, w: x.clamp(-0.1, 0.1).sum(),
}


@pytest.mark.parametrize("name", F)
def test_tangents(name):
    """Values and tangents of results."""

    def program(m, x, t, w):
        f = m.autograd.forward_ad
        with f.dual_level():
            y = F[name](m, f.make_dual(x, t), w)
            out = f.unpack_dual(y)
        assert not out.primal.requires_grad and not out.tangent.requires_grad
        return out.primal, out.tangent

    agree(program, X, T, W)


def test_two_tangents_and_mixed_modes():
    """Several dual tensors, a module's parameters among them, and a gradient of a tangent."""

    def program(m, x, t, w):
        f, leaf = m.autograd.forward_ad, w.clone().requires_grad_()
        with f.dual_level(), m.enable_grad():
            a, b = f.make_dual(x, t), f.make_dual(leaf, w * 2)
            out = f.unpack_dual(((a @ b) ** 3).sum())
        out.tangent.backward()
        return out.primal, out.tangent, leaf.grad

    agree(program, X, T, W, tolerance=1e-4)


def test_level_under_no_grad():
    """A level inside ``no_grad`` works; ``no_grad`` inside a level is refused, not ignored."""

    def program(m, x, t):
        f = m.autograd.forward_ad
        with m.no_grad(), f.dual_level():
            out = f.unpack_dual(f.make_dual(x, t).exp())
        assert m.is_grad_enabled()
        return tuple(out)

    agree(program, X, T)
    f = cupola.autograd.forward_ad
    with f.dual_level():
        dual = f.make_dual(cupola.tensor(X), cupola.tensor(T))
        with cupola.no_grad():
            y = dual * 2
            with pytest.raises(RuntimeError, match="no_grad"):
                f.unpack_dual(y)


def test_errors_and_plain_tensors():
    """The same errors, and None for what carries no tangent."""

    def program(m):
        f, log = m.autograd.forward_ad, []

        def attempt(act):
            try:
                log.append(act())
            except (RuntimeError, ValueError) as error:
                log.append((type(error).__name__, str(error)))

        one = m.ones(2)
        attempt(lambda: f.make_dual(one, one))
        attempt(f.exit_dual_level)
        log.append(f.unpack_dual(one).tangent)
        with f.dual_level() as level:
            log.append(level)
            attempt(lambda: f.make_dual(one, m.ones(3)))
            attempt(lambda: f.make_dual(one.long(), one))
            attempt(lambda: f.make_dual(one, one.long()))
            attempt(f.enter_dual_level)
            log.append(f.unpack_dual(one).tangent)
            log.append(f.unpack_dual(f.make_dual(one, one).detach()).tangent)
            dual = f.make_dual(one, one)
            log.append(f.unpack_dual(dual.floor()).tangent.tolist())
        log.append(f.unpack_dual(dual).tangent)
        return log

    assert program(cupola) == program(torch)


def test_multi_grad_hooks():
    """All gradients at once, or the first; None where a pass does not come."""

    def program(m):
        g, log = m.autograd.graph, []
        a, b, c = (m.full((2,), float(k), requires_grad=True) for k in (1, 2, 3))
        mid = a * b
        told = lambda gs: log.append([None if x is None else x.tolist() for x in gs])  # noqa: E731
        handle = g.register_multi_grad_hook((a, mid, c), told)
        (mid * 3).sum().backward(retain_graph=True)
        (mid * c).sum().backward(retain_graph=True)
        handle.remove()
        with g.register_multi_grad_hook((a, b), lambda x: log.append(len(x.shape)), mode="any"):
            (mid * c).sum().backward()
        (a * c).sum().backward()
        try:
            g.register_multi_grad_hook((a,), told, mode="some")
        except ValueError as error:
            log.append(str(error))
        assert isinstance(mid.grad_fn, g.Node)
        before = a._version
        g.increment_version(a)
        return log, a._version - before, a.grad.tolist()

    assert program(cupola) == program(torch)


def test_saved_tensors_hooks():
    """What a Function saves goes through the hooks; second derivatives flow through it."""

    def program(m, x):
        g, log = m.autograd.graph, []

        class Cube(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return 3 * x * x * grad

        def pack(t):
            log.append("pack")
            return t.numpy(force=True)

        def unpack(kept):
            log.append("unpack")
            return m.tensor(kept * 2)

        x.requires_grad_()
        with g.saved_tensors_hooks(pack, unpack):
            y = Cube.apply(x)
        (first,) = m.autograd.grad(y.sum(), x, create_graph=True)
        (second,) = m.autograd.grad(first.sum(), x)
        assert log == ["pack", "unpack"]
        with g.save_on_cpu(pin_memory=True):
            z = Cube.apply(x)
        (third,) = m.autograd.grad(z.sum(), x)
        with g.disable_saved_tensors_hooks("not here"):
            try:
                g.saved_tensors_hooks(pack, unpack).__enter__()
            except RuntimeError as error:
                assert str(error) == "not here"
        return first, second, third

    agree(program, X)


def test_levels_are_left():
    """An error inside a level leaves none behind, and gradients switched as before."""
    f = cupola.autograd.forward_ad
    with pytest.raises(KeyError), f.dual_level():
        raise KeyError
    with f.dual_level():
        pass
    assert np.all(f.unpack_dual(cupola.ones(2)).primal.numpy() == 1)
