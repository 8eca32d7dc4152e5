"""Runs that come again are recorded: who decides that, checked with a stand-in that records."""

import numpy as np
import pytest

import cupola
import repeats
from cupola import engine
from cupola.backends.base import NotRecorded
from cupola.backends.cpu.backend import CPUBackend
from cupola.engine import repeat
from cupola.engine.run import stats


class Replay:
    """Runs the function again on memory of its own, as a graph does, with numbers kept apart."""

    bytes = 1

    def __init__(self, function, arrays, fed):
        self.function, self.fed = function, fed
        self.read = {p: a.copy("K") if p in fed else a for p, a in arrays.items()}
        self.places = {p: a.ctypes.data for p, a in self.read.items()}
        self.numbers = {}
        function(self.read, None)

    def at_home(self):
        return True

    def write(self, numbers, changed):
        assert changed
        cells = dict(zip(self.function.__code__.co_freevars, self.function.__closure__))
        cells["here"].cell_contents.numbers = dict(numbers)

    def __call__(self, arrays):
        for p in self.fed:
            self.read[p][...] = arrays[p]
        for p, a in arrays.items():
            assert p in self.fed or a.ctypes.data == self.places[p]
        results = self.function(self.read, None)
        assert all(type(a) is np.ndarray for a in results.values())
        return {p: np.array(a, copy=True) for p, a in results.items()}


class Recording(CPUBackend):
    records = True
    packs = False  # as on a GPU
    refuses = False

    def repeats(self, op):
        return True

    def replay(self, function, arrays, fed, index, held):
        if self.refuses:
            raise NotRecorded("it waits")
        return Replay(function, arrays, fed)


@pytest.fixture(params=[False, True], ids=["records", "refuses"])
def backend(request):
    usual = engine.backend("cpu")
    made = Recording()
    made.refuses = request.param
    engine.use_backend("cpu", made)
    yield made
    engine.use_backend("cpu", usual)
    repeat.release()


@pytest.mark.parametrize("loop", repeats.LOOPS)
def test_a_loop_gives_what_it_gives_unrecorded(loop, backend, monkeypatch):
    want = repeats.plain(monkeypatch, loop, "cpu")
    got, runs = repeats.recorded(loop, "cpu")
    assert str(got) == str(want)
    assert bool(runs) is not backend.refuses


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [(0.5, 0.5, True), (0.0, -0.0, False), (-0.0, -0.0, True), (1, 2, False),
     (complex(0.0, 0.0), complex(0.0, -0.0), False), (1j, 1j, True)],
)  # fmt: skip
def test_numbers_that_launches_have_already(a, b, alike):
    assert repeat._alike(a, b) is alike


def test_what_is_released_is_not_recorded_again(backend):
    x = cupola.randn(4, 4).realize()

    def loop(n):
        before = stats["graphs"]
        for _ in range(n):
            ((x @ x).softmax(1).cumsum(0) @ x).exp().tolist()
        return stats["graphs"] - before

    assert bool(loop(8)) is not backend.refuses
    repeat.release()
    assert loop(8) == 0
