"""What ``copy.deepcopy`` keeps of tensors: sharing, strides, gradients."""

from __future__ import annotations

import copy

import pytest

from nn.twin import PAIR

BOTH = pytest.mark.parametrize("m", PAIR, ids=["torch", "cupola"])


@BOTH
def test_views_share_the_copy(m):
    """Copies share what the originals share, and nothing with them."""
    a = m.arange(12.0).reshape(3, 4)
    b, row, turned, tail = copy.deepcopy([a, a[1], a.t(), a.view(-1)[10:]])
    assert turned.stride() == (1, 4)
    assert tail.storage_offset() == 10
    b[1] = 7.0
    assert row.tolist() == [7.0] * 4
    row.mul_(2)
    assert turned[:, 1].tolist() == [14.0] * 4
    tail.zero_()
    turned[0] = -1.0
    assert b.tolist() == [[-1, 1, 2, 3], [-1, 14, 14, 14], [-1, 9, 0, 0]]
    assert a.tolist() == m.arange(12.0).reshape(3, 4).tolist()


@BOTH
def test_what_was_written_before(m):
    """The copy of a view has what was written through the others."""
    a = m.zeros(4)
    tail = a[2:]
    a.fill_(3.0)
    a[3] = 5.0
    copied = copy.deepcopy(tail)
    a.zero_()
    assert copied.tolist() == [3.0, 5.0]
    assert copied.untyped_storage().nbytes() == 16


@BOTH
def test_buffers_of_a_module(m):
    """A view that a module keeps of its buffer is one of the copy's buffer."""
    module = m.nn.Module()
    module.register_buffer("table", m.zeros(4))
    module.head = module.table[:2]
    other = copy.deepcopy(module)
    other.table.fill_(3.0)
    assert other.head.tolist() == [3.0, 3.0]
    other.head.fill_(4.0)
    assert other.table.tolist() == [4.0, 4.0, 3.0, 3.0]
    assert module.head.tolist() == [0.0, 0.0]


@BOTH
def test_gradients(m):
    """Of parameters they are not copied, of other leaves they are."""
    layer = m.nn.Linear(2, 2)
    layer(m.ones(1, 2)).sum().backward()
    assert all(p.grad is None for p in copy.deepcopy(layer).parameters())
    x = m.ones(2, requires_grad=True)
    x.sum().backward()
    other = copy.deepcopy(x)
    other.grad.add_(1)
    assert other.grad.tolist() == [2.0, 2.0]
    assert x.grad.tolist() == [1.0, 1.0]
    p = m.nn.Parameter(m.ones(2))
    copied, values = copy.deepcopy((p, p.data))
    values.add_(1)
    assert copied.tolist() == [1.0, 1.0]


@BOTH
def test_what_a_tensor_contains(m):
    """Numbers and tensors can be looked for, nothing else."""
    assert 1 in m.ones(2)
    assert m.tensor(2.0) not in m.ones(2)
    with pytest.raises(RuntimeError, match="only supports Tensor or scalar"):
        "a" in m.ones(2)  # noqa: B015
