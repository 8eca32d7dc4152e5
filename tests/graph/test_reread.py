"""Views that read memory as another dtype: parts of complex numbers, pairs, bits. Each program runs
in torch and in cupola.
"""

import io

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")


def grid(m, *shape, grad=False):
    """Complex numbers, no two equal."""
    n = int(np.prod(shape))
    values = (np.arange(n) + 1j * np.arange(n)[::-1]).astype("complex64").reshape(shape)
    return m.tensor(values, requires_grad=grad)


def parts(m):
    x = grid(m, 2, 3)
    real = x.real
    real[0] = 7
    x.imag.mul_(2)
    real.add_(x.imag)
    return x, real, x.imag


def pairs(m):
    x = grid(m, 2, 3)
    v = m.view_as_real(x)
    v[:, 1] = 5
    x += 1
    v[..., 1].zero_()
    return x, v, v[..., 1]


def joined(m):
    a = m.arange(12.0).view(2, 3, 2)
    c = m.view_as_complex(a)
    c[0] *= 1j
    a[1] += 1
    return a, c, c.real, c.T.imag


def assigned(m):
    x = grid(m, 2, 2)
    x.real = m.ones(2)
    x.imag = 3 * m.ones(2, 2)
    return x


def detached(m):
    x = grid(m, 2, 2)
    x.detach().real[0] = 8
    d = x.real.detach()
    d += 1
    e = x.imag.data
    e *= 2
    return x, d, e


def places(m):
    x = grid(m, 3, 3)
    x.real.diagonal().fill_(9)
    x.imag.T[0] = -1
    return (
        x,
        x.real.diagonal(),
        m.view_as_real(x).diagonal(),
        x.imag.as_strided((2, 2), (2, 6)),
        x.real.as_strided((2, 2), (2, 6), 1),
        x.detach().real.detach().diagonal(),
    )


def bits(m):
    x = m.arange(4.0)
    v = x.view(m.int32)
    v[0] = 1065353216
    x[1] = 2
    return x, v


def bytes_(m):
    x = m.arange(4.0).view(2, 2)
    v = x.view(m.uint8)
    v[0, 3] = 64
    w = m.arange(8, dtype=m.uint8)
    w.view(m.int16)[1] = 0
    return x, v, v[:, ::2], w


def shared(m):
    a = np.arange(4) * 1j
    x = m.from_numpy(a)
    x.real.fill_(3)
    x.imag[0] = 9
    m.view_as_real(x)[1] = 4
    b = np.arange(8, dtype="float32")
    y = m.from_numpy(b)
    y.view(m.int32)[0] = -1
    y.view(m.uint8)[4:8] = 0
    m.view_as_complex(y.view(4, 2))[2] = 1j
    return x, m.tensor(a), m.tensor(b)


def gradient(m):
    x = grid(m, 2, 3, grad=True)
    y = x * 2
    y.real.mul_(3)
    y.imag[0] = y.real[1]
    (y.abs() ** 2).sum().backward()
    return x.grad, y.detach()


def overwritten(m):
    x = grid(m, 2, 3, grad=True)
    y = x * 1
    r = y.real
    s = (r * r).sum()
    y.mul_(2)
    s.backward()


def leaf(m):
    grid(m, 2, 3, grad=True).real.zero_()


def mapped(m):
    double = m.func.vmap(lambda x: x.real.mul(2) + x.imag)
    grad = m.func.grad(lambda x: m.view_as_complex(x).abs().sum())
    return (
        double(grid(m, 2, 3)),
        m.func.vmap(m.view_as_complex)(m.arange(12.0).view(3, 2, 2)),
        m.func.vmap(m.view_as_real)(grid(m, 2, 2)),
        grad(m.arange(12.0).view(3, 2, 2)),
        *m.func.jvp(lambda x: x.real * x.imag, (grid(m, 3),), (grid(m, 3) * 2,)),
    )


def saved(m):
    file = io.BytesIO()
    x = grid(m, 2, 3)
    m.save([x.real, x.imag[1]], file)
    file.seek(0)
    return tuple(m.load(file))


def uneven(m):
    return m.view_as_complex(m.arange(12.0))


def scattered(m):
    return m.view_as_complex(m.arange(12.0).view(2, 6).t()[:2].t())


def indivisible(m):
    return m.arange(3.0).view(m.float64)


def without_dimensions(m):
    return m.tensor(3.0).view(m.float64)


def transposed(m):
    return m.arange(4.0).view(2, 2).t().view(m.float64)


def of_integers(m):
    return m.view_as_complex(m.arange(4).view(2, 2))


def of_reals(m):
    return m.view_as_real(m.arange(4.0))


PROGRAMS = [
    *(parts, pairs, joined, assigned, detached, places, bits, bytes_, shared, gradient),
    *(overwritten, leaf, mapped, saved, uneven, scattered, indivisible, without_dimensions),
    *(transposed, of_integers, of_reals),
]


def run(program, m):
    """What a program leaves: values, strides, places in memory; or the kind of its error."""
    try:
        found = program(m)
    except RuntimeError as error:
        return type(error).__name__
    found = found if isinstance(found, tuple) else (found,)
    return [(x.stride(), x.storage_offset(), x.resolve_conj().numpy()) for x in found]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_program(program):
    got, want = run(program, cupola), run(program, torch)
    if isinstance(want, str):
        assert got == want
        return
    assert len(got) == len(want)
    for (*place, value), (*wanted, expected) in zip(got, want, strict=True):
        assert place == wanted
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["real", "imag", "view_as_real"])
def test_names_of_gradients(name):
    def of(m):
        return getattr(m, name)(grid(m, 2, grad=True)).grad_fn.name()

    assert of(cupola) == of(torch)
