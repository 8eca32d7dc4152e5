"""Ranks that begin with different weights, and lose a rank's share of the data to nobody."""

import os

import cupola as torch
from cupola import mpi, nn

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.manual_seed(rank)
net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
loader = torch.utils.data.DataLoader(torch.arange(23), batch_size=5, shuffle=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(2):
    taken, weight = [], []
    for indices in loader:
        net(torch.randn(len(indices) + 1, 3)).mean().backward()
        optimizer.step()
        weight.append(mpi.batch_weight())
        if weight[-1]:
            taken += indices.tolist()
    every = world = mpi.broadcast_object(None) or []
    from cupola.distributed import all_gather_object

    all_gather_object(every, (taken, weight))
    assert sorted(i for part, _ in every for i in part) == list(range(23)), every
    assert all(abs(sum(w) - size) < 1e-12 for w in zip(*(ws for _, ws in every), strict=True))
state = torch.cat([t.reshape(-1).double() for t in net.state_dict().values()])
assert torch.equal(state, state.mpi_broadcast(0)), rank


# A dataset without a length, a sampler of the program's own, and workers.
class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield from range(10)


class Odd(torch.utils.data.Sampler):
    def __iter__(self):
        yield from torch.randperm(9).tolist()

    def __len__(self):
        return 9


torch.manual_seed(rank)
for loader in (
    torch.utils.data.DataLoader(Stream(), batch_size=4),
    torch.utils.data.DataLoader(torch.arange(9), batch_size=4, sampler=Odd()),
    torch.utils.data.DataLoader(torch.arange(9), batch_size=3, shuffle=True, num_workers=2),
):
    taken = []
    for batch in loader:
        taken += batch.tolist() if mpi.batch_weight() else []
    every = [None] * size
    all_gather_object(every, taken)
    n = 10 if isinstance(loader.dataset, Stream) else 9
    assert sorted(i for part in every for i in part) == list(range(n)), every
