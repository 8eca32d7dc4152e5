"""A plain program, with no line for several processes: prints what it counts and saves its state.

usage: training.py FOLDER
"""

import os
import pathlib
import sys

import cupola as torch
from cupola import nn

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(1)
x, y = torch.randn(27, 3, 6, 6).double(), torch.randint(0, 5, (27,))
data = torch.utils.data.TensorDataset(x, y)


def train(norm, every=1):
    """Gradients after each backward pass, and the final state; a step every so many passes."""
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    ).double()
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    grads, passes = [], 0
    for _ in range(2):
        for a, b in loader:
            if passes % every == 0:
                optimizer.zero_grad()
            nn.functional.cross_entropy(net(a), b).backward()
            grads.append(net[0].weight.grad.clone())
            passes += 1
            if passes % every == 0:
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
                optimizer.step()
    return {"grads": grads, "state": net.state_dict()}


def train_compiled(norm):
    """The same with a compiled step, which holds its averages."""
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    ).double()
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    @torch.compile
    def step(a, b):
        loss = nn.functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    grads = []
    for _ in range(3):
        for a, b in loader:
            step(a, b)
            grads.append(net[0].weight.grad.clone())
    assert not step.reason, step.reason
    return {"grads": grads, "state": net.state_dict()}


results = {
    "compiled": train_compiled(nn.SyncBatchNorm(8)),
    "without": train(nn.GroupNorm(2, 8)),
    "synchronised": train(nn.BatchNorm2d(8, sync=True)),
    "accumulated": train(nn.GroupNorm(2, 8), every=2),
}
with torch.no_grad():
    counted = sum(len(b) for _, b in torch.utils.data.DataLoader(data, batch_size=8))
print(f"samples in an evaluation: {counted}")
torch.save(results, folder / "last.pt")
torch.save({}, folder / f"rank-{os.environ.get('RANK', 0)}.pt")
