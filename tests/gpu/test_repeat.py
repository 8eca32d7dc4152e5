"""Runs that come again become CUDA graphs, and give the same bits."""

import pytest

import cupola
import repeats
from cupola import nn
from cupola.engine import repeat
from cupola.engine.run import stats


@pytest.fixture(autouse=True)
def forget():
    yield
    repeat.release()


@pytest.mark.parametrize("loop", repeats.LOOPS)
def test_a_loop_gives_what_it_gives_unrecorded(loop, monkeypatch):
    want = repeats.plain(monkeypatch, loop, "cuda")
    got, runs = repeats.recorded(loop, "cuda")
    assert str(got) == str(want)
    assert runs > 0


def test_many_numbers_and_arrays_in_one_launch(monkeypatch):
    def loop(device):
        ps = [nn.Parameter(cupola.randn(7 + k, 5).to(device)) for k in range(300)]
        optimizer = cupola.optim.Adam(ps, lr=1e-2)
        for k in range(9):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 / (k + 1)
            optimizer.zero_grad()
            loss = sum((p * p).sum() for p in ps)
            loss.backward()
            optimizer.step()
            loss.item()
        return [p.tolist() for p in ps]

    want = repeats.plain(monkeypatch, loop, "cuda")
    got, runs = repeats.recorded(loop, "cuda")
    assert got == want and runs > 0


def test_switches_of_the_libraries_are_heeded():
    x = cupola.randn(256, 256).cuda().realize()

    def product():
        return (((x @ x).relu() @ x).relu() @ x).relu().sum().item()

    exact = [product() for _ in range(8)]
    cupola.backends.cuda.matmul.allow_tf32 = True
    try:
        rounded = [product() for _ in range(8)]
    finally:
        cupola.backends.cuda.matmul.allow_tf32 = False
    assert len(set(exact)) == len(set(rounded)) == 1
    assert exact[0] != rounded[0]
    assert product() == exact[0]


def test_memory_is_given_back_when_it_is_short():
    import cupy

    x = cupola.randn(1 << 20).cuda().realize()

    def loop():
        for _ in range(6):
            y = (x.reshape(1024, 1024) @ x.reshape(1024, 1024)).softmax(1).cumsum(0).sum(1)
            y.tolist()

    before = stats["graphs"]
    loop()
    assert stats["graphs"] > before and repeat._kept
    free = cupy.cuda.runtime.memGetInfo()[0]
    with pytest.raises((MemoryError, RuntimeError)):
        cupola.zeros(2 * free, dtype=cupola.int8, device="cuda").add(1).realize()
    assert not repeat._kept
    loop()


def test_other_streams_run_unrecorded():
    import cupy

    x = cupola.randn(64, 64).cuda().realize()

    def value():
        return (x @ x).softmax(1).cumsum(0).sum(0).exp().sum().item()

    want = [value() for _ in range(6)]
    with cupy.cuda.Stream(non_blocking=True) as other:
        got = value()
        other.synchronize()
    assert set(want) == {got}
