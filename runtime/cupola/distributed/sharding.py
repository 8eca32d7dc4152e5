"""Which samples of a loader's batches this rank takes.

A batch keeps the size that the program gave it, over all ranks together: each takes a contiguous
part, so that every sample is seen once an epoch and the gradient is that of the whole batch. Ranks
take shares that differ by one sample at most; ``world.weight`` makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cupola.distributed import world
from cupola.ir.mode import mode
from cupola.random import default_generator
from cupola.utils.data import distributed as samplers
from cupola.utils.data import sampler as orders

_SEEDED = (
    orders.RandomSampler,
    orders.SequentialSampler,
    orders.SubsetRandomSampler,
    orders.WeightedRandomSampler,
)


def of(loader: Any) -> Share | None:
    """How a pass that begins now is shared, or None: every rank goes through all of it.

    Training is shared. A pass begun where no gradients are recorded (evaluation) is not, so that
    what a program counts over it is right as it stands; ``cupola.mpi.shard`` overrules that.
    """
    state = world.world()
    if not state.automatic or state.alone is not None:
        return None
    wanted = getattr(loader, "sharded", None)
    if wanted is None:
        wanted = mode.grad
    own = isinstance(loader.sampler, samplers.DistributedSampler)
    if not wanted or own or loader.batch_size is None and loader.batch_sampler is None:
        state.weight = 1.0
        return None
    return Share(loader, state)


class Share:
    """One pass over a loader, as one of several ranks."""

    def __init__(self, loader: Any, state: Any) -> None:
        self._state = state
        self._loader = loader
        plain = type(loader.batch_sampler) is orders.BatchSampler
        self._seeded = plain and (loader._iterable or type(loader.sampler) in _SEEDED)
        # The order is drawn from rank 0's random stream at every rank.
        self._generator = loader.generator or getattr(loader.sampler, "generator", None)
        source = self._generator or default_generator
        source.set_state(state.transport.broadcast_object(source.get_state(), 0))

    def follow(self, indices: Iterator[Any], seed: int) -> Iterator[Any]:
        """This rank's part of each batch of indices."""
        if not self._seeded:
            own = list(indices) if self._state.rank == 0 else None
            indices = iter(self._state.transport.broadcast_object(own, 0))
        first = True
        for batch in indices:
            if first and self._state.rank and self._generator is None:
                # From here on the ranks draw different numbers: dropout, noise, augmentation.
                default_generator.manual_seed((seed + self._state.rank) & (2**63 - 1))
            first = False
            yield batch if self._loader._iterable else self.part(batch)
        self._state.weight = 1.0

    def part(self, batch: list[Any]) -> list[Any]:
        """This rank's samples of a batch; the last one, with no weight, where there are too few."""
        n, rank, size = len(batch), self._state.rank, self._state.size
        low, high = n * rank // size, n * (rank + 1) // size
        self._state.weight = (high - low) * size / n
        return list(batch[low:high]) or list(batch[-1:])
