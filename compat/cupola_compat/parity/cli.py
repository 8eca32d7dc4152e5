"""`cupola parity`: compares a converted tree with its original; `parity train` is handed over."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

EXAMPLE = """\
example:
  cupola parity resnet-torch resnet --entry resnet:resnet50 --input 2x3x64x64:float32

`cupola parity train` compares whole training runs, step by step (see its --help).

exit codes:
  0  every value agrees
  1  something differs; the first divergence is named
  2  wrong usage, or something that cannot be loaded
"""
_INPUT = re.compile(r"(?P<shape>\d+(?:x\d+)*|scalar)(?::(?P<dtype>[a-z]+\d*))?(?:<(?P<below>\d+))?")


def parser() -> argparse.ArgumentParser:
    """The command line, as a parser."""
    top = argparse.ArgumentParser(
        "cupola parity",
        description="Compares a converted module with its torch original: outputs, each "
        "submodule's output and each gradient, for the same weights, inputs and seed.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("original", metavar="ORIGINAL", help="the folder before conversion")
    top.add_argument("converted", metavar="CONVERTED", help="the folder after conversion")
    top.add_argument("--entry", required=True, metavar="MODULE:CALLABLE", help="returns the module")
    top.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE:DTYPE",
        help="a positional input, as 2x3x64x64:float32 or 2x16:int64<1000 (repeatable)",
    )
    top.add_argument("--weights", metavar="FILE", help="a state_dict: .pth, .pt or .safetensors")
    top.add_argument("--train", action="store_true", help="compare in training mode")
    top.add_argument("--no-backward", action="store_true", help="compare the forward pass only")
    top.add_argument("--seed", type=int, default=0, help="weights, inputs and dropout (default 0)")
    top.add_argument("--tolerance", type=float, default=1e-5, help="of outputs (default 1e-5)")
    top.add_argument("--gradient-tolerance", type=float, default=1e-4, help="(default 1e-4)")
    top.add_argument("--all", action="store_true", help="list every value, not only what differs")
    top.add_argument("--json", action="store_true", help="print the report as JSON")
    return top


def array(text: str, seed: int) -> np.ndarray:
    """Returns the input that `SHAPE[:DTYPE][<BOUND]` describes, filled from `seed`.

    >>> array("2x3:int64<5", 0).shape
    (2, 3)

    Raises:
        ValueError: text of another form.
    """
    match = _INPUT.fullmatch(text)
    if match is None:
        raise ValueError(f"--input {text}: write it as 2x3x64x64:float32 or 2x16:int64<1000")
    shape = () if match["shape"] == "scalar" else tuple(map(int, match["shape"].split("x")))
    try:
        dtype = np.dtype(match["dtype"] or "float32")
    except TypeError:
        raise ValueError(f"--input {text}: {match['dtype']} is no dtype") from None
    rng = np.random.default_rng(seed)
    if dtype.kind in "iu":
        return rng.integers(0, int(match["below"] or 2), shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.standard_normal(shape).astype(dtype)


def _weights(path: str) -> dict[str, Any]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(found.get(key), dict):
            found = found[key]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints it; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["train"]:
        from cupola_compat.parity.training.cli import main as train

        return train(given[1:])
    args = parser().parse_args(given)
    try:
        import torch
    except ModuleNotFoundError:
        print(
            "cupola parity: torch is not installed, and the comparison needs it: "
            "pip install 'cupola[parity]'",
            file=sys.stderr,
        )
        return 2
    import cupola
    from cupola_compat.parity.compare import compare
    from cupola_compat.parity.tree import Tree

    trees = Tree(args.original), Tree(args.converted)
    try:
        inputs = [array(text, args.seed + n) for n, text in enumerate(args.input)]
        modules = []
        for tree, framework in zip(trees, (torch, cupola), strict=True):
            if not tree.root.is_dir():
                raise LookupError(f"{tree.root}: no such folder")
            with tree:
                framework.manual_seed(args.seed)
                modules.append(tree.entry(args.entry)())
        original, converted = modules
        if args.weights:
            original.load_state_dict(_weights(args.weights))
    except (LookupError, ValueError, OSError) as error:
        print(f"cupola parity: {error}", file=sys.stderr)
        return 2
    # Modules imported while a model runs must come from its own tree.
    for tree, module in zip(trees, modules, strict=True):
        module.forward = _inside(tree, module.forward)
    report = compare(
        original,
        converted,
        inputs,
        train=args.train,
        backward=not args.no_backward,
        seed=args.seed,
        output_tolerance=args.tolerance,
        gradient_tolerance=args.gradient_tolerance,
    )
    if args.json:
        print(report.to_json())
    else:
        from rich.console import Console

        Console().print(report.table(args.all))
        print(report.verdict())
    return 0 if report.passed else 1


def _inside(tree: contextlib.AbstractContextManager, function: Any) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        with tree:
            return function(*args, **kwargs)

    return forward


if __name__ == "__main__":
    sys.exit(main())
