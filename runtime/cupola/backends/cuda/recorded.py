"""A finished stream capture as an executable graph, with nothing overlapping in it.

cuDNN launches some kernels so that they begin before the kernel in front of them has ended
(programmatic dependent launch). Recorded one behind the other, such kernels were seen to read what
was not yet written (cuDNN 9.19, half types): results varied from replay to replay. Edges of that
kind are therefore made full dependencies.
"""

from __future__ import annotations

import ctypes
from typing import Any

from cupola.backends.cuda.driver import check, library

_PROGRAMMATIC = 1


class _Edge(ctypes.Structure):
    _fields_ = (
        ("from_port", ctypes.c_ubyte),
        ("to_port", ctypes.c_ubyte),
        ("type", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte * 5),
    )


class Recorded:
    """An executable graph, ended from the capture on a stream.

    Raises:
        RuntimeError: the driver refused: the capture had become invalid.
    """

    def __init__(self, stream: int) -> None:
        self._driver = library()
        self._graph = ctypes.c_void_p()
        self._ready = ctypes.c_void_p()
        pointer = ctypes.c_void_p(stream)
        check(self._driver.cuStreamEndCapture(pointer, ctypes.byref(self._graph)), "recording")
        self.overlaps = self._separate()
        code = self._driver.cuGraphInstantiateWithFlags(
            ctypes.byref(self._ready), self._graph, ctypes.c_ulonglong(0)
        )
        check(code, "preparing a graph")

    def _separate(self) -> int:
        """Makes every programmatic dependency a full one; gives how many there were."""
        edges = getattr(self._driver, "cuGraphGetEdges_v2", None)
        if edges is None:  # a driver without them
            return 0
        count = ctypes.c_size_t(0)
        check(edges(self._graph, None, None, None, ctypes.byref(count)), "reading a graph")
        if not count.value:
            return 0
        nodes = ctypes.c_void_p * count.value
        first, second, kinds = nodes(), nodes(), (_Edge * count.value)()
        check(edges(self._graph, first, second, kinds, ctypes.byref(count)), "reading a graph")
        found = [k for k in range(count.value) if kinds[k].type == _PROGRAMMATIC]
        one = ctypes.c_size_t(1)
        for k in found:
            ends = ((ctypes.c_void_p * 1)(first[k]), (ctypes.c_void_p * 1)(second[k]))
            old, new = (_Edge * 1)(kinds[k]), (_Edge * 1)()
            remove, add = (
                self._driver.cuGraphRemoveDependencies_v2,
                self._driver.cuGraphAddDependencies_v2,
            )
            check(remove(self._graph, *ends, old, one), "changing a graph")
            check(add(self._graph, *ends, new, one), "changing a graph")
        return len(found)

    @property
    def executable(self) -> Any:
        """The driver's handle of the executable graph."""
        return self._ready

    def launch(self, stream: Any) -> None:
        """Queues all launches on a CuPy stream."""
        code = self._driver.cuGraphLaunch(self._ready, ctypes.c_void_p(stream.ptr))
        check(code, "launching a graph")

    def __del__(self) -> None:
        if self._ready:
            self._driver.cuGraphExecDestroy(self._ready)
        if self._graph:
            self._driver.cuGraphDestroy(self._graph)
