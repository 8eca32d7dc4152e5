"""`cupola run`: runs an unconverted program whose `import torch` is answered by cupola."""

from __future__ import annotations

import argparse
import pathlib
import runpy
import sys
from collections.abc import Sequence

from cupola_compat.shim import install


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `SCRIPT [ARGUMENT ...]` or `-m MODULE [ARGUMENT ...]`; returns the exit code."""
    parser = argparse.ArgumentParser("cupola run", description=__doc__.partition(": ")[2])
    parser.add_argument("-m", dest="module", action="store_true", help="PROGRAM is a module's name")
    parser.add_argument("program", metavar="PROGRAM", help="a Python file, or a module after -m")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    args = parser.parse_args(argv)
    if not args.module and not pathlib.Path(args.program).is_file():
        print(f"cupola run: {args.program}: no such file", file=sys.stderr)
        return 2
    install()
    sys.argv = [args.program, *args.arguments]
    if args.module:
        sys.path.insert(0, "")
        runpy.run_module(args.program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(pathlib.Path(args.program).resolve().parent))
        runpy.run_path(args.program, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
