"""One entry of the operator database: its samples through torch and through cupola."""

from __future__ import annotations

import random
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

import cupola
from cupola.errors import UnsupportedError
from scoreboard.compare import difference, flatten, to_torch, tolerance
from scoreboard.exclusions import undefined
from scoreboard.translate import Missing, Skipped, exception, translate

# What an entry without any of the requested dtypes is sampled with.
FALLBACK = ("float32", "int64", "bool", "complex64", "float64", "float16")


@dataclass
class Tally:
    """Samples of one kind: how many were run, how many of them failed, and how."""

    run: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str | None) -> None:
        """Counts a sample; None means that it passed."""
        self.run += 1
        if reason is not None:
            self.failed += 1
            self.reasons[reason[:200]] = self.reasons.get(reason[:200], 0) + 1


@dataclass(frozen=True)
class Options:
    """What a run was asked for."""

    dtypes: tuple[str, ...] = ("float32",)
    samples: int = 0  # for each entry and dtype; 0: all


def title(op: Any) -> str:
    """The entry's name with its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def _seed(text: str) -> None:
    number = zlib.crc32(text.encode())
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def _some(samples: list[Any], limit: int) -> list[Any]:
    """At most ``limit`` of the samples, evenly spread, the first one included."""
    if not limit or len(samples) <= limit:
        return samples
    return [samples[k * len(samples) // limit] for k in range(limit)]


def _describe(error: BaseException) -> str:
    """The error's class, where in cupola it was raised, and the start of its message."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "/cupola/" in f.filename), None)
    where = f" in {place.name}" if place else ""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"raised {type(error).__name__}{where}: {first}"


@contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _call(function: Callable[..., Any], sample: Any) -> Any:
    return function(sample[0], *sample[1], **sample[2])


def _parts(sample: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    return sample.input, tuple(sample.args), dict(sample.kwargs)


def _forward(op: Any, sample: Any, within: Any) -> str | None:
    parts = _parts(sample)
    _seed("run")
    try:  # on a copy: some entries write into their input
        want = _call(op.op, _copied(parts))
    except Exception:
        raise Skipped("torch does not run this sample on this machine") from None
    cupola.manual_seed(torch.initial_seed())
    try:
        ours = translate(parts)
        got = _call(translate(op.op), ours)
        return difference(got, want, within, values=not undefined(op.name))
    except Skipped:
        raise
    except Missing as error:
        return f"missing name {error}"
    except Exception as error:
        return _describe(error)


def _copied(x: Any) -> Any:
    """Tensors copied with their strides, so that a call that writes leaves the sample alone."""
    if isinstance(x, torch.Tensor):
        return x.clone() if x.layout is torch.strided else x
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields") and type(x) in (tuple, list):
        return type(x)(_copied(v) for v in x)
    return {k: _copied(v) for k, v in x.items()} if isinstance(x, dict) else x


def _leaves(parts: Any, kind: type) -> list[Any]:
    found = []
    for x in flatten([parts[0], list(parts[1]), parts[2]]):
        if isinstance(x, kind) and x.requires_grad and not any(x is y for y in found):
            found.append(x)
    return found


def _cotangents(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(o.shape, generator=generator, dtype=o.dtype) for o in outputs]


def _gradient(op: Any, sample: Any, within: Any) -> str | None:
    """Compares the gradients of all inputs for random cotangents of all outputs."""
    parts = _parts(sample)
    inputs = _leaves(parts, torch.Tensor)
    _seed("run")
    try:
        result = sample.output_process_fn_grad(_call(op.op, parts))
        made = [o for o in flatten(result) if isinstance(o, torch.Tensor) and o.requires_grad]
        cotangents = _cotangents(made)
        if made and inputs:
            want = torch.autograd.grad(made, inputs, cotangents, allow_unused=True)
        outputs = made
    except Exception:
        raise Skipped("torch does not run this sample on this machine") from None
    if not outputs or not inputs:
        raise Skipped("nothing to differentiate")
    cupola.manual_seed(torch.initial_seed())
    try:
        ours = translate(parts)
        result = translate(sample.output_process_fn_grad)(_call(translate(op.op), ours))
        made = [o for o in flatten(result) if isinstance(o, cupola.Tensor) and o.requires_grad]
        if len(made) != len(outputs):
            return f"structure: {len(made)} differentiable results, {len(outputs)} expected"
        given = [translate(c) for c in cotangents]
        got = cupola.autograd.grad(made, _leaves(ours, cupola.Tensor), given, allow_unused=True)
        return difference(list(got), list(want), within)
    except Skipped:
        raise
    except Missing as error:
        return f"missing name {error}"
    except Exception as error:
        return _describe(error)


def _error(op: Any, given: Any) -> str | None:
    """Whether the call raises what torch raises."""
    parts = _parts(given.sample_input)
    try:
        for out in flatten(_call(op.op, parts)):
            str(out)
        raise Skipped("torch raises nothing here")
    except Skipped:
        raise
    except Exception as error:  # the database's own claim may be as wide as Exception
        want = exception(type(error))
    try:
        ours = translate(parts)
        for out in flatten(_call(translate(op.op), ours)):
            if isinstance(out, cupola.Tensor):
                to_torch(out)  # an error of the data shows when the value is observed
        return f"no {want.__name__} raised"
    except Missing as error:
        return f"missing name {error}"
    except Skipped:
        raise
    except UnsupportedError as error:
        return _describe(error)
    except want:
        return None
    except Exception as error:
        return f"{_describe(error)} ({want.__name__} expected)"


def _tally(samples: Iterable[Any], check: Callable[[Any], str | None]) -> Tally:
    out = Tally()
    for sample in samples:
        try:
            out.add(check(sample))
        except Skipped:
            out.skipped += 1
    return out


def _listed(make: Callable[..., Iterable[Any]], *args: Any, **kwargs: Any) -> list[Any]:
    try:
        return list(make(*args, **kwargs))
    except Exception:  # samples that need a GPU, or another package
        return []


def run(op: Any, options: Options) -> dict[str, Any]:
    """The row of one entry: tallies of forward (by dtype), gradient (by dtype) and errors."""
    known = {str(d).removeprefix("torch."): d for d in op.supported_dtypes("cpu")}
    names = [d for d in options.dtypes if d in known]
    names = names or [d for d in FALLBACK if d in known][:1]
    row: dict[str, Any] = {"name": title(op), "forward": {}, "gradient": {}}
    with _quiet():
        for name in names:
            dtype, within = known[name], tolerance(op, known[name])
            _seed(title(op))
            samples = _listed(op.sample_inputs, "cpu", dtype, requires_grad=False)
            tally = _tally(_some(samples, options.samples), lambda s, w=within: _forward(op, s, w))
            row["forward"][name] = asdict(tally)
            if op.supports_autograd and dtype in op.supported_backward_dtypes("cpu"):
                _seed(title(op))
                samples = _listed(op.sample_inputs, "cpu", dtype, requires_grad=True)
                samples = _some(samples, options.samples)
                tally = _tally(samples, lambda s, w=within: _gradient(op, s, w))
                row["gradient"][name] = asdict(tally)
        if op.error_inputs_func is not None:
            _seed(title(op))
            errors = _listed(op.error_inputs, "cpu")
            row["errors"] = asdict(_tally(errors, lambda e: _error(op, e)))
    return row
