"""One layer of the module database: built, called, differentiated and saved on both sides."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

import cupola
from scoreboard.compare import difference, flatten, tolerance
from scoreboard.samples import random_like, start
from scoreboard.tally import MODULE_KINDS, Options, describe, listed, quiet, seed, some, torch_only
from scoreboard.tally import tally as count
from scoreboard.translate import Missing, Skipped, target, translate

KINDS = (torch.Tensor, cupola.Tensor)


def title(info: Any) -> str:
    """The layer's name."""
    return info.name


def _built(info: Any, given: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """(torch's layer, cupola's), each built with the same seed."""
    start()
    theirs = torch_only(lambda: info.module_cls(*given.args, **given.kwargs))
    start()
    ours = translate(info.module_cls)(*translate(given.args), **translate(given.kwargs))
    if type(ours).__name__ != info.module_cls.__name__:
        raise Missing(f"nn.{info.module_cls.__name__}")
    return theirs.to(dtype), ours.to(translate(dtype)).to(target())


def _tensors(x: Any, kind: type) -> list[Any]:
    return [t for t in flatten(x) if isinstance(t, kind)]


def _state(theirs: Any, ours: Any, within: Any) -> str | None:
    """Compares two state_dicts: their keys, then shapes, dtypes and values."""
    a, b = theirs.state_dict(), ours.state_dict()
    if list(a) != list(b):
        return f"keys: {sorted(set(a) ^ set(b)) or 'in another order'}"
    for key in a:
        found = difference(b[key], a[key], within)
        if found:
            return f"{key}: {found}"
    return None


def _call(module: Any, parts: Any) -> Any:
    return module(*parts[0], **parts[1])


def check(
    info: Any, sample: Any, training: bool, dtype: torch.dtype, within: Any
) -> dict[str, str | None]:
    """What each kind of comparison says about one way to build and to call a layer.

    Raises:
        Skipped: torch does not run this sample here.
    """
    said: dict[str, str | None] = dict.fromkeys(MODULE_KINDS)
    given = sample.constructor_input
    parts = (tuple(sample.forward_input.args), dict(sample.forward_input.kwargs))
    try:
        theirs, ours = _built(info, given, dtype)
        for side in (theirs, ours):
            side.train(training)
        if repr(ours) != repr(theirs):
            said["repr"] = f"{repr(ours)[:80]!r}"
        if not info.is_lazy:
            said["initial"] = _state(theirs, ours, None)
            if said["initial"] is None or ":" in said["initial"]:
                ours.load_state_dict({k: translate(v) for k, v in theirs.state_dict().items()})
        translated = translate(parts)
        start()
        want = torch_only(lambda: _call(theirs, parts))
        start()
        got = _call(ours, translated)
        if info.is_lazy:  # a lazy layer has its parameters from here on
            said["initial"] = _state(theirs, ours, None)
        said["forward"] = difference(got, want, within)
        said["gradient"] = _gradient(theirs, ours, (parts, translated), (want, got), within)
        said["state"] = _state(theirs, ours, within)
        if said["state"] is None:
            again = translate(info.module_cls)(*translate(given.args), **translate(given.kwargs))
            again.load_state_dict(ours.state_dict())
            said["state"] = _state(theirs, again.to(translate(dtype)).to(target()), within)
    except Skipped:
        raise
    except Exception as error:
        text = describe(error)
        return {kind: said[kind] or text for kind in said}
    return said


def _gradient(theirs: Any, ours: Any, parts: Any, results: Any, within: Any) -> str | None:
    outputs = [t for t in _tensors(results[0], torch.Tensor) if t.requires_grad]
    made = [t for t in _tensors(results[1], cupola.Tensor) if t.requires_grad]
    if len(outputs) != len(made):
        return f"structure: {len(made)} differentiable results, {len(outputs)} expected"
    if not outputs:
        return None
    inputs = [_tensors([list(p[0]), p[1]], k) for p, k in zip(parts, KINDS, strict=True)]
    inputs = [[t for t in found if t.requires_grad] for found in inputs]
    for t in inputs[0]:
        t.retain_grad()
    cotangents = random_like(outputs, 7)
    torch.autograd.backward(outputs, cotangents)
    cupola.autograd.backward(made, [translate(c) for c in cotangents])
    pairs = zip(theirs.named_parameters(), ours.named_parameters(), strict=True)
    for (name, a), (_, b) in pairs:
        found = difference(b.grad, a.grad, within)
        if found:
            return f"{name}: {found}"
    return difference([t.grad for t in inputs[1]], [t.grad for t in inputs[0]], within)


def _answers(info: Any, dtype: torch.dtype, limit: int) -> list[dict[str, str | None]]:
    """What is said about each sample in one dtype, in training and in evaluation."""
    within, answers = tolerance(info, dtype), []
    for training in (True, False):
        seed(info.name)
        samples = listed(
            info.module_inputs_func,
            info,
            device="cpu",
            dtype=dtype,
            requires_grad=True,
            training=training,
        )
        for sample in some(samples, limit):
            with suppress(Skipped):
                answers.append(check(info, sample, training, dtype, within))
    return answers


def run(info: Any, options: Options) -> dict[str, Any]:
    """The row of one layer: a tally for each kind of comparison, gradients in double precision."""
    row: dict[str, Any] = {"name": info.name}
    with quiet():
        found = {
            name: _answers(info, getattr(torch, name), options.samples)
            for name in ("float32", "float64")
        }
    for kind in MODULE_KINDS:
        usual = "float64" if kind == "gradient" or not found["float32"] else "float32"
        row[kind] = {usual: count([a[kind] for a in found[usual]], lambda x: x)}
    return row
