"""`cupola parity train`: compares two training runs step by step from the command line."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterator, Sequence

from cupola_compat.parity.training.curves import Comparison, Mismatch, Tolerances
from cupola_compat.parity.training.layers import first_layer
from cupola_compat.parity.training.page import page
from cupola_compat.parity.training.process import Process, TrainingError, command

EPILOG = """\
example:
  cupola parity train original digits --entry "python train.py --epochs 1" --steps 50

The script is run as it is, once a side, each in a process and a folder of its own; what it writes
to its working directory, it writes there. Seen are backward() and the optimizers' step().

exit codes:
  0  every step agrees
  1  something differs; the first step, parameter and layer are named
  2  wrong usage, or a side that fails, never trains or has other parameters
"""


def parser() -> argparse.ArgumentParser:
    """The command line, as a parser."""
    top = argparse.ArgumentParser(
        "cupola parity train",
        description="Runs a training script on both sides with the same seed and compares loss, "
        "gradients, learning rate and weights after every optimizer step.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("original", metavar="ORIGINAL", help="the folder before conversion")
    top.add_argument(
        "converted", metavar="CONVERTED", nargs="?",
        help="the folder after conversion (without it, cupola answers the original's import torch)",
    )  # fmt: skip
    top.add_argument("--entry", required=True, metavar="COMMAND", help="'python train.py …'")
    top.add_argument("--steps", type=int, default=100, help="optimizer steps (default 100)")
    top.add_argument("--seed", type=int, default=0, help="set before the script (default 0)")
    allowed = Tolerances()
    top.add_argument("--tolerance", type=float, default=allowed.loss, help="of losses (1e-3)")
    top.add_argument("--gradient-tolerance", type=float, default=allowed.gradient, help="(1e-2)")
    top.add_argument("--weight-tolerance", type=float, default=allowed.weight, help="(1e-2)")
    top.add_argument("-o", "--report", metavar="FILE", help="write an HTML report with the curves")
    top.add_argument("--json", action="store_true", help="print every step's figures as JSON")
    return top


def run(
    original: pathlib.Path,
    converted: pathlib.Path | None,
    entry: str,
    steps: int = 100,
    seed: int = 0,
    tolerances: Tolerances | None = None,
) -> Comparison:
    """Runs both sides and compares them; where losses or gradients part, the sides run once more up
    to that step, and the first layer whose output differs is looked for.

    Raises:
        TrainingError: a side cannot be run, fails, never trains, or has other parameters.
    """
    comparison = Comparison(tolerances)
    with _sides(original, converted, command(entry), steps, seed) as sides:
        for _ in range(steps):
            want, got = (side.next() for side in sides)
            if want is None or got is None:
                if (want is None) != (got is None):
                    comparison.ended("original" if want is None else "converted")
                break
            try:
                comparison.add(want, got)
            except Mismatch as error:
                raise TrainingError(str(error)) from None
    first = comparison.first
    if first is not None and first.step and first.kind in ("loss", "gradient", "gradient norm"):
        with _sides(original, converted, command(entry), first.step, seed, first.step) as sides:
            records = [[side.next() for side in sides] for _ in range(first.step)]
        want, got = records[-1]
        if want is not None and got is not None:
            allowed = comparison.tolerances.loss / 10
            calls = want["outputs"], got["outputs"]
            comparison.layer = first_layer(first.step, *calls, allowed)
    return comparison


@contextlib.contextmanager
def _sides(
    original: pathlib.Path,
    converted: pathlib.Path | None,
    script: list[str],
    steps: int,
    seed: int,
    layers: int = 0,
) -> Iterator[list[Process]]:
    """Both sides, running."""
    with contextlib.ExitStack() as stack:
        sides = []
        for side, framework, folder in (
            ("original", "torch", original), ("converted", "cupola", converted or original),
        ):  # fmt: skip
            shim = converted is None and framework == "cupola"
            process = Process(side, framework, folder.resolve(), script, steps, seed, shim, layers)
            sides.append(stack.enter_context(contextlib.closing(process)))
        yield sides


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it; returns the exit code."""
    args = parser().parse_args(argv)
    if importlib.util.find_spec("torch") is None:
        print(
            "cupola parity train: torch is not installed, and the original needs it: "
            "pip install 'cupola[parity]'",
            file=sys.stderr,
        )
        return 2
    if args.steps < 1:
        print("cupola parity train: --steps must be at least 1", file=sys.stderr)
        return 2
    original = pathlib.Path(args.original)
    converted = pathlib.Path(args.converted) if args.converted else None
    tolerances = Tolerances(args.tolerance, args.gradient_tolerance, args.weight_tolerance)
    try:
        comparison = run(original, converted, args.entry, args.steps, args.seed, tolerances)
        if args.report:
            pathlib.Path(args.report).write_text(page(comparison, args.entry), encoding="utf-8")
    except (TrainingError, OSError) as error:
        print(f"cupola parity train: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(comparison.to_json())
    else:
        print("\n".join(comparison.verdict()))
        if args.report:
            print(f"report: {args.report}")
    return 0 if comparison.passed else 1


if __name__ == "__main__":
    sys.exit(main())
