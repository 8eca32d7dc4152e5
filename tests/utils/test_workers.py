"""Worker processes of a loader: torch's batches, errors that arrive, nothing left behind."""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.data

import cupola
from nn.twin import PAIR, agree

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="fork and /proc")
pytestmark = LINUX


class Augmented:
    """Samples with noise of three libraries."""

    def __init__(self, lib, size=13):
        self.lib, self.size = lib, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        noise = self.lib.rand(2) + random.random() + np.random.rand()
        info = self.lib.utils.data.get_worker_info()
        return {"noise": noise, "index": index, "seed": info.seed, "worker": info.id}


def kinds_of_loaders(lib, workers=2):
    """Loaders that differ in each option that changes the batches."""
    data = lib.utils.data

    def start(number):
        lib.manual_seed(number + 100)

    def order():
        generator = lib.Generator()
        generator.manual_seed(8)
        return generator

    samples = Augmented(lib)
    batches = [[0, 1, 2], [7], [12, 3]]
    return {
        "shuffled": data.DataLoader(samples, 2, shuffle=True, num_workers=workers),
        "own generator": data.DataLoader(
            samples, 3, shuffle=True, num_workers=workers, generator=order()
        ),
        "init": data.DataLoader(samples, 4, num_workers=workers, worker_init_fn=start),
        "batch sampler": data.DataLoader(samples, num_workers=workers, batch_sampler=batches),
        "no batches": data.DataLoader(samples, batch_size=None, num_workers=workers),
        "prefetch": data.DataLoader(
            samples, 1, shuffle=True, num_workers=workers, prefetch_factor=5
        ),
        "persistent": data.DataLoader(
            samples, 2, shuffle=True, num_workers=workers, persistent_workers=True
        ),
        "collate": data.DataLoader(
            samples, 5, num_workers=workers, collate_fn=lambda rows: [r["noise"] * 2 for r in rows]
        ),
        "pinned": data.DataLoader(samples, 2, num_workers=workers, pin_memory=True),
    }


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
@pytest.mark.parametrize("name", kinds_of_loaders(torch))
def test_batches_are_torchs(name):
    found = []
    for lib in PAIR:
        lib.manual_seed(3)
        loader = kinds_of_loaders(lib)[name]
        passes = [list(loader), list(loader)]
        found.append([passes, lib.rand(3)])
    agree(*found)
    assert cupola.utils.data.get_worker_info() is None


def stream(lib, size=9):
    """An iterable data set that its workers share unevenly."""

    class Stream(lib.utils.data.IterableDataset):
        def __iter__(self):
            info = lib.utils.data.get_worker_info()
            return iter(range(info.id, size - 3 * info.id, info.num_workers))

    return Stream()


@pytest.mark.parametrize("drop_last", [False, True])
def test_each_worker_iterates_for_itself(drop_last):
    found = []
    for lib in PAIR:
        loader = lib.utils.data.DataLoader(
            stream(lib, 17), 2, num_workers=2, drop_last=drop_last, persistent_workers=True
        )
        # Which task a worker that ends gives back depends on time in torch: compare as sets.
        found.append([sorted(tuple(batch.tolist()) for batch in loader) for _ in range(2)])
    assert found[0] == found[1]


class Values:
    """Samples that are a function's values."""

    def __init__(self, function, size=8):
        self.function, self.size = function, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.function(index)


def load(function, lib=cupola, size=8, **options):
    options = {"num_workers": 2, "batch_size": 2, **options}
    return lib.utils.data.DataLoader(Values(function, size), **options)


def test_values_travel():
    big = np.arange(60000, dtype=np.float32)
    make = {
        "big": lambda i: cupola.from_numpy(big + i),
        "half": lambda i: cupola.full((5000,), i, dtype=cupola.bfloat16),
        "empty": lambda i: cupola.zeros(0, 3),
        "scalar": lambda i: cupola.tensor(i),
        "complex": lambda i: cupola.ones(3) * (1j + i),
        "text": lambda i: f"sample {i}",
        "turned": lambda i: cupola.from_numpy(big.reshape(200, 300)).t(),
        "array": lambda i: big[i : i + 3],
    }
    for function in make.values():
        alone = list(load(function, num_workers=0))
        others = list(load(function))
        assert len(alone) == len(others)
        for one, other in zip(alone, others, strict=True):
            if isinstance(one, list):
                assert one == other
                continue
            assert one.dtype is other.dtype and one.shape == other.shape
            assert bool((one == other).all())
            other.add_(1)  # a batch is memory of its own
            assert one.numel() == 0 or bool((one != other).all())


def test_many_batches_kept():
    """Each large batch is shared memory; none keeps a file open."""
    before = len(os.listdir("/proc/self/fd"))
    loader = load(lambda i: cupola.full((3000,), i), size=1500, batch_size=1)
    kept = []
    for batch in loader:
        kept.append(batch)
    assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert [int(batch[0, 0]) for batch in kept[::100]] == list(range(0, 1500, 100))


def mappings():
    return Path("/proc/self/maps").read_text().count("cupola batch")


def test_memory_is_given_back():
    for _batch in load(lambda i: cupola.full((3000,), i), size=200):
        assert mappings() < 40
    del _batch
    with pytest.raises(ZeroDivisionError):
        list(load(lambda i: cupola.full((3000,), 1 // (i - 5))))
    gc.collect()
    assert mappings() == 0
    assert not [name for name in os.listdir("/dev/shm") if "cupola" in name]


class Unusual(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


@pytest.mark.parametrize("error", [KeyError("nothing"), ValueError("bad"), Unusual(1, 2)])
def test_errors_come_with_the_workers_traceback(error):
    def function(index):
        if index == 3:
            raise error
        return index

    texts = []
    for lib in PAIR:
        loader = iter(load(function, lib))
        assert next(loader).tolist() == [0, 1]
        with pytest.raises(RuntimeError if isinstance(error, Unusual) else type(error)) as caught:
            next(loader)
        text = str(caught.value)
        assert text.startswith(f"Caught {type(error).__name__} in DataLoader worker process 1.\n")
        assert "Original Traceback (most recent call last):\n" in text and "in function" in text
        texts.append(text.splitlines()[-1])
        assert next(loader).tolist() == [4, 5]  # an exception does not end the workers
    assert texts[0] == texts[1]


def test_errors_of_init_and_of_pickling():
    def fail(number):
        raise OSError(f"no licence for {number}")

    with pytest.raises(OSError, match="Caught OSError in DataLoader worker process 0"):
        next(iter(load(int, worker_init_fn=fail)))
    with pytest.raises((TypeError, AttributeError), match="worker process 0(.|\n)*pickle"):
        next(iter(load(lambda i: threading.Lock(), collate_fn=list)))


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (lambda: os._exit(7), r"exited unexpectedly with exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"is killed by signal: Killed"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), r"is killed by signal: Segmentation"),
    ],
)
def test_a_worker_that_dies_stops_the_run(end, text):
    for lib in PAIR:
        begun = time.monotonic()
        # torch notices in two ways, of which one knows how the worker ended.
        detail = "" if lib is torch else text
        with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid.*\) " + detail):
            for _ in load(lambda i: i if i != 3 else end(), lib):
                pass
        assert time.monotonic() - begun < 30


def test_timeout():
    def function(index):
        time.sleep(0.0 if index < 2 else 30)
        return index

    for lib in PAIR:
        loader = iter(load(function, lib, timeout=1, batch_size=1))
        assert [next(loader).item() for _ in range(2)] == [0, 1]
        with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
            next(loader)


def test_workers_end_with_the_pass_and_persistent_ones_stay():
    def pids(loader):
        return [batch.tolist() for batch in loader]

    one = load(lambda i: os.getpid(), batch_size=4)
    first, second = pids(one), pids(one)
    assert {p for batch in first for p in batch}.isdisjoint(p for batch in second for p in batch)
    assert all(p != os.getpid() for batch in first for p in batch)
    stays = load(lambda i: os.getpid(), batch_size=4, persistent_workers=True)
    next(iter(stays))  # a pass that is left early
    assert pids(stays) == pids(stays)
    workers = [worker.process for worker in stays._iterator._workers]
    assert all(process.is_alive() for process in workers)
    del stays
    gc.collect()
    assert not any(process.is_alive() for process in workers)


def test_batches_as_they_come():
    def function(index):
        time.sleep(0.5 if index == 0 else 0)
        return index

    found = [batch.item() for batch in load(function, batch_size=1, in_order=False)]
    assert sorted(found) == list(range(8)) and found[0] != 0


def test_long_lists_of_indices_and_large_prefetch():
    """Pipes fill from neither end."""
    batches = [list(range(8)) * 5000 for _ in range(30)]
    loader = cupola.utils.data.DataLoader(
        Values(lambda i: i), batch_sampler=batches, num_workers=1, prefetch_factor=30
    )
    assert sum(batch.numel() for batch in loader) == 30 * 40000
    small = load(lambda i: np.zeros(400, np.uint8), prefetch_factor=400, size=1600, num_workers=1)
    assert sum(1 for _ in small) == 800


def test_spawned_workers():
    loader = cupola.utils.data.DataLoader(
        cupola.utils.data.TensorDataset(cupola.arange(6).float()),
        3,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    assert [batch[0].tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5]]


def test_options_are_checked():
    for lib in PAIR:
        make = lib.utils.data.DataLoader
        with pytest.raises(ValueError, match="multiprocessing_context can only be used"):
            make([1], multiprocessing_context="fork")
        with pytest.raises(ValueError, match="should specify a valid start method"):
            make([1], num_workers=1, multiprocessing_context="thread")
        with pytest.raises(TypeError, match="should be a valid context object"):
            make([1], num_workers=1, multiprocessing_context=3)
        with pytest.raises(ValueError, match="prefetch_factor option should be non-negative"):
            make([1], num_workers=1, prefetch_factor=-1)
        with pytest.warns(UserWarning, match="This DataLoader will create 4000 worker processes"):
            make([1], num_workers=4000)


SCRIPT = """
import os, sys, time
import cupola
class Slow(cupola.utils.data.Dataset):
    def __len__(self): return 10**6
    def __getitem__(self, i):
        time.sleep(0.02)
        return i
if __name__ == "__main__":
    loader = iter(cupola.utils.data.DataLoader(Slow(), 2, num_workers=2))
    next(loader)
    print(*[w.process.pid for w in loader._workers], flush=True)
    for _ in loader: pass
"""


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("whom", ["group", "parent", "killed"])
def test_ctrl_c_leaves_no_process(tmp_path, whom):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2 and all(running(pid) for pid in workers)
        if whom == "group":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGKILL if whom == "killed" else signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        if whom != "killed":
            assert len(re.findall("^KeyboardInterrupt", errors, re.M)) == 1, errors
        until = time.monotonic() + 20
        while any(running(pid) for pid in workers) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(running(pid) for pid in workers)
    finally:
        if process.poll() is None:
            process.kill()
