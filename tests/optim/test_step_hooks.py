"""Hooks of an optimizer's step are given what PyTorch's are: arguments begin with the optimizer."""

import pytest

import cupola

torch = pytest.importorskip("torch")


def program(m):
    p = m.nn.Parameter(m.ones(2))
    p.grad = m.ones(2)
    optimizer, seen = m.optim.SGD([p], lr=0.1), []

    def note(which):
        return lambda o, args, kwargs: seen.append((which, o is args[0], len(args), [*kwargs]))

    optimizer.register_step_pre_hook(note("before"))
    optimizer.register_step_post_hook(note("after"))
    optimizer.step()
    optimizer.step(lambda: m.tensor(3.0))
    optimizer.step(closure=lambda: m.tensor(3.0))
    optimizer.register_step_pre_hook(lambda o, a, k: ((a[0], lambda: m.tensor(8.0)), {}))
    return seen, optimizer.step().item(), [round(v, 4) for v in p.tolist()]


def test_hooks():
    assert program(cupola) == program(torch)


def test_what_is_no_parameter_is_named():
    for m in (cupola, torch):
        with pytest.raises(TypeError, match="one of the params is int"):
            m.optim.SGD([3], lr=1)
