"""The Mersenne Twister as torch's CPU generator runs it: one stream of 32-bit words.

NumPy's MT19937 makes the words; this file only adds torch's seeding and torch's way of
counting how far the current table of 624 words has been read.
"""

from __future__ import annotations

import numpy as np

TABLE = 624  # words in the twister's table

# Words are made in blocks that stay in the second-level cache while they are transformed.
BLOCK = 1 << 16
# Up to this many the raw words, which come as uint64, are had sooner.
_FEW = 4096


class Stream:
    """MT19937 seeded with ``init_genrand``, read as 32-bit words.

    Attributes:
        fresh: nothing was drawn since seeding, so the table has not been twisted yet; torch
            writes this case differently into a saved state.
    """

    __slots__ = ("_bits", "_words", "fresh")

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self._words = np.random.Generator(self._bits)
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start again from the low 32 bits of ``seed``."""
        # RandomState is NumPy's frozen legacy interface: an integer seed means init_genrand.
        self._bits.state = np.random.RandomState(seed & 0xFFFFFFFF).get_state(legacy=False)
        self.fresh = True

    def words(self, count: int) -> np.ndarray:
        """The next ``count`` words, uint32."""
        if count:
            self.fresh = False
        if count <= _FEW:
            return self._bits.random_raw(count).astype(np.uint32)
        # Over the whole 32-bit range NumPy hands out the words as they come.
        return self._words.integers(0, 1 << 32, size=count, dtype=np.uint32)

    @property
    def table(self) -> np.ndarray:
        """The twister's table, 624 words of uint32."""
        return self._bits.state["state"]["key"]

    @property
    def read(self) -> int:
        """How many words of the table have been handed out, 624 when fresh."""
        return int(self._bits.state["state"]["pos"])

    def restore(self, table: np.ndarray, read: int, fresh: bool) -> None:
        """Continue from a table of which ``read`` words have been handed out."""
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {"key": np.ascontiguousarray(table, dtype=np.uint32), "pos": read},
        }
        self.fresh = fresh

    def snapshot(self) -> tuple[np.ndarray, int, bool]:
        """What :meth:`restore` takes to come back to this point."""
        state = self._bits.state["state"]
        return state["key"], int(state["pos"]), self.fresh


class ReadAhead:
    """Float64 uniforms one at a time for samplers that cannot say beforehand how many they need.

    Draws blocks ahead of use; leaving the ``with`` block puts the stream back to just after the
    last number that was taken.
    """

    __slots__ = ("_mark", "_next", "_stream", "_taken", "_values")

    def __init__(self, stream: Stream, block: int = 256) -> None:
        self._stream = stream
        self._values: list[float] = []
        self._next = 0
        self._taken = 0
        self._mark = stream.snapshot()
        self._refill(block)

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        used = self._taken + self._next
        self._stream.restore(*self._mark)
        left = 2 * used
        while left > 0:
            left -= self._stream.words(min(left, BLOCK)).size

    def _refill(self, block: int) -> None:
        self._taken += self._next
        self._values = unit_float64(self._stream.words(2 * block)).tolist()
        self._next = 0

    def uniform(self) -> float:
        """The next float64 uniform of [0, 1)."""
        if self._next == len(self._values):
            self._refill(min(2 * len(self._values), BLOCK))
        value = self._values[self._next]
        self._next += 1
        return value


def unit_float32(words: np.ndarray) -> np.ndarray:
    """Uniform float32 numbers of [0, 1): the low 24 bits of each word. Overwrites ``words``."""
    words &= np.uint32(0xFFFFFF)
    # The signed view converts with one vector instruction; the values are below 2^24.
    return words.view(np.int32).astype(np.float32) * np.float32(2.0**-24)


def join64(words: np.ndarray) -> np.ndarray:
    """Pairs of words as uint64, the first of a pair in the high half."""
    pairs = words.reshape(-1, 2).astype(np.uint64)
    return (pairs[:, 0] << np.uint64(32)) | pairs[:, 1]


def unit_float64(words: np.ndarray) -> np.ndarray:
    """Uniform float64 numbers of [0, 1): the low 53 bits of each pair of words."""
    pairs = words.reshape(-1, 2)
    high = (pairs[:, 0] & np.uint32(0x1FFFFF)).astype(np.float64)
    high *= 2.0**32
    high += pairs[:, 1]  # at most 53 bits together: exact
    high *= 2.0**-53
    return high
