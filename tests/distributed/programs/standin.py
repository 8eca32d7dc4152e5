"""The way over NCCL, with CPU arrays in place of a GPU's and MPI in place of NCCL."""

import contextlib
import importlib

import numpy as np

import cupola as torch
from cupola import engine, mpi, nn
from cupola.backends.cpu import CPUBackend
from cupola.distributed import buckets, gpu

rank, size = mpi.rank(), mpi.size()
log = []


class StandIn:
    """What backends.cuda.nccl.Communicator offers."""

    def __init__(self, group):
        t = group.transport
        self.all_reduce, self.reduce, self.broadcast = t.all_reduce, t.reduce, t.broadcast
        self.all_gather, self.reduce_scatter = t.all_gather, t.reduce_scatter
        self.send, self.receive = t.send, t.receive

    def all_reduce_many(self, arrays, outs, op):
        log.append("begin")
        for a, o in zip(arrays, outs, strict=True):
            o[...] = self.all_reduce(a, op)

    @contextlib.contextmanager
    def beside(self):
        yield

    def join(self):
        log.append("end")


class Backend(CPUBackend):
    def call(self, op, *args, **kwargs):
        log.append(op.name)
        return super().call(op, *args, **kwargs)


engine.use_backend("cuda", Backend())
gpu.communicator = StandIn
buckets.average.__defaults__ = (3000,)  # several buckets


def train(compiled):
    """Losses, and what the last step did."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.SyncBatchNorm(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    )
    net = net.double().to("cuda")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.randn(8, 3, 8, 8).double(), torch.randint(0, 5, (8,))
    part = slice(rank * 8 // size, (rank + 1) * 8 // size)
    x, y = x[part].to("cuda"), y[part].to("cuda:1")  # whatever its number, the one GPU is meant

    def step(a, b):
        loss = nn.functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = torch.compile(step) if compiled else step
    losses = []
    for _ in range(5):
        log.clear()
        losses.append(mpi.mean(run(x, y)))
    assert not compiled or not run.reason, run.reason
    return losses, list(log)


importlib.import_module("cupola.ir.device").one_gpu = True
plain, _ = train(False)
compiled, order = train(True)
assert np.allclose(plain, compiled, rtol=1e-12), (plain, compiled)
began = [k for k, name in enumerate(order) if name == "begin"]
ended = [k for k, name in enumerate(order) if name == "end"]
assert len(began) == len(ended) > 1, order
assert any("matmul" in n or "convolution" in n for n in order[began[0] : began[-1]]), order
assert max(began) < min(ended), order
x = torch.ones(3, device="cuda", requires_grad=True)
y = torch.nccl_all_reduce(x * 2)
y.sum().backward()
assert y.tolist() == [2.0 * size] * 3 and x.grad.tolist() == [2.0 * size] * 3
if rank == 0:
    print(f"losses {compiled}")
