"""`cupola weights`: checkpoints converted between formats and compared, without torch."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cupola.io import CheckpointError, load, safetensors, save
from cupola.io.atomic import replaced
from cupola.io.tensors import TakeApart
from cupola.tensor import Tensor

SAFE = (".safetensors",)
# What a folder of Hugging Face's holds, in the order in which its own loaders look.
IN_FOLDERS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
              "pytorch_model.bin.index.json")  # fmt: skip
TORCH = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
# Files above this size show their progress.
LARGE = 100 << 20
PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal
SHOWN = 20
_PIECE = 16 << 20
DESCRIPTION = """\
Converts checkpoints and compares them. Nothing in a file is executed; files may be larger than
memory.

  cupola weights convert in.pth out.safetensors    the state dict, in the format of the second name
  cupola weights diff a.pth b.safetensors          names, shapes, types and values that differ

A folder stands for the checkpoint in it, whole or in shards: model.safetensors,
pytorch_model.bin, or the index of either.

Exit codes: 0 done, or equal; 1 different; 2 wrong usage, or a file that cannot be read.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `convert` or `diff`; returns the exit code."""
    args = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        return args.run(args, console)
    except (CheckpointError, OSError, TypeError, ValueError, RuntimeError) as error:
        print(f"cupola weights: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cupola weights",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    convert = commands.add_parser("convert", help="write a state dict in another format")
    convert.add_argument("source", type=pathlib.Path, metavar="IN")
    convert.add_argument("target", type=pathlib.Path, metavar="OUT")
    convert.add_argument("--key", help="the entry of IN that holds the state dict")
    convert.add_argument("--force", action="store_true", help="overwrite OUT")
    convert.set_defaults(run=_convert)
    diff = commands.add_parser("diff", help="compare two state dicts")
    diff.add_argument("first", type=pathlib.Path, metavar="A")
    diff.add_argument("second", type=pathlib.Path, metavar="B")
    diff.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="values differ where |a - b| > T max|a| (0: any difference counts)",
    )
    diff.set_defaults(run=_diff)
    return parser


def state_dict(path: pathlib.Path, key: str | None = None) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors in a checkpoint by name, and the names of what is no tensor.

    Without `key`, an entry "state_dict" or "model" that holds tensors is taken.

    Raises:
        ValueError: there are none.
    """
    if path.is_dir():
        inside = [path / name for name in IN_FOLDERS if (path / name).is_file()]
        if not inside:
            raise ValueError(f"{path} is a folder without {' or '.join(IN_FOLDERS)}; name a file")
        path = inside[0]
    found = load(path, map_location="cpu", mmap=True)
    if key is not None:
        if not isinstance(found, Mapping) or key not in found:
            raise ValueError(f"{path} has no entry {key!r}")
        found = found[key]
    else:
        for name in ("state_dict", "model", "model_state_dict"):
            if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
                found = found[name]
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds no state dict but an object of type {type(found).__name__}")
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    if not tensors:
        entries = ", ".join(sorted(map(str, found))[:SHOWN])
        raise ValueError(f"{path} holds no tensors by name; --key chooses one of: {entries}")
    return tensors, [str(k) for k in found if str(k) not in tensors]


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


@contextmanager
def progress(title: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Yields a function to be told how many more bytes are done; small work shows nothing."""
    if total <= LARGE:
        yield lambda count: None
    elif console.is_terminal:
        columns = (TextColumn(title), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        done, last = 0, time.monotonic()

        def step(count: int) -> None:
            nonlocal done, last
            done += count
            if time.monotonic() - last >= PLAIN_EVERY or done >= total:
                last = time.monotonic()
                console.print(f"{title}: {done >> 20:,} of {total >> 20:,} MB", highlight=False)

        yield step


class _Counting:
    """A file that tells how many bytes were written to it."""

    def __init__(self, file: Any, advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            self._advance(self._file.write(view[start : start + _PIECE]))
        return len(view)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _convert(args: argparse.Namespace, console: Console) -> int:
    suffix = args.target.suffix.lower()
    if suffix not in SAFE + TORCH:
        names = ", ".join(SAFE + TORCH)
        raise ValueError(f"{args.target}: the name should end in one of {names}")
    if args.target.exists() and not args.force:
        raise ValueError(f"{args.target} exists: give another name, or --force")
    if not args.target.resolve().parent.is_dir():
        raise ValueError(f"{args.target}: there is no folder {args.target.parent}; make it first")
    tensors, others = state_dict(args.source, args.key)
    if suffix in SAFE:
        tensors = _apart(tensors)
    with (
        replaced(args.target) as file,
        progress(f"writing {args.target.name}", _bytes(tensors), console) as advance,
    ):
        counting = _Counting(file, advance)
        if suffix in SAFE:
            for piece in safetensors.pieces(tensors, {"format": "pt"}):
                counting.write(piece)
        else:
            save(tensors, counting)
    size = os.path.getsize(args.target)
    print(f"{args.target}: {len(tensors)} tensors, {size:,} bytes")
    if others:
        print(f"left out, being no tensors: {', '.join(others[:SHOWN])}")
    return 0


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, as safetensors wants them; those that did are copied."""
    take_apart, seen, result = TakeApart(), set(), {}
    for name, tensor in tensors.items():
        storage = take_apart(tensor).key
        result[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return result


def _diff(args: argparse.Namespace, console: Console) -> int:
    first, _ = state_dict(args.first)
    second, _ = state_dict(args.second)
    lines = [f"only in {args.first}: {name}" for name in first if name not in second]
    lines += [f"only in {args.second}: {name}" for name in second if name not in first]
    common = [name for name in first if name in second]
    reordered = ", in another order" if common != [name for name in second if name in first] else ""
    worst = 0.0
    with progress("comparing", _bytes(first), console) as advance:
        for name in common:
            line, error = _compared(name, first[name], second[name], args.tolerance)
            lines += [line] if line else []
            worst = max(worst, error)
            advance(first[name].numel() * first[name].element_size())
    for line in lines:
        print(line)
    if not lines:
        within = f", largest difference {worst:.2e} of the largest value" if worst else ""
        print(f"equal: {len(common)} tensors{reordered}{within}")
    return 1 if lines else 0


def _compared(name: str, a: Tensor, b: Tensor, tolerance: float) -> tuple[str, float]:
    """A line about how two tensors differ, empty if they do not; and by how much."""
    if a.shape != b.shape:
        return f"{name}: shape {tuple(a.shape)} and {tuple(b.shape)}", 0.0
    kinds = "" if a.dtype == b.dtype else f"{name}: {a.dtype} and {b.dtype}"
    x, y = _array(a), _array(b)
    if np.result_type(x, y).kind in "biu":
        # Exactly: neighbours of 2 ** 60 are one number in float64.
        low, high = (np.atleast_1d(f(x, y)).astype(np.uint64) for f in (np.minimum, np.maximum))
        steps = high - low  # right modulo 2 ** 64
        away, largest = steps.astype(np.float64), f"{int(steps.max(initial=0)):,}"
        size = float(np.abs(x.astype(np.float64)).max(initial=0.0))
        error = float(away.max(initial=0.0)) / (size or 1.0)
        if error <= tolerance:
            return kinds, error
        count = int((away > tolerance * size).sum())
        return f"{name}: {count:,} of {x.size:,} values differ, by up to {largest}", error
    x, y = _wide(x), _wide(y)
    with np.errstate(invalid="ignore", over="ignore"):
        away = np.abs(x - y)
    # Equal values count as equal though they be infinite, and NaN equals NaN.
    away = np.where((x == y) | ((x != x) & (y != y)), 0.0, away)
    away = np.where(np.isnan(away), np.inf, away)
    largest = float(away.max(initial=0.0))
    size = float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)))
    error = largest / size if size else largest
    if error > tolerance:
        count = int((away > tolerance * size).sum())
        by = f"by up to {largest:.3e}" if largest < np.inf else "some infinite or NaN on one side"
        return f"{name}: {count:,} of {x.size:,} values differ, {by}", error
    return kinds, error


def _array(tensor: Tensor) -> np.ndarray:
    """The values, with types that NumPy has itself."""
    kind = tensor.dtype
    if kind.is_complex or not kind.is_floating_point:
        return tensor.detach().resolve_conj().numpy()
    return tensor.detach().double().numpy()


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


if __name__ == "__main__":
    sys.exit(main())
