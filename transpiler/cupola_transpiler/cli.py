"""The `cupola` command: reads the arguments and hands over."""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

DESCRIPTION = "Recasts PyTorch repositories so that they run on cupola, without torch."
EPILOG = """\
examples:
  cupola convert my_repo --diff      show what would change, write nothing
  cupola convert my_repo             rewrite the sources in place
  cupola revert my_repo              restore every original byte
  cupola convert . --check           for CI: exit 1 if something is left to convert
  cupola parity before after --entry net:Net --input 2x3x64x64:float32
                                     compare the converted code with torch

exit codes:
  0  done, or nothing to do
  1  something unsupported was found (with --check: something would change)
  2  wrong usage, or files that cannot be read or written
"""
# Commands that other packages carry out: imported by name when they are called.
ELSEWHERE = {
    "parity": ("cupola_compat.parity.cli", "compare converted code with its torch original"),
    "run": ("cupola_compat.run", "run a script whose `import torch` is answered by cupola"),
    "weights": ("cupola_compat.weights", "convert checkpoints between formats, or compare them"),
}


def parser() -> argparse.ArgumentParser:
    """The command line, as a parser."""
    top = argparse.ArgumentParser(
        "cupola", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _convert(commands)
    _revert(commands)
    rules = commands.add_parser("rules", help="list the conversion rules, or explain one")
    rules.add_argument("rule", nargs="?", metavar="RULE", help="a rule to explain, with examples")
    for name, (_, text) in ELSEWHERE.items():
        commands.add_parser(name, help=text, add_help=False)
    return top


def _convert(commands) -> None:
    command = commands.add_parser(
        "convert",
        help="rewrite a repository that uses torch",
        description=(
            "Rewrites every Python file, notebook and list of requirements below PATH that uses"
            " torch. Nothing is written before"
            " all of it has been planned and checked; the originals are kept in PATH/.cupola,"
            " and `cupola revert PATH` restores them."
        ),
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="a folder or a file")
    mode = command.add_argument_group("modes")
    mode.add_argument("--diff", action="store_true", help="print the changes; write nothing")
    mode.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if something would change"
    )
    mode.add_argument(
        "--force",
        action="store_true",
        help="convert in spite of uncommitted changes in git, and files marked read-only",
    )
    mode.add_argument(
        "--update", metavar="UPSTREAM",
        help="PATH is converted already: take over what changed in UPSTREAM, its new original",
    )  # fmt: skip
    mode.add_argument(
        "--with", action="append", default=[], dest="packages", metavar="PACKAGE",
        help="also convert this installed package into PATH/_cupola_vendor (repeatable)",
    )  # fmt: skip
    mode.add_argument(
        "--commit", nargs="?", const="Convert from PyTorch to cupola", metavar="MESSAGE",
        help="commit what was written to git",
    )  # fmt: skip
    what = command.add_argument_group("choice of files")
    what.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GLOB",
        help="convert only these (repeatable)",
    )
    what.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave these as they are (repeatable)",
    )
    what.add_argument(
        "--docs", action="store_true", help="convert the examples in Markdown files too"
    )
    report = command.add_argument_group("report")
    report.add_argument(
        "--report", choices=("json", "sarif", "html"), help="also write a report in this form"
    )
    report.add_argument(
        "-o", "--report-file", metavar="FILE",
        help="where the report goes (html: cupola-report.html; otherwise standard output)",
    )  # fmt: skip
    command.add_argument(
        "-j", "--jobs", type=int, metavar="N", help="processes to use (as many as there are cores)"
    )


def _revert(commands) -> None:
    command = commands.add_parser(
        "revert",
        help="restore the files that conversions replaced",
        description="Restores every file that `cupola convert PATH` replaced, byte for byte.",
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="a path that was converted")
    command.add_argument(
        "--force", action="store_true", help="overwrite files that were edited after the conversion"
    )


def version() -> str:
    """The version of the installed distribution."""
    metadata = importlib.import_module("importlib.metadata")
    try:
        return metadata.version("cupola")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code (0, 1 or 2)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names and sources that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    if given and given[0] in ELSEWHERE:
        return _elsewhere(given[0], given[1:])
    top = parser()
    args = top.parse_args(given)
    if args.version:
        print(f"cupola {version()}")
        return 0
    if args.command is None:
        top.print_help()
        return 2
    commands = importlib.import_module("cupola_transpiler.commands")
    try:
        return getattr(commands, args.command)(args)
    except (commands.CommandError, commands.LockedError, commands.VendorError) as error:
        print(f"cupola: {error}", file=sys.stderr)
    except OSError as error:
        print(f"cupola: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("cupola: interrupted; `cupola revert` restores what was written", file=sys.stderr)
    return 2


def _elsewhere(command: str, arguments: list[str]) -> int:
    module = ELSEWHERE[command][0]
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        print(f"cupola: this installation has no `cupola {command}` ({error})", file=sys.stderr)
        return 2
    return int(home.main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
