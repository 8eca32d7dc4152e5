"""Where equal elements come to lie: as torch leaves them, in a stable order if one is asked for."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import cupola  # noqa: E402

KINDS = ("bool", "int64", "float32", "bfloat16", "float16")


def both(shape, most, kind):
    """Whole numbers below ``most`` on both sides."""
    data = np.random.default_rng(most).integers(0, most, shape).astype(np.float32)
    return [(m, m.from_numpy(data).to(getattr(m, kind))) for m in (cupola, torch)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [1, 2, 9, 300])
@pytest.mark.parametrize("shape, dim", [((17,), 0), ((3, 300), 1), ((1200, 2), 0), ((5, 16), 1)])
def test_sorted(kind, most, shape, dim):
    """Positions of an unstable and of a stable sort in both directions, and of a mode."""
    found = []
    for m, x in both(shape, most, kind):
        found.append(
            [
                m.argsort(x, dim).tolist(),
                m.sort(x, dim=dim, descending=True).indices.tolist(),
                m.sort(x, dim=dim, stable=True).indices.tolist(),
                m.argsort(x, dim=dim, stable=True, descending=True).tolist(),
                m.mode(x, dim).indices.tolist(),
            ]
        )
    assert found[0] == found[1]


def test_what_makes_partitions_uneven():
    """A row whose medians of three are always extremes ends in a heapsort."""
    half = 500
    row = [k + 1 if k % 2 == 0 else half + k + half % 2 for k in range(half)]
    row += [2 * (k + 1) for k in range(half)]
    for x in (row, [k // 3 for k in row]):
        assert cupola.tensor(x).argsort().tolist() == torch.tensor(x).argsort().tolist()


def test_the_gradient_goes_where_the_values_came_from():
    grads = []
    for m, x in both((40,), 3, "float32"):
        x.requires_grad_()
        (m.sort(x).values * m.arange(40)).sum().backward()
        grads.append(x.grad.tolist())
    assert grads[0] == grads[1]


@pytest.mark.parametrize("kind", ["int64", "bfloat16"])
@pytest.mark.parametrize("most", [1, 3, 40, 5000])
@pytest.mark.parametrize("shape, dim", [((3, 40), 1), ((700, 2), 0), ((5000,), 0), ((2, 4), 1)])
def test_chosen(kind, most, shape, dim):
    """Which of equal elements are among the first, the medians and the k-th."""
    n = shape[dim]
    found = []
    for m, x in both(shape, most, kind):
        rows = [m.topk(x, k, dim, largest=k % 2 == 0).indices for k in (1, 2, 3, n // 3, n)]
        rows += [m.topk(x, k, dim, sorted=False).indices for k in (1, 2, n // 3, n)]
        rows += [m.kthvalue(x, k, dim).indices for k in (1, 2, n // 3 + 1, n)]
        rows.append(m.median(x, dim).indices)
        found.append([r.tolist() for r in rows])
    assert found[0] == found[1]


def test_names_of_gradients():
    for choose in (lambda m, x: m.sort(x), lambda m, x: m.topk(x, 3)):
        names = []
        for m in (cupola, torch):
            values = choose(m, m.ones(4, requires_grad=True))[0]
            names.append(type(values.grad_fn).__name__)
        assert names[0] == names[1]
