"""What is no view in torch shares no memory with its operands and lies in memory as there."""

import pytest
import torch

import cupola

IMAGE = (1, 2, 1, 4)
FUNCTIONS = {
    "repeat_interleave": lambda c, x: x.repeat_interleave(3, 0),
    "repeat_interleave once": lambda c, x: x.repeat_interleave(1, 1),
    "nearest": lambda c, x: c.nn.functional.interpolate(x, size=(2, 8)),
    "bilinear": lambda c, x: c.nn.functional.interpolate(x, size=(3, 9), mode="bilinear"),
    "bicubic": lambda c, x: c.nn.functional.interpolate(x, size=(3, 9), mode="bicubic"),
    "antialias": lambda c, x: c.nn.functional.interpolate(
        x, size=(3, 2), mode="bilinear", antialias=True
    ),
    "replicate": lambda c, x: c.nn.functional.pad(x, (1, -1, 2, 1), mode="replicate"),
    "replicate cropped": lambda c, x: c.nn.functional.pad(x, (-1, -1, 0, 0), mode="replicate"),
    "replicate nothing": lambda c, x: c.nn.functional.pad(x, (0, 0, 0, 0), mode="replicate"),
    "index_select": lambda c, x: x.index_select(1, c.tensor([1, 0, 1])),
    "rows": lambda c, x: x[:, c.tensor([1, 0])],
    "index_add": lambda c, x: x.index_add(3, c.tensor([1, 0]), c.ones(1, 2, 1, 2)),
    "index_copy": lambda c, x: x.index_copy(1, c.tensor([1]), c.zeros(1, 1, 1, 4)),
    "kthvalue": lambda c, x: x.kthvalue(2, 3)[0],
    "median": lambda c, x: x.median(1)[0],
    "diag_embed": lambda c, x: c.diag_embed(x, dim1=1, dim2=2),
    "permute_copy": lambda c, x: c.permute_copy(x, (0, 3, 2, 1)),
    "transpose_copy": lambda c, x: c.transpose_copy(x, 1, 3),
    "unfold_copy": lambda c, x: c.unfold_copy(x, 3, 2, 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_result_is_its_own(name):
    function = FUNCTIONS[name]
    numbers = torch.arange(8.0).reshape(IMAGE)
    theirs = function(torch, numbers)
    given = cupola.from_numpy(numbers.numpy().copy())
    ours = function(cupola, given)
    assert ours.shape == tuple(theirs.shape)
    assert ours.is_contiguous() == theirs.is_contiguous()
    torch.testing.assert_close(torch.from_numpy(ours.numpy().copy()), theirs)
    ours.view(-1)[0] = 77.0  # each element has its own place, and it is not the operand's
    ours += 1
    assert (given.numpy() == numbers.numpy()).all()


def test_gradients_pass_through_a_result_of_its_own():
    for c in (torch, cupola):
        x = c.ones(1, 2, requires_grad=True)
        y = x.repeat_interleave(3, 0)
        y *= 2
        y.sum().backward()
        assert x.grad.tolist() == [[6.0, 6.0]]
