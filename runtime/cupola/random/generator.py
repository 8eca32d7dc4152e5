"""CPUGenerator: torch's CPU generator, state bytes included."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from cupola.ir import forks

from .stream import TABLE, Stream

# torch.Generator() starts here until it is seeded.
DEFAULT_SEED = 67280421310721

# torch's saved state: the layout of its first releases, followed by what was added since.
STATE = np.dtype(
    [
        ("initial_seed", "<u8"),
        ("left", "<i4"),
        ("seeded", "<i4"),
        ("next", "<u8"),
        ("table", "<u8", (TABLE,)),
        ("normal_x", "<f8"),
        ("next_double_normal", "<f8"),
        ("normal_rho", "<f8"),
        ("has_double_normal", "<i4"),
        ("padding0", "<i4"),
        ("next_float_normal", "<f4"),
        ("has_float_normal", "u1"),
        ("padding1", "u1", (3,)),
    ]
)
STATE_BYTES = STATE.itemsize  # 5056


def check_seed(seed: int) -> int:
    """``seed`` as an unsigned 64-bit number; a negative one means its two's complement.

    Raises:
        ValueError: outside [-2^63, 2^64 - 1].
    """
    seed = int(seed)
    if not -(1 << 63) <= seed < 1 << 64:
        raise ValueError(
            f"Overflow when unpacking long long: seed {seed} does not fit in 64 bits; "
            "use a seed between -2**63 and 2**64 - 1"
        )
    return seed % (1 << 64)


class CPUGenerator:
    """A source of random numbers whose stream equals that of torch's CPU generator.

    The functions of :mod:`cupola.random` draw from it. Safe for use from several threads: each
    operator draws inside ``with generator``.

    Attributes:
        stream: the 32-bit words.
        next_double_normal: the second number of a Box-Muller pair that a call left unused;
            the next call that draws normal numbers one by one begins with it.
        next_float_normal: kept for saved states only; no CPU function of torch sets it.
        lock: held while one operator draws.
    """

    __slots__ = ("_initial_seed", "lock", "next_double_normal", "next_float_normal", "stream")

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self.lock = forks.hold(threading.RLock())
        self._initial_seed = check_seed(seed)
        self.stream = Stream(self._initial_seed)
        self.next_double_normal: float | None = None
        self.next_float_normal: float | None = None

    def manual_seed(self, seed: int) -> CPUGenerator:
        """Start the stream of ``seed``, any integer of 64 bits, signed or unsigned."""
        seed = check_seed(seed)
        with self.lock:
            self._initial_seed = seed
            self.stream.reseed(seed)
            self.next_double_normal = self.next_float_normal = None
        return self

    def seed(self) -> int:
        """Start a stream that nobody can predict and return its seed, below 2^64."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed that the stream was started from, below 2^64."""
        return self._initial_seed

    def get_state(self) -> np.ndarray:
        """The state as torch writes it: uint8, shape (5056,)."""
        state = np.zeros((), STATE)
        with self.lock:
            read = self.stream.read
            state["initial_seed"] = self._initial_seed
            # torch counts down to the next twist and has no words left in a fresh table.
            state["left"] = 1 if self.stream.fresh else TABLE + 1 - read
            state["next"] = 0 if self.stream.fresh else read
            state["seeded"] = 1
            state["table"] = self.stream.table
            if self.next_double_normal is not None:
                state["has_double_normal"] = 1
                state["next_double_normal"] = self.next_double_normal
            if self.next_float_normal is not None:
                state["has_float_normal"] = 1
                state["next_float_normal"] = self.next_float_normal
        return np.frombuffer(state.tobytes(), dtype=np.uint8).copy()

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a state of :meth:`get_state` or of torch.

        Raises:
            TypeError: not a uint8 array.
            RuntimeError: of another size than 5056, or no state of a CPU generator.
        """
        state = np.asarray(state)
        if state.dtype != np.uint8:
            raise TypeError(f"RNG state must be a uint8 (byte) array, not {state.dtype}")
        if state.size != STATE_BYTES:
            raise RuntimeError(
                f"Expected a CPU generator state of {STATE_BYTES} bytes but found {state.size}; "
                "pass what get_rng_state() or Generator.get_state() returned"
            )
        fields = np.frombuffer(np.ascontiguousarray(state).tobytes(), STATE)[0]
        left, read = int(fields["left"]), int(fields["next"])
        if not fields["seeded"] or not 0 < left <= TABLE or read > TABLE:
            raise RuntimeError(
                "Invalid mt19937 state: these bytes are not a saved CPU generator state"
            )
        with self.lock:
            self._initial_seed = int(fields["initial_seed"])
            # With one word left torch twists before it reads on, wherever it stood.
            self.stream.restore(
                fields["table"].astype(np.uint32),
                TABLE if left == 1 else read,
                fresh=left == 1 and read == 0,
            )
            self.next_double_normal = (
                float(fields["next_double_normal"]) if fields["has_double_normal"] else None
            )
            self.next_float_normal = (
                float(fields["next_float_normal"]) if fields["has_float_normal"] else None
            )

    def clone(self) -> CPUGenerator:
        """An independent generator at the same point of the stream."""
        copy = CPUGenerator.__new__(CPUGenerator)
        copy.lock = forks.hold(threading.RLock())
        copy.stream = Stream(0)
        copy.set_state(self.get_state())
        return copy

    def __enter__(self) -> CPUGenerator:
        """Hold the generator while one operator draws."""
        self.lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def __repr__(self) -> str:
        return f"CPUGenerator(seed={self._initial_seed})"

    def __getstate__(self) -> bytes:
        return CPUGenerator.get_state(self).tobytes()

    def __setstate__(self, state: bytes) -> None:
        self.lock = forks.hold(threading.RLock())
        self.stream = Stream(0)
        CPUGenerator.set_state(self, np.frombuffer(state, np.uint8))


default_generator = CPUGenerator(int.from_bytes(os.urandom(8), "little"))


def drawing(generator: CPUGenerator | None) -> CPUGenerator:
    """The generator to draw from, the default one for None; use it as ``with drawing(g) as …``."""
    return default_generator if generator is None else generator


def manual_seed(seed: int) -> CPUGenerator:
    """Seed the default generator (torch.manual_seed)."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator unpredictably (torch.seed)."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed (torch.initial_seed)."""
    return default_generator.initial_seed()


@contextmanager
def fork_rng(devices: object = None, enabled: bool = True) -> Iterator[None]:
    """Run a block and put the default generator back to where it was (torch.random.fork_rng).

    ``devices`` names generators of other devices in torch; there is only the CPU's here.
    """
    if not enabled:
        yield
        return
    saved = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(saved)
