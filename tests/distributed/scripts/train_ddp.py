"""A DistributedDataParallel script as PyTorch's users write it; started by torchrun."""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 36, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(x))).flatten(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", default="model.pt")
    args = parser.parse_args()
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    dist.init_process_group(backend="gloo", init_method="env://")
    assert dist.get_rank() == rank and dist.get_world_size() == int(os.environ["WORLD_SIZE"])
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")

    torch.manual_seed(100)
    images, labels = torch.randn(30, 1, 6, 6), torch.randint(0, 3, (30,))
    torch.manual_seed(rank)
    net = nn.SyncBatchNorm.convert_sync_batchnorm(Net()) if device.type == "cuda" else Net()
    net = DDP(net.to(device), find_unused_parameters=True)
    data = TensorDataset(images, labels)
    sampler = DistributedSampler(data, shuffle=True)
    loader = DataLoader(data, batch_size=5, sampler=sampler)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        total = torch.zeros(2, device=device)
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            with net.no_sync():
                F.cross_entropy(net(x[:2]), y[:2]).backward()
            loss = F.cross_entropy(net(x[2:]), y[2:])
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(y), len(y)], device=device)
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        if rank == 0:
            print(f"epoch {epoch} loss {total[0].item() / total[1].item():.6f}", flush=True)
    weight = net.module.head.weight.detach().reshape(-1)
    every = torch.empty(dist.get_world_size() * weight.numel(), device=device)
    dist.all_gather_into_tensor(every, weight)
    assert torch.equal(every.reshape(-1, weight.numel())[0], weight)
    names = [None] * dist.get_world_size()
    dist.all_gather_object(names, f"rank {rank}")
    message = ["from rank 0" if rank == 0 else None]
    dist.broadcast_object_list(message, src=0)
    if rank == 0:
        torch.save(net.module.state_dict(), args.out)
        print(names, message, flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
