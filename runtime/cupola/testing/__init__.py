"""Comparisons for tests (torch.testing)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.tensor import Tensor, as_tensor

_TOLERANCE = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Compares tensors, numbers, or nests of them (torch.testing.assert_close).

    Raises:
        AssertionError: shape, dtype, device or values differ; says by how much.
        ValueError: only one of rtol and atol is given.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified")
    options = {
        "rtol": rtol,
        "atol": atol,
        "equal_nan": equal_nan,
        "check_device": check_device,
        "check_dtype": check_dtype,
        "msg": msg,
    }
    if isinstance(expected, dict):
        if set(actual) != set(expected):
            raise AssertionError(f"The keys differ: {sorted(actual)} and {sorted(expected)}")
        for key in expected:
            assert_close(actual[key], expected[key], **options)
        return
    if isinstance(expected, (list, tuple)):
        if len(actual) != len(expected):
            raise AssertionError(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            )
        for a, b in zip(actual, expected, strict=True):
            assert_close(a, b, **options)
        return
    if expected is None or isinstance(expected, str):
        if actual != expected:
            raise AssertionError(f"{actual!r} is not {expected!r}")
        return
    a = actual if isinstance(actual, Tensor) else as_tensor(actual)
    b = expected if isinstance(expected, Tensor) else as_tensor(expected)
    why = _difference(a, b, options)
    if why:
        raise AssertionError(msg(why) if callable(msg) else msg or why)


def _difference(a: Tensor, b: Tensor, options: dict[str, Any]) -> str:
    if tuple(a.shape) != tuple(b.shape):
        return f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
    if options["check_device"] and a.device != b.device:
        return f"The values for attribute 'device' do not match: {a.device} != {b.device}."
    if options["check_dtype"] and a.dtype is not b.dtype:
        return f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}."
    rtol, atol = options["rtol"], options["atol"]
    if rtol is None:
        pairs = [_TOLERANCE.get(x.dtype.name, (0.0, 0.0)) for x in (a, b)]
        rtol, atol = max(p[0] for p in pairs), max(p[1] for p in pairs)
    kind = np.complex128 if a.dtype.is_complex or b.dtype.is_complex else np.float64
    x, y = (t.detach().cpu().numpy().astype(kind) for t in (a, b))
    close = np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=options["equal_nan"])
    if close.all():
        return ""
    worst = np.nanmax(np.abs(x - y)) if x.size else 0
    return (
        f"Tensor-likes are not close!\n\nMismatched elements: {int((~close).sum())} / {x.size}\n"
        f"Greatest absolute difference: {worst} (up to {atol} allowed, with {rtol} relative)"
    )


def assert_allclose(
    actual: Any, expected: Any, rtol: Any = None, atol: Any = None, **kw: Any
) -> None:
    """``assert_close`` under its older name, without the check of dtypes."""
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=True, check_dtype=False)


def make_tensor(
    *shape: Any, dtype: Any, device: Any = "cpu", low: Any = None, high: Any = None, **kw: Any
) -> Tensor:
    """Random values of a dtype and range (torch.testing.make_tensor)."""
    import cupola

    size = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    a = (-9 if dtype.is_signed else 0) if low is None else low
    b = (9 if dtype.category >= 2 else 10) if high is None else high
    if dtype.category == 0:
        return cupola.randint(0, 2, size, device=device).to(dtype)
    if dtype.category == 1:
        return cupola.randint(int(a), int(b), size, device=device).to(dtype)
    return (cupola.rand(size, device=device) * (b - a) + a).to(dtype)
