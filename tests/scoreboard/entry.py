"""One entry of the operator database: its samples through torch and through cupola."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

import cupola
from scoreboard import derivatives, forms
from scoreboard.compare import flatten, judged, nearer, to_torch, tolerance, widened
from scoreboard.exclusions import fragile, miswritten, unchecked, undefined, unwritten, wrong
from scoreboard.samples import call, copied, described, expected, parts_of, start
from scoreboard.tally import NEARER, Options, guarded, listed, quiet, raised, seed, some, tally
from scoreboard.translate import target, translate

# What an entry without any of the requested dtypes is sampled with.
FALLBACK = ("float32", "int64", "bool", "complex64", "float64", "float16")
# Derivatives of derivatives and along tangents are compared in the widest of these: as torch's own
# tests do. All derivatives are compared for complex numbers as well.
PRECISE = ("float64", "float32")
COMPLEX = "complex128"


def title(op: Any) -> str:
    """The entry's name with its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def _forward(op: Any, sample: Any, within: Any, values: bool) -> str | None:
    parts = parts_of(sample)
    want = expected(op.op, parts)

    def compare() -> str | None:
        start()
        got = call(translate(op.op), translate(copied(parts)))
        found = judged(op, sample, got, want, within, values)
        if found is None or not found.startswith("value"):
            return found
        return NEARER if _nearer(op, parts, got, want) else found

    return guarded(compare)


def _nearer(op: Any, parts: Any, got: Any, want: Any) -> bool:
    """Whether torch is the less exact side."""
    start()
    try:
        exact = flatten(call(op.op, widened(copied(parts))))
    except Exception:  # torch has no such kernel, or wants the dtypes to match others
        return False
    ours, theirs = flatten(got), flatten(want)
    if not all(isinstance(x, torch.Tensor) for x in (*theirs, *exact)):
        return False
    with torch.no_grad():
        return nearer([(to_torch(a), b, e) for a, b, e in zip(ours, theirs, exact, strict=True)])


def _error(op: Any, given: Any) -> str | None:
    """Whether the call raises what torch raises."""
    parts = parts_of(given.sample_input)

    def theirs() -> None:
        for out in flatten(call(op.op, parts)):
            str(out)

    def ours() -> None:
        for out in flatten(call(translate(op.op), translate(parts))):
            if isinstance(out, cupola.Tensor):
                to_torch(out)  # an error of the data shows when the value is observed

    return raised(theirs, ours)


def _unchecked(given: Any) -> bool:
    return target() != "cpu" and unchecked(given.error_regex)


def _dtypes(op: Any, asked: tuple[str, ...]) -> dict[str, torch.dtype]:
    known = {str(d).removeprefix("torch."): d for d in op.supported_dtypes("cpu")}
    names = [d for d in asked if d in known] or [d for d in FALLBACK if d in known][:1]
    return {name: known[name] for name in names}


def _sampled(
    op: Any, dtype: torch.dtype, limit: int, kind: str, requires_grad: bool = False
) -> list[Any]:
    name = title(op)
    seed(name)
    samples = listed(op.sample_inputs, "cpu", dtype, requires_grad=requires_grad)
    what = f"{name} {kind} {str(dtype).removeprefix('torch.')}"
    return some([s for s in samples if not wrong(f"{what} {described(s)}")], limit)


def _other_forms(op: Any, options: Options, row: dict[str, Any], values: bool) -> None:
    """The columns that need one dtype: method, in place, ``out=``."""
    if not row["forward"]:
        return  # no dtype that this machine has
    name, dtype = next(iter(_dtypes(op, options.dtypes).items()))
    within = tolerance(op, dtype)
    for kind, variant, check in (
        ("method", op.method_variant, forms.method),
        ("inplace", op.inplace_variant, forms.inplace),
    ):
        if variant is not None and options.wants(kind):
            samples = _sampled(op, dtype, options.samples, kind)
            row[kind] = {name: tally(samples, lambda s, c=check: c(op, s, within, values))}
    if op.supports_out and options.wants("out") and not unwritten(op.name):
        # The first sample meets every target; the others take turns.
        left_out = {"dtype"} if fragile(op.name) else set()
        left_out |= {"strided"} if miswritten(op.name) else set()
        turns = [t for t in forms.TARGETS if t not in left_out]
        samples = _sampled(op, dtype, options.samples, "out")
        pairs = [(s, turns[k % len(turns)]) for k, s in enumerate(samples)]
        pairs = [(s, t) for s in samples[:1] for t in turns] + pairs[1:]
        row["out"] = {name: tally(pairs, lambda p: forms.out(op, p[0], p[1], within, values))}


def _derivatives(op: Any, options: Options, row: dict[str, Any]) -> None:
    known = {str(d).removeprefix("torch."): d for d in op.supported_backward_dtypes("cpu")}

    def fill(kind: str, names: list[str], check: Callable[..., str | None]) -> None:
        if not options.wants(kind):
            return
        row[kind] = {}
        for name in names:
            samples = _sampled(op, known[name], options.samples, kind, requires_grad=True)
            within = tolerance(op, known[name])
            row[kind][name] = tally(samples, lambda s, w=within: check(op, s, w))

    if op.supports_autograd:
        complex_too = [COMPLEX] if COMPLEX in known else []
        names = [n for n in _dtypes(op, options.dtypes) if n in known and n != COMPLEX]
        fill("gradient", names + complex_too, derivatives.gradient)
        precise = [n for n in PRECISE if n in known][:1] + complex_too
        if op.supports_gradgrad:
            fill("second", precise, derivatives.second)
        if op.supports_forward_ad:
            fill("forward_ad", precise, derivatives.forward_mode)


def _draws(op: Any, options: Options) -> bool:
    """Whether torch's results depend on its random stream, which on a GPU is another one."""
    dtypes = list(_dtypes(op, options.dtypes).values())
    for sample in _sampled(op, dtypes[0], 2, "forward") if dtypes else ():
        parts = parts_of(sample)
        with suppress(Exception):
            seed("run")
            first = flatten(call(op.op, copied(parts)))
            seed("again")
            for a, b in zip(first, flatten(call(op.op, copied(parts))), strict=True):
                if isinstance(a, torch.Tensor) and not torch.equal(a, b) and not a.isnan().any():
                    return True
    return False


def run(op: Any, options: Options) -> dict[str, Any]:
    """The row of one entry: a tally for each kind of comparison, most of them by dtype."""
    values = not undefined(op.name) and (target() == "cpu" or not _draws(op, options))
    row: dict[str, Any] = {"name": title(op), "forward": {}}
    with quiet():
        kinds = _dtypes(op, options.dtypes)
        more = _dtypes(op, options.further).items() if options.further else ()
        kinds |= {name: dtype for name, dtype in more if name in options.further}
        for name, dtype in kinds.items():
            within = tolerance(op, dtype)
            samples = _sampled(op, dtype, options.samples, "forward")
            row["forward"][name] = tally(samples, lambda s, w=within: _forward(op, s, w, values))
        _derivatives(op, options, row)
        _other_forms(op, options, row, values)
        if op.error_inputs_func is not None and options.wants("errors"):
            seed(title(op))
            asked = [e for e in listed(op.error_inputs, "cpu") if not _unchecked(e)]
            row["errors"] = tally(asked, lambda e: _error(op, e))
    return row
