"""Two training runs side by side: errors step by step, and where the first one is too large."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

# A gradient below this part of the whole gradient is the sum of roundings (a bias before a batch
# normalization): both sides compute noise, and Adam scales noise up to full steps.
NOISE = 1e-5
# Differences of a small gradient are judged against this part of the whole gradient at least.
FLOOR = 1e-3
RATE_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """Largest relative errors: of losses, of gradients (norms, too), of weights."""

    loss: float = 1e-3
    gradient: float = 1e-2
    weight: float = 1e-2


@dataclasses.dataclass(frozen=True)
class Divergence:
    """One value that differs by more than is allowed.

    Attributes:
        step: number of the optimizer step, from 1; 0 for the weights before training.
        kind: `initial weight`, `loss`, `gradient`, `gradient norm`, `learning rate`, `weight`,
            `number of steps`, or a setting of the optimizer such as `weight_decay`.
        name: the parameter, or empty.
        error: relative error; inf where the two cannot be compared.
        before: the same error one step earlier, None if there was none.
        note: both values, or why they cannot be compared.
    """

    step: int
    kind: str
    name: str
    error: float
    allowed: float
    before: float | None = None
    note: str = ""

    def __str__(self) -> str:
        what = f"{self.kind} of {self.name}" if self.name else self.kind
        text = f"step {self.step}, {what}: "
        if math.isfinite(self.error):
            text += f"relative error {self.error:.1e}, allowed {self.allowed:.0e}"
            text += "" if self.before is None else f" (the step before: {self.before:.1e})"
        return text + (", " if math.isfinite(self.error) and self.note else "") + self.note


@dataclasses.dataclass
class Point:
    """One optimizer step of both sides: pairs are (original, converted)."""

    step: int
    optimizer: int
    loss: tuple[float, float]
    loss_error: float
    rate: tuple[float, float]
    norm: tuple[float, float]
    norm_error: float
    gradients: dict[str, float]
    weights: dict[str, float]


def relative(want: float, got: float) -> float:
    """|got - want| / |want|; 0 where both are the same or both NaN, inf where one is not finite."""
    if want == got or (math.isnan(want) and math.isnan(got)):
        return 0.0
    if not (math.isfinite(want) and math.isfinite(got)):
        return math.inf
    return abs(got - want) / max(abs(want), 1e-12)


def norm(value: np.ndarray | None) -> float:
    """Euclidean norm in float64."""
    return 0.0 if value is None else float(np.linalg.norm(value.astype(np.float64).ravel()))


def apart(want: np.ndarray | None, got: np.ndarray | None, floor: float = 0.0) -> float:
    """|got - want| / max(|want|, floor); inf where only one is there or is not finite."""
    if want is None or got is None:
        return 0.0 if want is got else math.inf
    with np.errstate(invalid="ignore", over="ignore"):
        difference = got.astype(np.float64) - want.astype(np.float64)
    if not np.isfinite(difference).all():
        return 0.0 if np.array_equal(want, got, equal_nan=True) else math.inf
    size = max(norm(want), floor)
    return norm(difference) / size if size else norm(difference)


class Mismatch(Exception):
    """The two sides do not have the same parameters."""


class Comparison:
    """Takes a record of each side at a time and keeps figures, no arrays."""

    def __init__(self, tolerances: Tolerances | None = None):
        self.tolerances = tolerances or Tolerances()
        self.points: list[Point] = []
        self.divergences: list[Divergence] = []  # the first of each kind and name
        self.layer: Any = None  # the first layer whose output differs, once it was looked for
        self._seen: set[tuple[str, str, int]] = set()
        self._names: dict[int, dict[str, str]] = {}
        self._last: dict[tuple[str, str, int], float] = {}
        self._clear: set[tuple[int, str]] = set()  # parameters whose gradient was no noise once

    @property
    def passed(self) -> bool:
        return bool(self.points) and not self.divergences

    @property
    def first(self) -> Divergence | None:
        """The first value that differs."""
        return self.divergences[0] if self.divergences else None

    @property
    def first_parameter(self) -> Divergence | None:
        """The first parameter whose gradient or weights differ."""
        return next((d for d in self.divergences if d.name), None)

    def _check(
        self, kind: str, name: str, optimizer: int, error: float, allowed: float, note: str = ""
    ) -> None:
        key = (kind, name, optimizer)
        if not error <= allowed and key not in self._seen:
            self._seen.add(key)
            step = 0 if kind == "initial weight" else len(self.points) + 1
            before = self._last.get(key)
            self.divergences.append(Divergence(step, kind, name, error, allowed, before, note))
        self._last[key] = error

    def _paired(self, want: dict[str, Any], got: dict[str, Any]) -> dict[str, str]:
        """Names of the original's parameters with those of the conversion."""
        number = want["optimizer"]
        if number not in self._names:
            mine, its = ({n: w.shape for n, w in r["weights"].items()} for r in (want, got))
            if mine == its:
                self._names[number] = {n: n for n in mine}
            elif list(mine.values()) == list(its.values()):  # a wrapper that only one side has
                self._names[number] = dict(zip(mine, its, strict=True))
            else:
                raise Mismatch(_mismatch(mine, its))
        return self._names[number]

    def add(self, want: dict[str, Any], got: dict[str, Any]) -> None:
        """Compares one step.

        Raises:
            Mismatch: other parameters, or another optimizer's turn.
        """
        number = want["optimizer"]
        if number != got["optimizer"]:
            raise Mismatch(
                f"step {len(self.points) + 1} is one of optimizer {number + 1} in the original "
                f"and one of optimizer {got['optimizer'] + 1} in the conversion"
            )
        names, allowed = self._paired(want, got), self.tolerances
        for mine, its in names.items() if want["before"] else ():
            error = apart(want["before"][mine], got["before"][its])
            self._check("initial weight", mine, number, error, allowed.weight)
        loss_error = self._losses(want["losses"], got["losses"], number)
        norms = [math.hypot(*map(norm, r["gradients"].values())) for r in (want, got)]
        gradients = {}
        # A walk backward comes to the last parameters first.
        for mine, its in reversed(names.items()):
            one, other = want["gradients"][mine], got["gradients"][its]
            gradients[mine] = apart(one, other, FLOOR * norms[0])
            note = "" if (one is None) == (other is None) else "only one side has one"
            self._check("gradient", mine, number, gradients[mine], allowed.gradient, note)
            if norm(one) > NOISE * norms[0]:
                self._clear.add((number, mine))
        norm_error = relative(*norms)
        note = f"{norms[0]:.6g} became {norms[1]:.6g}"
        self._check("gradient norm", "", number, norm_error, allowed.gradient, note)
        rates = want["rates"], got["rates"]
        rate_error = max(map(relative, *rates), default=0.0)
        if len(rates[0]) != len(rates[1]):
            rate_error = math.inf
        note = f"{_list(rates[0])} became {_list(rates[1])}"
        self._check("learning rate", "", number, rate_error, RATE_TOLERANCE, note)
        self._settings(want["settings"], got["settings"], number)
        weights = {}
        for mine, its in names.items():
            weights[mine] = apart(want["weights"][mine], got["weights"][its])
            if (number, mine) in self._clear:
                self._check("weight", mine, number, weights[mine], allowed.weight)
        loss = sum(want["losses"]), sum(got["losses"])
        rate = (rates[0][0] if rates[0] else 0.0, rates[1][0] if rates[1] else 0.0)
        self.points.append(
            Point(
                len(self.points) + 1, number, loss, loss_error, rate, (norms[0], norms[1]),
                norm_error, {n: gradients[n] for n in names}, weights,
            )
        )  # fmt: skip

    def _settings(self, want: list[dict[str, Any]], got: list[dict[str, Any]], number: int) -> None:
        """Compares what both sides' groups have: versions of a library differ in the rest."""
        shared = {key: None for group in want for key in group if all(key in g for g in got)}
        for key in shared if len(want) == len(got) else ():
            groups = zip(want, got, strict=True)
            pairs = [(mine[key], its[key]) for mine, its in groups if key in mine]
            if all(mine == its for mine, its in pairs):
                error = 0.0
            elif key == "kind of optimizer" or any(len(mine) != len(its) for mine, its in pairs):
                error = math.inf
            else:
                numbers = [ab for mine, its in pairs for ab in zip(mine, its, strict=True)]
                error = max(relative(a, b) for a, b in numbers)
            note = " became ".join(
                "; ".join(v if isinstance(v, str) else _list(v) for v in side)
                for side in zip(*pairs, strict=True)
            )
            self._check(key, "", number, error, RATE_TOLERANCE, note)

    def _losses(self, want: list[float], got: list[float], number: int) -> float:
        note = f"{_list(want)} became {_list(got)}"
        error = max(map(relative, want, got), default=0.0)
        if len(want) != len(got):
            error, note = math.inf, f"{len(want)} calls of backward() became {len(got)}"
        self._check("loss", "", number, error, self.tolerances.loss, note)
        return error

    def ended(self, side: str) -> None:
        """Notes that one side's script ended before the other's."""
        note = f"the {side} side ended after {len(self.points)} steps, the other one goes on"
        self.divergences.append(
            Divergence(len(self.points) + 1, "number of steps", "", math.inf, 0.0, None, note)
        )

    def worst(self) -> dict[str, float]:
        """The largest error of each kind over all steps."""
        clear = self._clear
        return {
            "loss": max((p.loss_error for p in self.points), default=0.0),
            "gradient norm": max((p.norm_error for p in self.points), default=0.0),
            "gradient": max((e for p in self.points for e in p.gradients.values()), default=0.0),
            "weight": max(
                (e for p in self.points for n, e in p.weights.items() if (p.optimizer, n) in clear),
                default=0.0,
            ),
        }

    def verdict(self) -> list[str]:
        """The result in one to four lines."""
        worst = ", ".join(f"{kind} {error:.1e}" for kind, error in self.worst().items())
        if self.passed:
            return [f"parity train: all {len(self.points)} steps agree; largest error: {worst}"]
        lines = [f"parity train: differs; first at {self.first}"]
        parameter = self.first_parameter
        if parameter is not None and parameter is not self.first:
            lines.append(f"first parameter: {parameter}")
        if self.layer is not None:
            lines.append(str(self.layer))
        lines.append(f"{len(self.points)} steps compared; largest error: {worst}")
        return lines

    def to_json(self) -> str:
        """The comparison as JSON: verdict, first divergences, and the figures of every step."""
        parameter = self.first_parameter
        found = {
            "passed": self.passed,
            "steps": len(self.points),
            "tolerances": dataclasses.asdict(self.tolerances),
            "worst": self.worst(),
            "first_divergence": self.first and dataclasses.asdict(self.first),
            "first_parameter": parameter and dataclasses.asdict(parameter),
            "first_layer": self.layer and dataclasses.asdict(self.layer),
            "divergences": [dataclasses.asdict(d) for d in self.divergences],
            "points": [dataclasses.asdict(p) for p in self.points],
        }
        return json.dumps(_plain(found), indent=1)


def _plain(value: Any) -> Any:
    """JSON has neither infinity nor NaN."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _list(values: list[float]) -> str:
    return ", ".join(f"{v:.7g}" for v in values) or "none"


def _mismatch(mine: dict[str, tuple], its: dict[str, tuple]) -> str:
    def lines() -> Iterator[str]:
        for name in {**mine, **its}:
            if mine.get(name) != its.get(name):
                yield f"  {name}: original {_shape(mine, name)}, converted {_shape(its, name)}"

    found = list(lines())
    more = [f"  and {len(found) - 10} more"] if len(found) > 10 else []
    head = f"the parameters do not match ({len(mine)} and {len(its)} in the optimizer):"
    return "\n".join([head, *found[:10], *more])


def _shape(shapes: dict[str, tuple], name: str) -> str:
    return "×".join(map(str, shapes[name])) or "scalar" if name in shapes else "has none"
