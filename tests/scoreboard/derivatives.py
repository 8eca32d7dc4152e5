"""First and second gradients and forward-mode derivatives, for random directions of all results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

import cupola
from scoreboard.compare import difference, flatten, nearer, to_torch, widened
from scoreboard.samples import Parts, call, leaves, owned, parts_of, random_like, start
from scoreboard.tally import NEARER, guarded, torch_only
from scoreboard.translate import Skipped, translate


def _wrapped(op: Any) -> Callable[..., Any]:
    """The entry as torch's own tests of derivatives call it: with an input made Hermitian,
    triangular and so on, where only such inputs have well-defined derivatives.
    """
    wrapper, function = op.gradcheck_wrapper, op.op
    return lambda *args, **kwargs: wrapper(function, *args, **kwargs)


def _results(function: Callable[..., Any], parts: Parts, process: Any, kind: type) -> list[Any]:
    result = process(call(function, parts))
    return [o for o in flatten(result) if isinstance(o, kind) and o.requires_grad]


def gradient(op: Any, sample: Any, within: Any) -> str | None:
    """Compares the gradients of all inputs for random cotangents of all results."""
    return _gradients(op, sample, within, order=1)


def second(op: Any, sample: Any, within: Any) -> str | None:
    """Compares the gradients of the gradients, with respect to the inputs and the cotangents."""
    return _gradients(op, sample, within, order=2)


def _gradients(op: Any, sample: Any, within: Any, order: int) -> str | None:
    parts, process = owned(parts_of(sample)), sample.output_process_fn_grad
    inputs = leaves(parts, torch.Tensor)
    function = op.op if order == 1 else _wrapped(op)
    start()
    outputs = torch_only(lambda: _results(function, parts, process, torch.Tensor))
    if not outputs or not inputs:
        raise Skipped("nothing to differentiate")
    cotangents = [c.requires_grad_(order == 2) for c in random_like(outputs, 7)]
    want, directions = torch_only(lambda: _walked(torch, outputs, inputs, cotangents, order, None))

    def compare() -> str | None:
        start()
        ours = translate(parts)
        made = _results(_ours(op, order), ours, translate(process), cupola.Tensor)
        if len(made) != len(outputs):
            return f"structure: {len(made)} differentiable results, {len(outputs)} expected"
        given = [translate(c) for c in cotangents]
        got, _ = _walked(cupola, made, leaves(ours, cupola.Tensor), given, order, directions)
        if order == 1:
            found = difference(got, want, within)
            if found is None or not found.startswith("value"):
                return found
            return NEARER if _nearer(op, sample, cotangents, got, want) else found
        return difference(*_with_zeros(got, want), within)

    return guarded(compare)


def _nearer(
    op: Any, sample: Any, cotangents: list[torch.Tensor], got: list[Any], want: list[Any]
) -> bool:
    """Whether every gradient of cupola's lies at least as near to torch's gradient in double
    precision as torch's own gradient does (Euclidean norm).
    """
    parts = widened(owned(parts_of(sample)))
    start()
    try:
        outputs = _results(op.op, parts, sample.output_process_fn_grad, torch.Tensor)
        wide = [widened(c) for c in cotangents]
        exact, _ = _walked(torch, outputs, leaves(parts, torch.Tensor), wide, 1, None)
    except Exception:  # torch has no such kernel
        return False

    pairs = zip(got, want, exact, strict=True)
    return nearer([(to_torch(g), w, e) for g, w, e in pairs if w is not None])


def _ours(op: Any, order: int = 2) -> Callable[..., Any]:
    """The entry in cupola, wrapped as in torch for all but first gradients."""
    function = translate(op.op)
    if order == 1:
        return function
    wrapper = translate(op.gradcheck_wrapper)
    return lambda *args, **kwargs: wrapper(function, *args, **kwargs)


def _walked(
    side: Any, outputs: list[Any], inputs: list[Any], cotangents: list[Any], order: int, given: Any
) -> tuple[list[Any], list[Any]]:
    """(gradients up to the asked order, the directions of the second walk)."""
    grad = side.autograd.grad
    first = grad(outputs, inputs, cotangents, create_graph=order == 2, allow_unused=True)
    if order == 1:
        return list(first), []
    live = [(k, g) for k, g in enumerate(first) if g is not None and g.requires_grad]
    if given is None:
        if not live:
            raise Skipped("the gradient is constant")
        drawn = random_like([g for _, g in live], 11)
        given = {k: d for (k, _), d in zip(live, drawn, strict=True)}
    # A gradient that only one side records is a constant: the other side's derivative is zero.
    live = [(k, g) for k, g in live if k in given]
    seeds = [given[k] if side is torch else translate(given[k]) for k, _ in live]
    targets = inputs + cotangents
    known = [None if g is None else g.detach() for g in first]
    if not live:
        return [*known, *[None] * len(targets)], given
    # What records a third derivative takes another way through some rules: it has to agree as well.
    onward = {} if side is torch else {"create_graph": True}
    second = grad([g for _, g in live], targets, seeds, allow_unused=True, **onward)
    return [*known, *second], given


def _with_zeros(got: list[Any], want: list[Any]) -> tuple[list[Any], list[Any]]:
    """Pairs, with zeros in the place of what is missing on one side: both mean the same."""
    pairs = [(g, w) for g, w in zip(got, want, strict=True) if g is not None or w is not None]
    ours = [translate(torch.zeros_like(w.detach())) if g is None else g for g, w in pairs]
    theirs = [torch.zeros_like(to_torch(g)) if w is None else w for g, w in pairs]
    return ours, theirs


def forward_mode(op: Any, sample: Any, within: Any) -> str | None:
    """Compares derivatives along random tangents of all inputs, computed with the values."""
    parts, process = parts_of(sample), sample.output_process_fn_grad
    inputs = leaves(parts, torch.Tensor)
    if not inputs:
        raise Skipped("nothing to differentiate")
    tangents = random_like(inputs, 13)

    def theirs() -> list[Any]:
        with forward_ad.dual_level():
            duals = {
                id(x): forward_ad.make_dual(x.detach(), t)
                for x, t in zip(inputs, tangents, strict=True)
            }
            result = process(call(_wrapped(op), _replaced(parts, duals)))
            found = [o for o in flatten(result) if isinstance(o, torch.Tensor)]
            pairs = [forward_ad.unpack_dual(o) for o in found]
            return [(p.primal, p.tangent) for p in pairs if _continuous(p.primal)]

    start()
    want = torch_only(theirs)
    if not any(t is not None for _, t in want):
        raise Skipped("nothing to differentiate")

    def compare() -> str | None:
        start()
        memo: dict[int, Any] = {}
        ours = translate(parts, memo)
        places = [memo[id(x)] for x in inputs]

        def function(*given: Any) -> Any:
            swapped = {id(p): g for p, g in zip(places, given, strict=True)}
            result = translate(process)(call(_ours(op), _replaced(ours, swapped)))
            found = [o for o in flatten(result) if isinstance(o, cupola.Tensor)]
            return tuple(o for o in found if o.dtype.is_floating_point or o.dtype.is_complex)

        primals = tuple(p.detach() for p in places)
        _, got = cupola.func.jvp(function, primals, tuple(translate(t) for t in tangents))
        theirs = [torch.zeros_like(p) if t is None else t for p, t in want]
        return difference(list(got), theirs, within)

    return guarded(compare)


def _continuous(t: torch.Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _replaced(x: Any, by_id: dict[int, Any]) -> Any:
    """The same nest with some of its tensors replaced."""
    if id(x) in by_id:
        return by_id[id(x)]
    if type(x) in (tuple, list):
        return type(x)(_replaced(v, by_id) for v in x)
    return {k: _replaced(v, by_id) for k, v in x.items()} if isinstance(x, dict) else x
