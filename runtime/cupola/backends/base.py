"""What the engine asks of a backend: memory, generated kernels, library calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cupola.codegen.form import Kernel
from cupola.dtypes import dtype

Array = Any  # numpy.ndarray or cupy.ndarray
Launch = Callable[[Sequence[Array], Sequence[int], Sequence[float | int]], None]


class NotRecorded(RuntimeError):
    """Launches cannot be recorded: part of the work waits for the host."""


class WeightKey(NamedTuple):
    """Stands for a weight's contents.

    Attributes:
        weights, root: the weight's name.
        fixed: it stays for many runs, all of which are done alike: an algorithm that prepares it
            at length pays, and may round otherwise than the one for single runs.
    """

    weights: int
    root: int
    fixed: bool = False


class Backend(ABC):
    """One kind of device.

    Arrays are NumPy arrays (or CuPy arrays) whose ``shape`` is the logical shape; generated kernels
    receive them
    with the meta array that describes strides and offsets, counted in elements from the array's own
    data pointer.
    """

    name: str
    generates: bool = True  # False: every primitive runs through ``call``
    records: bool = False  # whether ``record`` exists
    packs: bool = False  # whether library calls take ``weight_key`` and keep packed weights by it

    @property
    @abstractmethod
    def xp(self) -> Any:
        """The array module: numpy or cupy."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: dtype, index: int = 0) -> Array:
        """An uninitialised C-contiguous array on device number ``index``."""

    def strided(
        self, base: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> Array:
        """A view of an array's memory. Strides and offset count bytes, the offset from the array's
        first element; either may be negative.
        """
        view_of = self.xp.lib.stride_tricks.as_strided
        # The base may have any strides itself; in an array that runs backwards, the view may begin
        # before its first element.
        size = base.dtype.itemsize
        steps, way = abs(offset) // size, size if offset >= 0 else -size
        start = view_of(base, (steps + 1,), (way,))[steps:]
        return view_of(start, shape, strides)

    @abstractmethod
    def from_numpy(self, array: Any, index: int = 0) -> Array:
        """Copies (or on the CPU: wraps) a NumPy array."""

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """The array as NumPy array, waiting for pending work; on the CPU without a copy."""

    @abstractmethod
    def compile(self, kernel: Kernel) -> Launch:
        """Code for a kernel: a callable ``launch(buffers, meta, scalars)``; cached in memory and on
        disk.

        ``buffers`` are arrays in the order of ``Kernel.buffers``; ``meta`` the packed integers;
        ``scalars`` numbers.
        """

    def compile_many(self, kernel: Kernel) -> Callable[[Sequence[Any]], None]:
        """A callable that runs one kernel over many sets of arrays.

        It takes a list of (buffers, meta, scalars), independent of each other.
        """
        launch = self.compile(kernel)

        def each(work: Sequence[Any]) -> None:
            for arrays, meta, scalars in work:
                launch(arrays, meta, scalars)

        return each

    @abstractmethod
    def call(self, op: Any, arrays: Sequence[Array], attrs: dict[str, Any], like: Any) -> Any:
        """Runs one primitive by a vendor library or, without one, by its NumPy-style reference.

        ``like`` has the result's ``shape`` and ``dtype`` (a Node). Returns an array, or a tuple for
        several results.
        """

    def synchronize(self, index: int = 0) -> None:
        """Waits until all work on the device has ended."""
        return None

    def memory(self, index: int = 0) -> tuple[int, int]:
        """Bytes that arrays take of a device, and how many they may; (0, 0) if it is not known."""
        return 0, 0

    def forget(self, keys: Sequence[Any]) -> None:
        """Drops what library calls have kept for weights under these keys."""
        return None

    def record(self, function: Callable[[], list[Array]], index: int = 0) -> Any:
        """Launches made by a function, to be repeated as one: only where ``records`` is set.

        Returns an object with ``feed(static, arrays)``, which copies new inputs into the arrays
        that the function reads, and ``__call__()``, which repeats the launches and gives fresh
        arrays with the results.

        Raises:
            NotRecorded: the function waits for the device.
        """
        raise NotImplementedError(f"the {self.name} backend records no launches")

    def repeats(self, op: Any) -> bool:
        """Whether a library call may be part of what ``replay`` records."""
        return False

    def settings(self) -> Any:
        """The switches that library calls heed, to be compared."""
        return None

    def address(self, array: Array) -> int:
        """Where an array begins in the device's memory."""
        return int(array.ctypes.data)

    def replay(
        self,
        function: Callable[[dict[Any, Array], Any], dict[Any, Array]],
        arrays: dict[Any, Array],
        fed: Sequence[Any],
        index: int,
        held: int,
    ) -> Any:
        """A run recorded, to be repeated on other arrays: only where ``records`` is set.

        Args:
            function: ``function(arrays, watch)`` runs on arrays by place, and gives results by
                place; ``watch`` goes to ``engine.run``.
            arrays: what it reads now.
            fed: places whose arrays change from call to call; the others must stay where they are.
            held: bytes that other recorded runs hold on this device.

        Returns an object with ``write(numbers, changed)``, which passes other numbers to kernels,
        ``bytes``, which it holds, ``at_home()``, whether the current stream is that of the other
        replays, and ``__call__(arrays)``, which gives fresh results by place.

        Raises:
            NotRecorded: the function waits for the device, needs much memory, or kernels cannot be
                given these numbers.
        """
        raise NotImplementedError(f"the {self.name} backend records no launches")
