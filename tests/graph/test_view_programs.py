"""Random programs of views, in-place writes, indexed assignment and backward: cupola must do what
torch does, errors included. ``view_programs`` says what a program is and what is left out.

``CUPOLA_PROGRAMS`` sets how many hypothesis draws (250); a longer run by seeds is
``python tests/graph/view_programs.py FIRST COUNT``.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupola import engine
from cupola.backends.reference import ReferenceBackend
from graph.view_programs import NAMES, SHAPES, compare, draw

_step = st.tuples(st.sampled_from(NAMES), st.integers(0, 9), st.integers(0, 9), st.integers(0, 7))
_count = int(os.environ.get("CUPOLA_PROGRAMS", "250"))


@pytest.fixture(scope="module", autouse=True)
def _interpreted():
    """Runs on the reference backend: what is tested stands above the backends."""
    before = engine.backend("cpu")
    engine.use_backend("cpu", ReferenceBackend())
    yield
    engine.use_backend("cpu", before)


@settings(
    max_examples=_count,
    deadline=None,
    derandomize=_count == 250,
    suppress_health_check=list(HealthCheck),
)
@given(st.sampled_from(SHAPES), st.lists(_step, min_size=1, max_size=9))
def test_random_program(shape, program):
    """Values, gradients, flags, strides, versions and raised errors of a random program."""
    found = compare(shape, program)
    assert found is None, found


# Programs that once came out different, shortened.
REGRESSIONS = [
    ((), [("t", 0, 7, 4)]),
    ((2, 2, 2), [("transpose_", 0, 7, 7)]),
    ((4, 4), [("data_copy_2", 6, 1, 4)]),
    ((4,), [("unfold", 2, 9, 4)]),
    ((), [("detach_", 9, 5, 3)]),
    ((), [("chunk", 5, 9, 4)]),
    ((6,), [("mT", 6, 0, 3)]),
    ((6,), [("movedim", 5, 3, 4), ("unsqueeze_", 2, 9, 1)]),
    ((3, 2), [("reshape", 8, 6, 5), ("quiet_view", 8, 6, 5)]),
    ((), [("take_mask", 1, 8, 7)]),
    ((), [("mul_at_mask", 2, 4, 4)]),
    ((4, 4), [("squeeze", 0, 2, 0), ("scale", 4, 5, 0), ("narrow", 2, 6, 4), ("t_", 6, 0, 3)]),
    ((2, 1, 3), [("quiet_copy", 2, 5, 3), ("data", 5, 7, 5)]),
    ((), [("sum", 8, 2, 5), ("set_mask_2", 9, 7, 1)]),
    ((2, 2, 2), [("unbind", 3, 9, 4), ("data_mul_", 3, 8, 2)]),
    ((2, 3), [("maximum", 2, 9, 1), ("where", 1, 2, 5), ("mul", 1, 1, 2), ("squeeze_", 8, 3, 7)]),
    ((2, 2, 2), [("fill_diagonal_", 5, 2, 4)]),
    ((), [("permute", 0, 7, 5), ("expand", 1, 6, 5), ("reads_sin", 9, 2, 3)]),
    ((4, 4), [("expand_last", 7, 4, 5), ("set_rows", 3, 1, 5)]),
    ((1, 4), [("quiet_view", 3, 6, 2), ("where", 2, 9, 6), ("requires_grad_", 8, 2, 2)]),
    ((2, 1, 3), [("set_perm_2", 1, 4, 1)]),
    ((1, 4), [("set_item_2", 8, 2, 1)]),
    ((2, 3), [("split", 1, 9, 4), ("as_strided", 3, 5, 6), ("relu_", 4, 6, 6)]),
    ((2, 2, 2), [("stride", 1, 9, 1), ("retain_grad", 7, 2, 6), ("squeeze_", 5, 5, 6)]),
    ((2, 3), [("expand_as", 1, 8, 0), ("pow_", 7, 9, 7)]),
    ((4, 4), [("split", 1, 3, 0), ("t_", 3, 2, 6)]),
    ((1, 4), [("view2", 8, 2, 0), ("requires_grad_", 6, 3, 2)]),
    ((6,), [("unfold", 2, 8, 6), ("index_fill_", 7, 9, 0)]),
    ((4,), [("retain_grad", 7, 9, 3), ("as_strided", 8, 3, 2), ("hook", 5, 4, 6)]),
    ((6,), [("newaxis", 3, 1, 2), ("detach_", 4, 9, 3), ("addcmul_", 3, 9, 2)]),
    ((), [("sin", 0, 3, 1), ("detach_", 8, 2, 5), ("set_ellipsis", 0, 0, 1)]),
    ((2, 2, 2), [("stride", 7, 6, 1), ("hook", 3, 3, 3), ("add_2", 3, 4, 0)]),
    (
        (2, 2, 2),
        [
            ("flatten", 4, 0, 4),
            ("unflatten", 3, 5, 4),
            ("mul_at_mask", 9, 8, 2),
            ("detach_", 8, 7, 4),
            ("detach_", 1, 4, 1),
        ],
    ),
    (
        (4,),
        [
            ("unbind", 1, 0, 7),
            ("squeeze_dim", 2, 3, 4),
            ("mul_2", 6, 1, 7),
            ("expand_ones", 3, 8, 2),
        ],
    ),
    ((1, 4), [("expand_last", 1, 8, 0), ("slice_end", 7, 6, 4), ("add_self", 4, 3, 7)]),
    (
        (4, 4),
        [
            ("quiet_view", 4, 8, 7),
            ("maximum", 2, 6, 2),
            ("mul", 4, 8, 1),
            ("requires_grad_", 9, 6, 4),
        ],
    ),
    ((6,), [("squeeze", 7, 8, 1), ("retain_grad", 7, 9, 5), ("set_perm_2", 3, 8, 6)]),
    ((1, 4), [("set_newaxis_2", 1, 2, 2), ("grads", 7, 3, 6)]),
    (
        (4,),
        [
            ("retain_grad", 1, 7, 1),
            ("maximum", 0, 9, 7),
            ("unsqueeze_", 9, 1, 1),
            ("pow_", 1, 8, 3),
        ],
    ),
    (
        (4, 4),
        [("unfold", 2, 5, 4), ("expand_ones", 3, 6, 3), ("t", 5, 2, 7), ("set_data", 6, 3, 3)],
    ),
    ((1, 4), [("select_last", 3, 4, 1), ("set_data", 0, 0, 7), ("as_strided", 3, 0, 1)]),
    ((4, 4), [("quiet_view", 7, 4, 0), ("detached_add_", 9, 6, 4), ("retain_grad", 3, 7, 7)]),
    (
        (2, 2, 2),
        [
            ("gather", 4, 1, 4),
            ("transpose_", 5, 3, 0),
            ("diagonal", 3, 8, 7),
            ("mul", 9, 1, 4),
            ("set_data", 6, 5, 2),
        ],
    ),
    (
        (4,),
        [
            ("quiet_view", 7, 1, 0),
            ("copy_self", 1, 4, 5),
            ("sigmoid", 6, 3, 5),
            ("diagonal", 8, 2, 7),
        ],
    ),
    ((4,), [("unbind", 1, 9, 0), ("set_item", 1, 8, 6), ("set_slice_2", 3, 8, 3)]),
    ((), [("unsqueeze", 5, 7, 7), ("detached_add_", 1, 1, 5), ("masked_fill_2", 8, 7, 0)]),
    ((), [("reshape", 5, 7, 0), ("squeeze", 6, 4, 5), ("masked_fill_2", 8, 9, 5)]),
    ((1, 4), [("diagonal", 8, 4, 6), ("rows", 5, 3, 3), ("expand", 8, 0, 3), ("relu_", 5, 2, 5)]),
    (
        (6,),
        [
            ("movedim", 7, 0, 6),
            ("split", 7, 5, 6),
            ("transpose_", 8, 8, 5),
            ("retain_grad", 4, 8, 6),
        ],
    ),
    (
        (4,),
        [
            ("cat", 9, 2, 3),
            ("mul", 2, 5, 7),
            ("expand_ones", 2, 8, 2),
            ("data", 5, 6, 3),
            ("set_rows", 6, 3, 3),
        ],
    ),
    ((2, 3), [("slice", 4, 4, 2), ("as_strided", 3, 3, 0)]),
    ((3, 2), [("grads", 9, 3, 0), ("set_ellipsis", 1, 8, 6), ("grads", 9, 8, 0)]),
    ((1, 4), [("stride", 4, 6, 7), ("hook", 3, 5, 4), ("add_at_last", 3, 1, 0)]),
    (
        (2, 2, 2),
        [
            ("unbind", 7, 4, 7),
            ("add_2", 5, 8, 5),
            ("data_copy_2", 9, 6, 2),
            ("requires_grad_", 8, 9, 4),
        ],
    ),
    ((1, 4), [("as_complex_pairs", 6, 1, 2), ("backward", 1, 7, 6)]),
    (
        (2, 2, 2),
        [
            ("as_complex_pairs", 0, 1, 4),
            ("as_complex", 6, 8, 2),
            ("cat", 3, 5, 5),
            ("set_perm_2", 7, 4, 0),
        ],
    ),
]


@pytest.mark.parametrize("shape, program", REGRESSIONS)
def test_regression(shape, program):
    """A program that once came out different."""
    assert compare(shape, program) is None


# Seeds of ``draw`` that once came out different and are not in the list above.
SEEDS = [
    122,
    129,
    188,
    236,
    300,
    325,
    476,
    525,
    602,
    614,
    734,
    850,
    854,
    962,
    967,
    979,
    1219,
    1336,
    5474,
    5610,
    6399,
    7227,
    8531,
    8691,
    8920,
    9317,
    9526,
    9928,
    10541,
    10996,
    21033,
    23472,
    24439,
    24588,
    30840,
    32386,
    32416,
    40258,
    100655,
    202467,
    203838,
    205475,
    300928,
    310784,
    311503,
    311621,
    311790,
]


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed):
    """A seed that once came out different."""
    assert compare(*draw(seed)) is None


def test_writes_into_expanded_tensors():
    """What torch allows of them: the last write that changes something counts."""
    import torch

    import cupola

    def program(m):
        base = m.zeros(4)
        wide = base.expand(2, 4)
        log = []
        for act in (
            lambda: wide.add_(1),
            lambda: wide.fill_(2),
            lambda: wide.masked_fill_(m.tensor([True, False, False, True]), 3.0),
            lambda: wide.__setitem__(m.tensor([0, 1]), m.tensor([[1.0], [5.0]])),
            lambda: wide.__setitem__(slice(None), m.ones(2, 4)),
            lambda: wide.uniform_(),
            lambda: wide.zero_(),
            lambda: wide.__setitem__(wide > -1, m.arange(8.0)),
        ):
            try:
                act()
                log.append(base.tolist())
            except RuntimeError as error:
                log.append(str(error)[:40])
        return log

    assert program(cupola) == program(torch)


def test_shape_in_place_keeps_views():
    """``t_`` moves the tensor and leaves its views where they were."""
    import torch

    import cupola

    def program(m):
        x = m.arange(6.0).reshape(2, 3).clone()
        row = x[0]
        x.t_()
        row.add_(10)
        x[2].mul_(2)
        x.unsqueeze_(0)
        return x.tolist(), row.tolist(), tuple(x.stride()), x._version, row._version

    assert program(cupola) == program(torch)
