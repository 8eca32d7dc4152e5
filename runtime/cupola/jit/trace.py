"""One call under observation: what it reads, what it writes, and whether it can be replayed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from cupola import engine
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.number import lost
from cupola.ir.op import pending
from cupola.ir.source import CONST
from cupola.jit.entry import Entry
from cupola.jit.free import Free
from cupola.jit.settings import Settings
from cupola.jit.signature import Unrepeatable, epoch, structure
from cupola.random import default_generator
from cupola.tensor import Tensor

_UNKNOWN = "it reads a tensor that is no argument, parameter, buffer or variable of the function"


class Trace:
    """Recording one call. Use: ``with trace: result = f(...)``, then ``trace.entry(result)``."""

    def __init__(self, free: Free, tensors: list[Tensor]) -> None:
        self.free = free
        self.tensors = tensors
        self.inputs = [t.node for t in tensors]
        self.handles = free.handles()
        self.grads = [h._grad for h in self.handles]
        self.handles += [g for g in self.grads if g is not None]
        nodes = [t.node for t in (*self.tensors, *self.handles)]
        engine.realize([n for n in nodes if n.device.type != "meta"])
        self.nodes = [h.node for h in self.handles]
        self.optimizers = free.optimizers()
        self.settings = Settings(self.optimizers)
        pending.count += 1
        self.since = pending.count
        self.before = self._state()
        self.pinned: list[Node] = []
        self.epoch = epoch.count

    def __enter__(self) -> Trace:
        self.held = mode.held
        mode.held = True
        mode.pinned = self.pinned
        lost.clear()
        self.settings.install()
        return self

    def __exit__(self, *error: Any) -> bool:
        mode.held = self.held
        mode.pinned = []
        self.settings.remove()
        return False

    def _state(self) -> Any:
        runs = engine.stats["plans"] + engine.stats["hits"]
        drawn = default_generator.get_state().tobytes()
        return runs, drawn, random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore

    def written(self) -> bool:
        """Whether an argument was written in place."""
        return [t.node for t in self.tensors] != self.inputs

    def entry(self, result: Any) -> Entry:
        """The captured call.

        Raises:
            Unrepeatable: it did more than compute and write, or its results carry gradients.
        """
        if lost:
            raise Unrepeatable(lost[0])
        if self._state() != self.before:
            raise Unrepeatable("it observes a value or draws random numbers")
        if self.free.hooked():
            raise Unrepeatable("a module has hooks")
        if epoch.count != self.epoch:
            raise Unrepeatable("it changes a module's attributes")
        if self.written():
            raise Unrepeatable("it writes into an argument")
        if len(self.free.handles()) != len(self.handles) - sum(g is not None for g in self.grads):
            raise Unrepeatable("it makes tensors that outlive it")
        self.settings.check()
        outputs: list[Tensor] = []
        rebuild = structure(result, outputs, self.tensors)
        self._check_results(outputs)
        writes = [
            (h, old, h.node)
            for h, old in zip(self.handles, self.nodes, strict=True)
            if h.node is not old
        ]
        owners = self.handles[: len(self.grads)]
        fresh = [(p, p._grad) for p, g in zip(owners, self.grads, strict=True) if p._grad is not g]
        made = [o.node for o in outputs]
        made += [n for _, _, n in writes] + [g.node for _, g in fresh if g is not None]
        device = self._check_made(made)
        handles = self._read_handles(made, device)
        known = {id(h) for h in handles}
        handles += [h for h, _, _ in writes if id(h) not in known]
        return Entry(
            outputs, self.inputs, handles, writes, fresh, list(zip(owners, self.grads)),
            self.settings, self.free, rebuild, device,
        )  # fmt: skip

    def _check_results(self, outputs: list[Tensor]) -> None:
        for out in outputs:
            if out.requires_grad and not out.node.freed:
                raise Unrepeatable("its results carry gradients")
            if type(out) is not Tensor:
                raise Unrepeatable(f"it returns a {type(out).__name__}")
            others = (*self.handles, *self.tensors, *outputs)
            if out._storage is not None and any(
                out._storage is other._storage for other in others if other is not out
            ):
                raise Unrepeatable("it returns a view of an argument, a parameter or a result")

    def _check_made(self, made: list[Node]) -> Any:
        if not made:
            raise Unrepeatable("it computes nothing")
        devices = {n.device for n in made}
        if len(devices) != 1:
            raise Unrepeatable("its results are on several devices")
        (device,) = devices
        if device.type == "meta":
            raise Unrepeatable("meta tensors hold no values")
        if any(n.value is not None for n in made):
            raise Unrepeatable("a result or a written tensor was not computed")
        return device

    def _read_handles(self, made: list[Node], device: Any) -> list[Tensor]:
        known = {id(n) for n in self.inputs}
        state = {id(n): h for n, h in zip(self.nodes, self.handles, strict=True)}
        used: dict[int, Tensor] = {}
        for node in engine.sources(made):
            if node.op is CONST and node.value is None:
                if node.serial < self.since:
                    raise Unrepeatable(_UNKNOWN)
                continue
            if node.device is not device:
                raise Unrepeatable("it moves values between devices")
            if id(node) in state:
                used[id(node)] = state[id(node)]
            elif id(node) not in known and node.serial < self.since:
                raise Unrepeatable(_UNKNOWN)
        return list(used.values())
