"""Numbers of optimizers that change between steps: learning rates and step counts."""

from __future__ import annotations

from typing import Any

from cupola.ir.number import Dynamic
from cupola.jit.signature import Unrepeatable

_PLAIN = (int, float)


class Settings:
    """Stands for optimizers' numbers while a call is recorded, and moves them on at each replay.

    Learning rates are read at every replay. Numbers in the per-parameter state that a step changes
    (``step``) are followed if each step adds the same to all of them; every other number has to
    stay what it was, which ``constants`` tells.
    """

    def __init__(self, optimizers: list[Any]) -> None:
        self.optimizers = optimizers
        self.places: list[tuple[dict[str, Any], str]] = []  # counters, one a parameter
        self.start = 0.0
        self.added = 0.0

    def install(self) -> None:
        """Puts changing numbers in the optimizers' dictionaries."""
        self.rates = [
            (group, group["lr"])
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            if isinstance(group.get("lr"), float)
        ]
        for k, (group, rate) in enumerate(self.rates):
            group["lr"] = Dynamic(("source", ("lr", k)), rate)
        self.counts = [
            (state, state["step"])
            for optimizer in self.optimizers
            for state in optimizer.state.values()
            if isinstance(state.get("step"), _PLAIN)
        ]
        for state, count in self.counts:
            state["step"] = Dynamic(("source", ("step", count)), count)

    def remove(self) -> None:
        """Puts plain numbers back."""
        for group, rate in self.rates:
            if isinstance(group["lr"], Dynamic):
                group["lr"] = rate
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                count = state.get("step")
                if isinstance(count, Dynamic):
                    state["step"] = count.value
        self.after = [state["step"] for state, _ in self.counts]

    def check(self) -> None:
        """Notes how the counters advance.

        Raises:
            Unrepeatable: they are not all equal, or do not advance together.
        """
        before = {count for _, count in self.counts}
        after = set(self.after)
        if len(before) > 1 or len(after) > 1:
            raise Unrepeatable("an optimizer's parameters have taken different numbers of steps")
        if before:
            self.start = before.pop()
            self.added = after.pop() - self.start
        self.groups = [group for group, _ in self.rates]
        self.states = [state for state, _ in self.counts]
        self.known = self.constants()

    def constants(self) -> list[Any]:
        """Every other plain number of the optimizers' groups."""
        return [
            v
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for k, v in group.items()
            if k not in ("params", "lr")
        ]

    def holds(self) -> bool:
        """Whether the optimizers are as they were, but for what is read anew."""
        if not self.optimizers:
            return True
        states = self.states
        counts = [state["step"] for state in states]
        return self.constants() == self.known and (
            not counts or counts.count(counts[0]) == len(counts)
        )

    def recorded(self) -> dict[Any, Any]:
        """The values while the call was recorded."""
        found: dict[Any, Any] = {("lr", k): rate for k, (_, rate) in enumerate(self.rates)}
        found["step", self.start] = self.start
        return found

    def sources(self) -> dict[Any, Any]:
        """The current values of what expressions begin with."""
        found: dict[Any, Any] = {("lr", k): group["lr"] for k, group in enumerate(self.groups)}
        if self.states:
            found["step", self.start] = self.states[0]["step"]
        return found

    def advance(self) -> None:
        """Counts one more step."""
        if self.added:
            count = self.states[0]["step"] + self.added
            for state in self.states:
                state["step"] = count
