"""How tensors print: torch's own format."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.tensor import Tensor


class _Options:
    precision = 4
    threshold: float = 1000
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print (torch.set_printoptions)."""
    if profile is not None:
        values: dict[str, tuple[Any, ...]] = {
            "default": (4, 1000, 3, 80),
            "short": (2, 1000, 2, 80),
            "full": (4, math.inf, 3, 80),
        }
        options.precision, options.threshold, options.edgeitems, options.linewidth = values[profile]
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(options, name, value)
    options.sci_mode = sci_mode


class _Formatter:
    """Chooses one width and notation for all the elements that are shown."""

    def __init__(self, shown: np.ndarray[Any, Any]) -> None:
        self.floating = shown.dtype.kind == "f"
        self.int_mode = True
        self.sci_mode: bool | None = False
        self.width = 1
        if not self.floating:
            for v in shown.reshape(-1):
                self.width = max(self.width, len(str(v)))
            return
        # Zeros, infinities and NaN decide nothing, and are padded to the others' width.
        finite = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
        if finite.size == 0:
            return
        size = np.abs(finite)
        self.int_mode = bool((finite == np.ceil(finite)).all())
        large, small = float(size.max()), float(size.min())
        self.sci_mode = options.sci_mode
        if self.sci_mode is None:
            self.sci_mode = large / small > 1000.0 or large > 1.0e8 or small < 1.0e-4
        for v in finite:
            self.width = max(self.width, len(self.text(float(v))))

    def text(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.sci_mode:
            out = f"{value:.{options.precision}e}"
        elif self.int_mode:
            out = f"{value:.0f}"
            if math.isfinite(value):
                out += "."
        else:
            out = f"{value:.{options.precision}f}"
        return out

    def format(self, value: Any) -> str:
        out = self.text(float(value) if self.floating else value)
        return " " * (self.width - len(out)) + out


def _complex_formatter(shown: np.ndarray[Any, Any]) -> Any:
    re, im = (
        _Formatter(np.ascontiguousarray(shown.real)),
        _Formatter(np.ascontiguousarray(shown.imag)),
    )

    class Pair:
        width = re.width + im.width + 1

        def format(self, value: complex) -> str:
            imag = im.format(value.imag).lstrip()
            sign = "" if imag.startswith("-") else "+"
            return f"{re.format(value.real)}{sign}{imag}j"

    return Pair()


def _edges(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements that a summary shows."""
    k = options.edgeitems
    for axis, n in enumerate(array.shape):
        if n > 2 * k:
            array = np.concatenate(
                [array.take(range(k), axis), array.take(range(n - k, n), axis)], axis
            )
    return array


def _body(array: np.ndarray[Any, Any], indent: int, summarize: bool, formatter: Any) -> str:
    if array.ndim == 0:
        return str(formatter.format(array[()]))
    k = options.edgeitems
    n = array.shape[0]
    short = summarize and n > 2 * k
    if array.ndim == 1:
        per_line = max(1, int((options.linewidth - indent) / max(1, formatter.width + 2)))
        values = (
            [array[i] for i in range(n)] if not short else [*array[:k], Ellipsis, *array[n - k :]]
        )
        words = [" ..." if v is Ellipsis else formatter.format(v) for v in values]
        lines = [words[i : i + per_line] for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"
    rows = range(n) if not short else [*range(k), None, *range(n - k, n)]
    parts = [
        "..." if r is None else _body(array[r], indent + 1, summarize, formatter) for r in rows
    ]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _text(x: Tensor) -> str:
    prefix = (
        "tensor("
        if type(x) is Tensor or type(x).__name__ == "Parameter"
        else f"{type(x).__name__}("
    )
    suffixes: list[str] = []
    if x.device.type != "cpu":
        suffixes.append(f"device='{x.device}'")
    default = (
        dtypes.get_default_dtype(),
        dtypes.int64,
        dtypes.bool,
        dtypes.get_default_dtype().to_complex(),
    )
    if x.is_meta:
        suffixes += [f"size={tuple(x.shape)}"] + (
            [f"dtype={x.dtype}"] if x.dtype not in default else []
        )
        return _add(prefix + "...", suffixes, len(prefix))
    if x.numel() == 0:
        if x.ndim != 1:
            suffixes.append(f"size={tuple(x.shape)}")
        if x.dtype is not dtypes.get_default_dtype():
            suffixes.append(f"dtype={x.dtype}")
        body = "[]"
    else:
        array = engine.to_numpy(x.detach().node)
        if array.dtype.kind == "V" or x.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
            array = array.astype(np.float32)
        if x.dtype not in default:
            suffixes.append(f"dtype={x.dtype}")
        summarize = x.numel() > options.threshold
        shown = _edges(array) if summarize else array
        formatter = _complex_formatter(shown) if array.dtype.kind == "c" else _Formatter(shown)
        body = _body(array, len(prefix), summarize, formatter)
    grad = x.grad_fn
    if grad is not None:
        suffixes.append(f"grad_fn=<{grad.name()}>")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    return _add(prefix + body, suffixes, len(prefix))


def _add(text: str, suffixes: list[str], indent: int) -> str:
    last = len(text) - text.rfind("\n") + 1
    for s in suffixes:
        if last + len(s) + 2 > options.linewidth:
            text += ",\n" + " " * indent + s
            last = indent + len(s)
        else:
            text += ", " + s
            last += len(s) + 2
    return text + ")"


def _repr(self: Tensor, *, tensor_contents: str | None = None) -> str:
    return _text(self)


Tensor.__repr__ = Tensor.__str__ = _repr
