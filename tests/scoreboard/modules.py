"""One layer of the module database: built, called, differentiated and saved on both sides."""

from __future__ import annotations

from typing import Any

import torch

import cupola
from scoreboard.compare import difference, flatten, tolerance
from scoreboard.samples import copied, random_like, start
from scoreboard.tally import MODULE_KINDS, Options, describe, listed, quiet, seed, some
from scoreboard.tally import tally as count
from scoreboard.translate import Missing, Skipped, target, translate


def title(info: Any) -> str:
    """The layer's name."""
    return info.name


def _built(info: Any, given: Any) -> tuple[Any, Any]:
    """(torch's layer, cupola's), each built with the same seed."""
    start()
    theirs = info.module_cls(*given.args, **given.kwargs)
    start()
    name = f"nn.{info.module_cls.__name__}"
    ours = translate(info.module_cls)(*translate(given.args), **translate(given.kwargs))
    if type(ours).__name__ != info.module_cls.__name__:
        raise Missing(name)
    return theirs, ours.to(target())


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


def check(info: Any, sample: Any, training: bool, within: Any) -> dict[str, str | None]:
    """What each kind of comparison says about one way to build and to call a layer.

    Raises:
        Skipped: torch does not run this sample here.
    """
    said: dict[str, str | None] = dict.fromkeys(MODULE_KINDS)
    given = sample.constructor_input
    parts = copied((tuple(sample.forward_input.args), dict(sample.forward_input.kwargs)))
    for x in _tensors([list(parts[0]), parts[1]], torch.Tensor):
        if x.is_floating_point():
            x.requires_grad_()
    try:
        theirs, ours = _built(info, given)
        theirs.train(training), ours.train(training)
        if repr(ours) != repr(theirs):
            said["repr"] = f"{repr(ours)[:80]!r}"
        if not info.is_lazy:
            said["initial"] = _state(theirs, ours, None)
            if said["initial"] is None or ":" in said["initial"]:
                ours.load_state_dict({k: translate(v) for k, v in theirs.state_dict().items()})
        memo: dict[int, Any] = {}
        translated = translate(parts, memo)
        start()
        want = _call(theirs, parts)
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
            said["state"] = _state(theirs, again.to(target()), within)
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
    cotangents = random_like(outputs, 7)
    torch.autograd.backward(outputs, cotangents)
    cupola.autograd.backward(made, [translate(c) for c in cotangents])
    pairs = zip(theirs.named_parameters(), ours.named_parameters(), strict=True)
    for (name, a), (_, b) in pairs:
        found = difference(b.grad, a.grad, within)
        if found:
            return f"{name}: {found}"
    wanted = [t.grad for t in _tensors([list(parts[0][0]), parts[0][1]], torch.Tensor)]
    got = [t.grad for t in _tensors([list(parts[1][0]), parts[1][1]], cupola.Tensor)]
    return difference(got, wanted, within)


def run(info: Any, options: Options) -> dict[str, Any]:
    """The row of one layer: a tally for each kind of comparison, in training and in evaluation."""
    seed(info.name)
    dtype = torch.float32
    within = tolerance(info, dtype)
    answers = []
    with quiet():
        for training in (True, False):
            samples = listed(
                info.module_inputs_func,
                info,
                device="cpu",
                dtype=dtype,
                requires_grad=False,
                training=training,
            )
            for sample in some(samples, options.samples):
                try:
                    seed(info.name)
                    answers.append(check(info, sample, training, within))
                except Skipped:
                    continue
    row: dict[str, Any] = {"name": info.name}
    for kind in MODULE_KINDS:
        row[kind] = {"float32": count([a[kind] for a in answers], lambda x: x)}
    return row
