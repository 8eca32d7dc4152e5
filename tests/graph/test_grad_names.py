"""``grad_fn`` prints as torch's for what programs print most."""

import pytest

from nn.twin import PAIR

CASES = {
    "mean": lambda m, x: x.mean(),
    "mean of rows": lambda m, x: x.mean(0),
    "sum": lambda m, x: x.sum(),
    "sum of rows": lambda m, x: x.sum(1),
    "half": lambda m, x: x * 0.5,
    "largest": lambda m, x: x.max(),
    "largest of rows": lambda m, x: x.max(1).values,
    "amax": lambda m, x: x.amax(0),
    "relu": lambda m, x: m.nn.functional.relu(x),
    "product": lambda m, x: x @ x,
    "products": lambda m, x: m.bmm(x[None], x[None]),
    "view": lambda m, x: x.view(4),
    "flatten": lambda m, x: x.flatten(),
    "row": lambda m, x: x[0],
    "column": lambda m, x: x[:, 1],
    "rows": lambda m, x: x[:1],
    "unsqueeze": lambda m, x: x.unsqueeze(1),
    "squeeze": lambda m, x: x[None].squeeze(0),
    "T": lambda m, x: x.T,
    "transpose": lambda m, x: x[None].transpose(1, 2),
    "permute": lambda m, x: x[None].permute(1, 2, 0),
    "stack": lambda m, x: m.stack([x, x]),
    "cat": lambda m, x: m.cat([x, x]),
    "sort": lambda m, x: x.sort().values,
    "gather": lambda m, x: x.gather(0, m.tensor([[0, 1]])),
    "clone": lambda m, x: x.clone(),
    "double": lambda m, x: x.double(),
    "pad": lambda m, x: m.nn.functional.pad(x, (1, 1)),
    "l1": lambda m, x: m.nn.functional.l1_loss(x, x + 1),
    "log_softmax": lambda m, x: x.log_softmax(1),
    "linear": lambda m, x: m.nn.functional.linear(x, x, x[0]),
}


@pytest.mark.parametrize("name", CASES)
def test_names(name):
    shown = []
    for m in PAIR:
        x = (m.arange(4.0) + 1).reshape(2, 2).requires_grad_()
        out = CASES[name](m, x)
        shown.append((out.grad_fn.name(), repr(out)))
    assert shown[1] == shown[0]
