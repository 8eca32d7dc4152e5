"""One optimizer of the optimizer database: step for step on both sides."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

import cupola
from scoreboard.compare import difference
from scoreboard.tally import OPTIMIZER_KINDS, Options, guarded, listed, quiet, raised, seed, some
from scoreboard.tally import tally as count
from scoreboard.translate import Skipped, translate

STEPS = 20
RESUMED = 5
FLAGS = ({}, {"foreach": False}, {"foreach": True}, {"differentiable": True})
# Accumulated over 20 steps: what torch's own loops allow between foreach and not.
WITHIN = (1e-4, 1e-5)


def title(info: Any) -> str:
    """The optimizer's name."""
    return f"optim.{info.name}"


class Problem:
    """The parameters of a small least-squares problem on one side, and its gradient.

    Every parameter is a matrix: one of the optimizers takes nothing else.
    """

    shapes = ((3, 5), (5, 4), (4, 1), (1, 6))

    def __init__(self, side: Any, sparse: bool) -> None:
        generator = torch.Generator().manual_seed(3)
        # In double precision: rounding must not decide when a search has converged.
        options = {"generator": generator, "dtype": torch.float64}
        drawn = [torch.randn(s, **options) for s in self.shapes]
        aims = [torch.randn(s, **options) for s in self.shapes]
        self.side, self.sparse = side, sparse
        self.aims = [self.given(t) for t in aims]
        self.parameters = [side.nn.Parameter(self.given(t)) for t in drawn]

    def given(self, t: torch.Tensor) -> Any:
        return t if self.side is torch else translate(t)

    def loss(self) -> Any:
        """Sets the gradients and returns the loss: the closure of an optimizer."""
        for p in self.parameters:
            p.grad = None
        pairs = zip(self.parameters, self.aims, strict=True)
        total = sum((((p - a) ** 2) * (1 + k)).mean() for k, (p, a) in enumerate(pairs))
        total.backward()
        if self.sparse:
            for p in self.parameters:
                p.grad = p.grad.to_sparse()
        return total

    def groups(self) -> list[dict[str, Any]]:
        """Two groups of parameters, the second with another learning rate."""
        return [{"params": self.parameters[:2]}, {"params": self.parameters[2:], "lr": 0.003}]


class Run:
    """An optimizer with its problem on one side."""

    def __init__(self, info: Any, side: Any, kwargs: dict[str, Any], grouped: bool) -> None:
        self.problem = Problem(side, info.only_supports_sparse_grads)
        self.make = info.optim_cls if side is torch else translate(info.optim_cls)
        self.kwargs = copy.deepcopy(kwargs) if side is torch else translate(kwargs)
        targets = self.problem.groups() if grouped else self.problem.parameters
        self.optimizer = self.make(targets, **self.kwargs)
        self.grouped = grouped

    def step(self) -> None:
        if self.kwargs.get("differentiable"):
            self.problem.loss()
            with self.problem.side.no_grad():
                self.optimizer.step()
        else:
            self.optimizer.step(self.problem.loss)

    def reloaded(self) -> None:
        """Goes on with a new optimizer that has the old one's state_dict."""
        state = copy.deepcopy(self.optimizer.state_dict())
        targets = self.problem.groups() if self.grouped else self.problem.parameters
        self.optimizer = self.make(targets, **self.kwargs)
        self.optimizer.load_state_dict(state)


def _apart(theirs: Run, ours: Run) -> str | None:
    return difference(ours.problem.parameters, theirs.problem.parameters, WITHIN)


def _states(theirs: Run, ours: Run) -> str | None:
    """Compares two state_dicts of optimizers."""
    a, b = theirs.optimizer.state_dict(), ours.optimizer.state_dict()
    if list(a) != list(b) or list(a["state"]) != list(b["state"]):
        return f"state_dict: keys {list(b['state'])}, {list(a['state'])} expected"
    for number, want in a["state"].items():
        got = b["state"][number]
        if list(got) != list(want):
            return f"state_dict: state {list(got)}, {list(want)} expected"
        for key in want:
            found = difference(got[key], want[key], WITHIN)
            if found:
                return f"state_dict: {key}: {found}"
    for got, want in zip(b["param_groups"], a["param_groups"], strict=True):
        if list(got) != list(want):
            return f"state_dict: group {list(got)}, {list(want)} expected"
        found = difference(list(got.values()), list(want.values()), WITHIN)
        if found:
            return f"state_dict: group: {found}"
    return None


def _together(theirs: Run, ours: Run, steps: int) -> str | None:
    for k in range(steps):
        theirs.step(), ours.step()
        found = _apart(theirs, ours)
        if found:
            return f"step {k + 1}: {found}"
    return None


def _compare(info: Any, kwargs: dict[str, Any], kind: str) -> str | None:
    grouped = kind == "groups"

    def begin() -> Run:
        run = Run(info, torch, kwargs, grouped)
        run.step()
        return run

    try:
        begin()
    except Exception:
        raise Skipped("torch does not run this configuration") from None

    def check() -> str | None:
        theirs, ours = Run(info, torch, kwargs, grouped), Run(info, cupola, kwargs, grouped)
        found = _together(theirs, ours, STEPS) or _states(theirs, ours)
        if found or kind != "resumed":
            return found
        theirs.reloaded(), ours.reloaded()
        return _together(theirs, ours, RESUMED) or _states(theirs, ours)

    return guarded(check)


def _configurations(info: Any) -> list[dict[str, Any]]:
    """Keyword arguments of the database with each implementation flag that the optimizer has."""
    allowed = set(info.supported_impls)
    found = []
    for given in info.optim_inputs_func("cpu"):
        for flags in FLAGS:
            if set(flags) <= allowed and not set(flags) & set(given.kwargs):
                found.append({**given.kwargs, **flags})
    return found


def _error(info: Any, given: Any) -> str | None:
    """Whether building, or the first step, raises what torch raises."""
    shown, at_step = given.optimizer_error_input, "STEP" in str(given.error_on)
    generator = torch.Generator().manual_seed(3)
    params = shown.params
    if params is None:
        params = [torch.nn.Parameter(torch.randn(2, 3, generator=generator)) for _ in range(2)]

    def build(side: Any) -> Callable[[], Any]:
        def call() -> None:
            targets = copy.deepcopy(params) if side is torch else translate(params)
            kwargs = copy.deepcopy(shown.kwargs) if side is torch else translate(shown.kwargs)
            make = info.optim_cls if side is torch else translate(info.optim_cls)
            optimizer = make(targets, **kwargs)
            if at_step:
                for p in targets:
                    p.grad = p.detach() * 2
                optimizer.step()

        return call

    return raised(build(torch), build(cupola))


def run(info: Any, options: Options) -> dict[str, Any]:
    """The row of one optimizer: 20 steps, two groups, a reloaded state, and refused arguments."""
    seed(info.name)
    row: dict[str, Any] = {"name": title(info)}
    with quiet():
        samples = some(_configurations(info), options.samples)
        for kind in OPTIMIZER_KINDS[:-1]:
            if kind == "groups" and not info.supports_param_groups:
                continue
            row[kind] = {"float64": count(samples, lambda s, k=kind: _compare(info, s, k))}
        if info.optim_error_inputs_func is not None:
            errors = listed(info.optim_error_inputs_func, "cpu", torch.float64)
            row["errors"] = count(errors, lambda e: _error(info, e))
    return row
