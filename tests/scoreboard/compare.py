"""Whether a result of cupola is torch's: structure, dtype, shape, then values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_device_type import precisionOverride, toleranceOverride
from torch.testing._internal.opinfo.core import DecorateInfo

import cupola
from scoreboard.exclusions import phases
from scoreboard.translate import translate


def tolerance(op: Any, dtype: torch.dtype) -> tuple[float, float] | None:
    """(rtol, atol) that the entry's decorators allow for a dtype; None: torch.testing's default.

    The widest counts, whichever of torch's tests it is meant for: all of them compare two
    implementations of the same operator.
    """
    found = []
    for decorator in op.decorators:
        if isinstance(decorator, DecorateInfo):
            if decorator.dtypes is not None and dtype not in decorator.dtypes:
                continue
            parts = decorator.decorators
        else:
            parts = [decorator]
        for part in parts:
            given = getattr(part, "d", {}).get(dtype)
            if isinstance(part, toleranceOverride) and given is not None:
                found.append((given.rtol, given.atol))
            elif isinstance(part, precisionOverride) and given is not None:
                found.append((0.0, given))
    if not found:
        return None
    rtol, atol = torch.testing._comparison.default_tolerances(dtype)
    return max([rtol, *(r for r, _ in found)]), max([atol, *(a for _, a in found)])


def to_torch(x: Any) -> torch.Tensor:
    """A cupola tensor as torch's."""
    x = x.detach().cpu()
    if x.dtype is cupola.bfloat16:
        return torch.from_numpy(np.array(x.float().numpy())).to(torch.bfloat16)
    if x.dtype is cupola.complex32:
        wide = x.to(cupola.complex64).resolve_conj().numpy()
        return torch.from_numpy(np.array(wide, copy=True)).to(torch.complex32)
    return torch.from_numpy(np.array(x.resolve_conj().numpy(), copy=True))


def flatten(x: Any) -> list[Any]:
    """The leaves of a result in order."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (tuple, list)) and not isinstance(x, (torch.Size, cupola.Size)):
        return [leaf for part in x for leaf in flatten(part)]
    return [x]


def difference(got: Any, want: Any, within: Any, values: bool = True) -> str | None:
    """What differs, in a few words; None when nothing does."""
    ours, theirs = flatten(got), flatten(want)
    if len(ours) != len(theirs):
        return f"structure: {len(ours)} results, {len(theirs)} expected"
    for a, b in zip(ours, theirs, strict=True):
        found = _leaf(a, b, within, values)
        if found:
            return found
    return None


def judged(op: Any, sample: Any, got: Any, want: Any, within: Any, values: bool) -> str | None:
    """What differs between two results of an entry, normalised where they are not unique."""
    if not phases(op.name):
        return difference(got, want, within, values)
    process = sample.output_process_fn_grad
    return difference(got, want, within, False) or difference(
        translate(process)(got), process(want), within, values
    )


def _leaf(a: Any, b: Any, within: Any, values: bool) -> str | None:
    if not isinstance(b, torch.Tensor):
        if isinstance(b, torch.Size):
            return None if isinstance(a, cupola.Size) and tuple(a) == tuple(b) else "value"
        if isinstance(a, cupola.Tensor):
            return "type: a tensor, a Python value expected"
        if isinstance(b, float):
            same = torch.testing.assert_close
            try:
                same(a, b, equal_nan=True)
            except AssertionError:
                return "value"
            return None
        if isinstance(b, (int, bool, str, tuple)) or b is None:
            return None if a == b and isinstance(a, type(b)) | (b is None) else "value"
        return None if str(a).replace("cupola.", "torch.") == str(b) else "value"
    if not isinstance(a, cupola.Tensor):
        return f"type: {type(a).__name__}, a tensor expected"
    if repr(a.dtype) != repr(b.dtype):
        return f"dtype: {a.dtype!r}, {b.dtype} expected"
    if tuple(a.shape) != tuple(b.shape):
        return f"shape: {tuple(a.shape)}, {tuple(b.shape)} expected"
    if not values:
        return None
    b = b.detach().resolve_conj().resolve_neg()
    b = b.to_dense() if b.layout is not torch.strided else b
    wide = {} if within is None else {"rtol": within[0], "atol": within[1]}
    try:
        torch.testing.assert_close(to_torch(a), b, equal_nan=True, check_stride=False, **wide)
    except AssertionError as error:
        lines = [s for s in str(error).splitlines() if "difference" in s or "Mismatched" in s]
        return "value: " + "; ".join(line.split(" at index")[0] for line in lines)
    return None


_WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}


def widened(x: Any) -> Any:
    """The same nest with tensors in double precision."""
    if isinstance(x, torch.Tensor):
        wide = x.detach().to(_WIDER.get(x.dtype, x.dtype))
        return wide.requires_grad_(x.requires_grad)
    if type(x) in (tuple, list):
        return type(x)(widened(v) for v in x)
    return {k: widened(v) for k, v in x.items()} if isinstance(x, dict) else x


def nearer(results: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> bool:
    """Whether every result of cupola lies at least as near to torch's in double precision as
    torch's own does, in the Euclidean norm.

    Args:
        results: cupola's, torch's, and torch's in double precision.
    """

    def distance(x: torch.Tensor, exact: torch.Tensor) -> float:
        return float(torch.linalg.vector_norm(x.to(exact.dtype) - exact))

    for ours, theirs, exact in results:
        if exact.shape != theirs.shape or theirs.dtype not in _WIDER:
            return False
        if not distance(ours, exact) <= distance(theirs, exact):  # NaN is not near
            return False
    return True
