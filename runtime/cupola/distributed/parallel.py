"""Plain programs made data-parallel: first broadcast, averaged gradients, one voice.

Installed by ``start`` under mpirun. Programs that open a process group themselves switch it off.
"""

from __future__ import annotations

import io
import os
import sys
import time
import weakref
from typing import Any

from cupola.distributed import buckets, world
from cupola.distributed.buckets import Entry
from cupola.io import reader, writer
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.jit import switches
from cupola.nn.modules.module import Module, register_module_forward_pre_hook
from cupola.nn.parameter import Parameter, is_lazy
from cupola.tensor import Tensor, no_grad
from cupola.tensor import backward as passes
from cupola.tensor.core import wrap


class Averaging:
    """Parameters and buffers whose averages the ranks keep equal, in the order they were met."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._parameters: list[weakref.ref[Tensor]] = []
        self._roots: list[weakref.ref[Module]] = []
        self._buffers: dict[int, Node] = {}
        self._modules: weakref.WeakSet[Module] = weakref.WeakSet()

    def meet(self, module: Module, args: Any = None) -> None:
        """Before a module's first training step: every rank takes over rank 0's values."""
        if module in self._modules or not (module.training and mode.grad):
            return
        state = world.world()
        if not state.automatic or state.alone is not None:
            return
        self._modules.update(module.modules())
        self._roots.append(weakref.ref(module))
        take_over([*module.parameters(), *module.buffers()], state)
        for p in module.parameters():
            self._add(p)
        for b in module.buffers():
            self._buffers[id(b)] = b.node

    def _add(self, p: Tensor) -> None:
        if id(p) not in self._known:
            self._known[id(p)] = len(self._parameters)
            self._parameters.append(weakref.ref(p))
            weakref.finalize(p, self._known.pop, id(p), None)

    def after_backward(self, leaves: list[Tensor]) -> None:
        """Averages the gradients that a backward pass has left, and buffers that it changed."""
        state = world.world()
        if not (state.automatic and state.sync) or state.alone is not None:
            return
        fresh = {id(p) for p in leaves if isinstance(p, Parameter)}
        if not fresh:
            return
        for p in leaves:
            if isinstance(p, Parameter):
                self._add(p)
        entries = []
        for reference in self._parameters:
            p = reference()
            if p is not None:
                entries.append(gradient_of(p, id(p) in fresh))
        for reference in self._roots:
            root = reference()
            if root is not None:
                entries += [self._buffer(b) for b in root.buffers() if b.is_floating_point()]
        with no_grad():
            buckets.average(entries, state)

    def _buffer(self, b: Tensor) -> Entry:
        def read() -> Node | None:
            node = b.node
            return None if node is self._buffers.get(id(b)) else node

        def write(node: Node) -> None:
            b.assign(node)
            self._buffers[id(b)] = b.node

        return Entry(b, read, write)


def gradient_of(p: Tensor, fresh: bool) -> Entry:
    """The entry of a parameter's gradient; shared if a backward pass has just changed it."""

    def read() -> Node | None:
        return p.grad.node if fresh and p.grad is not None else None

    def write(node: Node) -> None:
        if p.grad is None:
            p.grad = wrap(node)
        else:
            p.grad.assign(node)

    return Entry(p, read, write)


def take_over(tensors: list[Tensor], group: Any, root: int = 0) -> None:
    """Every rank's tensors become those of rank ``root``."""
    from cupola.distributed import collectives

    own = [(None if is_lazy(t) else (tuple(t.shape), str(t.dtype))) for t in tensors]
    first = group.transport.broadcast_object(own, root)
    differing = [k for k, (a, b) in enumerate(zip(own, first, strict=False)) if a != b]
    if len(own) != len(first) or differing:
        raise RuntimeError(
            f"rank {group.rank} has {len(own)} parameters and buffers, rank {root} {len(first)}; "
            f"numbers {differing[:5]} differ in shape or dtype: build the same model on every rank"
        )
    with no_grad():
        for t in tensors:
            if not is_lazy(t) and t.numel():
                node = t.node
                value = collectives.run("broadcast", node, group, "auto", root=root)
                t.assign(buffer_like(value, node))


def buffer_like(value: Any, node: Node) -> Node:
    """A node that holds an array, of the dtype and device of another."""
    from cupola.ir.source import buffer

    return buffer(value, node.dtype, node.device)


class Quiet(io.TextIOBase):
    """A stream that passes on what is written while this rank has something to say."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def _loud(self) -> bool:
        state = world.world()
        return state.aware or not state.automatic

    def write(self, text: str) -> int:
        return self._stream.write(text) if self._loud() else len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._loud() and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    @property
    def buffer(self) -> Any:
        return self._stream.buffer


averaging = Averaging()


def _writes(f: Any) -> bool:
    """Whether this rank writes a checkpoint: rank 0 does; every rank, if the program knows it."""
    state = world.world()
    alike = state.automatic and not state.aware and state.alone is None
    if state.rank == 0 or not alike:
        return True
    path = os.path.realpath(f)
    _left[path] = _left.get(path, 0) + 1
    return False


# How often this rank has left a file to rank 0, and how often that has said that it is written.
_left: dict[str, int] = {}
_heard: dict[str, int] = {}


def _written(f: Any) -> None:
    """Rank 0 says that it has written a checkpoint."""
    state = world.world()
    if state.automatic and not state.aware and state.alone is None and state.rank == 0:
        state.transport.tell_all(os.path.realpath(f))


def _await(f: Any) -> None:
    """Before a rank reads a file that it left to rank 0: waits until it is written."""
    if not _left or not isinstance(f, (str, os.PathLike)):
        return
    path, end = os.path.realpath(f), time.monotonic() + 60
    while _heard.get(path, 0) < _left.get(path, 0) and time.monotonic() < end:
        told = world.world().transport.told()
        if told is None:
            time.sleep(0.005)
        else:
            _heard[told] = _heard.get(told, 0) + 1


def install() -> None:
    """Hooks the above into modules, backward passes, checkpoints and the standard streams."""
    state = world.world()
    register_module_forward_pre_hook(averaging.meet)
    passes.finished.append(averaging.after_backward)
    passes.weight = lambda: state.weight if state.automatic else 1.0
    writer.writes, writer.written, reader.ready = _writes, _written, _await
    switches.append(lambda: (state.automatic, state.sync, state.alone, state.weight))
    if state.rank:
        sys.stdout, sys.stderr = Quiet(sys.stdout), Quiet(sys.stderr)
