"""Every operator on every dtype, with its gradient, against what all ranks' values say."""

import numpy as np

import cupola
from cupola import mpi

rank, size = mpi.rank(), mpi.size()
OPS = {"add": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}


def values(r, shape=(3, 2), dtype=np.float64):
    return (np.random.default_rng(r).integers(1, 9, shape) + 0.5 * r).astype(dtype)


every = np.stack([values(r) for r in range(size)])
seeds = np.stack([values(100 + r) for r in range(size)])


def check(function, value, gradient, shape=(3, 2)):
    """The result at this rank, and the gradient of the sum of all ranks' results times seeds."""
    x = cupola.tensor(values(rank, shape), requires_grad=True)
    y = function(x)
    assert np.allclose(y.detach().numpy(), value), (rank, y, value)
    seed = cupola.tensor(values(100 + rank, tuple(y.shape)))
    (y * seed).sum().backward()
    assert np.allclose(x.grad.numpy(), gradient), (rank, x.grad, gradient)


for reduce_all in (mpi.mpi_all_reduce, cupola.nccl_all_reduce):
    check(lambda x, f=reduce_all: f(x), every.sum(0), seeds.sum(0))
    check(lambda x, f=reduce_all: f(x, "mean"), every.mean(0), seeds.mean(0))
    for op in ("max", "min"):
        extreme = OPS[op](every, axis=0)
        held = every == extreme
        want = seeds.sum(0) * held[rank] / held.sum(0)
        check(lambda x, f=reduce_all, op=op: f(x, op), extreme, want)

root = size - 1
here = rank == root
for op in ("add", "mean"):
    scale = size if op == "mean" else 1
    for function in (mpi.mpi_reduce, mpi.nccl_reduce):
        want = every.sum(0) / scale * here
        check(lambda x, f=function, op=op: f(x, op, root), want, seeds[root] / scale)
for function in (mpi.mpi_broadcast, mpi.nccl_broadcast):
    check(lambda x, f=function: f(x, root), every[root], seeds.sum(0) * here)

rows = np.stack([values(100 + r, (size, 3, 2)) for r in range(size)])
check(mpi.all_gather, every, rows[:, rank].sum(0))
wide = np.stack([values(r, (size, 3, 2)) for r in range(size)])
check(mpi.reduce_scatter, wide[:, rank].sum(0), seeds, (size, 3, 2))
check(lambda x: x.reduce_scatter("mean"), wide[:, rank].mean(0), seeds / size, (size, 3, 2))

# Second derivatives: the gradient of a gradient is a collective as well.
x = cupola.tensor(values(rank), requires_grad=True)
(g,) = cupola.autograd.grad((mpi.mpi_all_reduce(x) ** 3).sum(), x, create_graph=True)
g.sum().backward()
assert np.allclose(x.grad.numpy(), 6 * every.sum(0) * size * size), rank

# Methods, and dtypes that MPI knows and does not know.
for name in ("float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64"):
    dtype = getattr(cupola, name)
    t = cupola.tensor([1, 0, rank % 2], dtype=dtype)
    total = t.mpi_all_reduce()
    assert total.dtype is dtype
    want = [1, 0, int(size > 1)] if name == "bool" else [size, 0, size // 2]
    assert total.to(cupola.complex64).real.tolist() == want, (name, total)
    assert cupola.equal(t.mpi_broadcast(root), cupola.tensor([1, 0, root % 2], dtype=dtype))
empty = cupola.zeros(0, 3)
assert empty.mpi_all_reduce().shape == (0, 3)
assert cupola.tensor(2.0).mpi_all_reduce().shape == ()
assert cupola.arange(6.0).reshape(2, 3).t().mpi_all_reduce("mean").tolist() == [
    [0, 3],
    [1, 4],
    [2, 5],
]

# Errors are raised before anything is sent, at every rank.
for wrong, error in (
    (lambda: x.mpi_all_reduce("median"), ValueError),
    (lambda: cupola.arange(3).mpi_all_reduce("mean"), TypeError),
    (lambda: mpi.mpi_broadcast(x, size), ValueError),
    (lambda: mpi.reduce_scatter(cupola.zeros(size + 1)), ValueError),
):
    try:
        wrong()
    except error:
        continue
    raise AssertionError(f"{error.__name__} was expected")

# From one rank to another, and the gradient back.
if size > 1:
    if rank == 0:
        x = cupola.tensor([1.0, 2.0], requires_grad=True)
        mpi.send(x * 3, 1).backward()
        assert x.grad.tolist() == [30.0, 60.0], x.grad
    if rank == 1:
        y = mpi.recv(cupola.zeros(2, requires_grad=True), 0)
        assert y.tolist() == [3.0, 6.0]
        (y * cupola.tensor([10.0, 20.0])).sum().backward()

# Groups, a lone process, and a value read by one rank only.
if size > 1:
    pair = mpi.new_group([0, 1])
    if rank < 2:
        assert cupola.ones(1).mpi_all_reduce(group=pair).item() == 2
with mpi.single_process_scope(root) as mine:
    if mine:
        assert cupola.ones(1).mpi_all_reduce().item() == 1
pending = (cupola.ones(4) * (rank + 1)).exp()
total = pending.mpi_all_reduce() + 1
if here:
    print(f"read by rank {rank}: {total[0].item():.3f}")
mpi.barrier()
assert mpi.sum(rank) == size * (size - 1) / 2
assert mpi.broadcast_object({"from": rank}, root) == {"from": root}
