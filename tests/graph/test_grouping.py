"""Kernels with several results: the same values as one operator at a time, in any arrangement."""

from __future__ import annotations

import random

import numpy as np
import pytest

import cupola
from cupola import engine
from cupola.engine.compiled import _LOWERING
from cupola.engine.realize import described, walk, written
from cupola.ir.program import Program
from cupola.nn import functional as F
from cupola.schedule import plan, simplify


def both(function, *shapes, dtype=cupola.float64):
    """Results of the function run at once, and with every operator observed."""
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s) for s in shapes]
    outs = []
    for eager in (False, True):
        tensors = [cupola.from_numpy(a.copy()).to(dtype) for a in arrays]
        watch = (lambda t: engine.realize([t.node]) or t) if eager else (lambda t: t)
        out = function(watch, *tensors)
        engine.realize([o.node for o in out])
        outs.append([o.double().numpy() for o in out])
    return outs


def agree(function, *shapes, dtype=cupola.float64, tolerance=1e-12):
    once, steps = both(function, *shapes, dtype=dtype)
    for a, b in zip(once, steps, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def statistics(watch, x):
    mean = watch(x.mean(1, keepdim=True))
    centered = watch(x - mean)
    var = watch((centered * centered).mean(1, keepdim=True))
    return [mean, var, watch(centered * watch((var + 1e-3).rsqrt())), watch(x.amax(1))]


def test_results_of_all_stages_are_stored():
    agree(statistics, (7, 33))


def test_many_rows_of_one_element_and_one_row():
    agree(statistics, (50, 1))
    agree(statistics, (1, 50))


def test_long_rows_on_several_threads():
    agree(statistics, (3, 100_000), tolerance=1e-10)


def test_columns_of_a_large_array():
    def run(watch, x):
        top = watch(x.amax(0, keepdim=True))
        powers = watch((x - top).exp())
        return [watch(powers / watch(powers.sum(0, keepdim=True)))]

    agree(run, (70, 2100))


def test_sums_over_rows_and_over_columns_of_a_square():
    def run(watch, x):
        rows, columns = watch(x.sum(1)), watch(x.sum(0))
        return [watch(rows * columns), watch(x - watch(rows.unsqueeze(1)))]

    agree(run, (40, 40))


def test_what_a_product_needs_waits_for_it():
    """The last result reads the rows both directly and through a matrix product."""

    def run(watch, x, w):
        soft = watch(F.softmax(x, 1))
        product = watch(soft @ w)
        return [watch(soft * product), watch(product.sum(1))]

    agree(run, (20, 20), (20, 20))


def test_two_groups_that_would_wait_for_each_other():
    def run(watch, x, y):
        a, b = watch(x.sum(1, keepdim=True)), watch(y.sum(1, keepdim=True))
        return [watch(x * b), watch(y * a), watch((x * b).sum(1)), watch((y * a).sum(1))]

    agree(run, (20, 30), (20, 30))


def test_moved_results_are_not_taken_for_their_sources():
    def run(watch, x):
        y = watch(x * 2 + 1)
        return [y, watch(y.flip(0) * 3), watch(y.t().contiguous()), watch(y - y.roll(1, 0))]

    agree(run, (12, 12))


def test_reshaped_rows():
    def run(watch, x):
        groups = watch(x.reshape(4, 3, -1))
        mean = watch(groups.mean(2, keepdim=True))
        return [watch((groups - mean).reshape(4, 6, 5, 2)), mean]

    agree(run, (4, 6, 5, 2))


def test_positions_of_extremes_beside_other_sums():
    def run(watch, x):
        return [watch(x.argmax(1)), watch(x.sum(1)), watch(x.argmin(1)), watch(x.prod(1))]

    agree(run, (9, 21))


@pytest.mark.parametrize("dtype", [cupola.bfloat16, cupola.float16])
def test_stored_half_results_are_read_rounded(dtype):
    def run(watch, x):
        y = watch(x * 3)
        return [y, watch(y - y.floor())]

    agree(run, (9, 21), dtype=dtype, tolerance=0)


def test_a_shape_that_no_loops_fit_is_copied_by_the_library():
    # The gradient of a projection packed for query, key and value: (2, 6, 2) transposed and cut.
    layer = cupola.nn.MultiheadAttention(4, 2, bias=True).double()
    query, memory = cupola.randn(3, 2, 4).double(), cupola.randn(3, 2, 4).double()
    for t in (query, memory):
        t.requires_grad_()
    y, _ = layer(query, memory, memory)
    wanted = [layer.in_proj_weight, query, memory]
    grads = cupola.autograd.grad((y * y).sum(), wanted)
    assert [g.numpy().shape for g in grads] == [(12, 4), (3, 2, 4), (3, 2, 4)]


def test_groups_wait_for_no_group_that_waits_for_them():
    cupola.manual_seed(0)
    x, source = (cupola.randn(5, 5, requires_grad=True) for _ in range(2))
    weight, index = cupola.randn(5, 5), cupola.tensor([0, 2, 1, 1, 3])
    for t in (x, source, weight, index):
        t.tolist()
    y = x.index_reduce(0, index, source, "prod", include_self=True)
    first = cupola.autograd.grad((y * weight).sum(), [x, source], create_graph=True)
    second = cupola.autograd.grad(sum((g * g).sum() for g in first), [x, source])
    order = walk([t.node for t in (y, *first, *second)])
    items = written(described(order))
    computed = [i for i, n in enumerate(order) if n.value is None and n.op.name != "const"]
    draw = random.Random(1)
    for _ in range(20):  # each second one of these plans had a circle
        wanted = draw.sample(computed, draw.randint(1, len(computed) // 2))
        program = Program(items, frozenset((len(order) - 1, *wanted)), "cuda")
        assert plan(simplify(program)[0], _LOWERING).steps
