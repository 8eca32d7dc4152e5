"""What `cupola convert`, `revert` and `rules` do, once their arguments are read."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from cupola_transpiler.cli import version
from cupola_transpiler.discover import Tree, discover
from cupola_transpiler.extras import follow, take_in
from cupola_transpiler.journal import Journal
from cupola_transpiler.lock import FOLDER, LockedError, locked
from cupola_transpiler.plan import CHANGED, Plan, count, plan
from cupola_transpiler.progress import progress
from cupola_transpiler.report.facts import json_report
from cupola_transpiler.report.html import diff_lines, html_report
from cupola_transpiler.report.sarif import sarif_report
from cupola_transpiler.report.text import print_report
from cupola_transpiler.rule import discover as discover_rules
from cupola_transpiler.vcs import commit, uncommitted
from cupola_transpiler.vendor import VendorError

DONE, FOUND, FAILED = 0, 1, 2


class CommandError(Exception):
    """The command cannot be carried out; the message says what to do."""


def convert(args: argparse.Namespace) -> int:
    """Plans all trees, then (unless --diff or --check) writes them."""
    console = Console(stderr=True, soft_wrap=not sys.stderr.isatty())
    trees = _trees(args)
    write = not (args.diff or args.check)
    _check_requests(args, trees, write)
    taken: list[str] = []
    with ExitStack() as stack:
        if write:
            for tree in trees:
                _prepare(tree, args.force, console, stack)
            if args.packages:
                taken = take_in(trees[0].root, args.packages, args.jobs, console)
            trees = _trees(args)
        if args.update:
            upstream = Path(os.path.realpath(args.update))
            conflicts = follow(args, trees[0], upstream, console)
            return FOUND if conflicts else DONE
        plans = []
        for tree in trees:
            with progress(
                f"Converting {tree.root.name or tree.root}", len(tree.chosen), console
            ) as step:
                plans.append(plan(tree, step, args.jobs))
        originals = _originals(plans)
        if args.diff:
            _print_diffs(plans, originals)
        conflicts = [name for p in plans for name in _write(p, console)] if write else []
        for name in conflicts:
            console.print(
                f"{name} was changed while it was being converted; it is left as it is now"
            )
        for p in plans:
            if write and not p.with_status(CHANGED):
                Journal(p.root).forget()
    for p in plans:
        print_report(p, console, write)
    if write and any(p.with_status(CHANGED) for p in plans):
        console.print(
            f"To take it back: cupola revert {' '.join(map(str, args.paths))}", highlight=False
        )
    if write and args.commit is not None:
        for p in plans:
            names = [*p.outputs, *(taken if p is plans[0] else ())]
            if names:
                commit(p.root, names, args.commit)
                console.print(f"Committed {count(len(names), 'file')}.", highlight=False)
    _report(args, plans, originals, write, console)
    if args.check:
        return FOUND if any(p.with_status(CHANGED) for p in plans) else DONE
    return DONE if all(p.complete for p in plans) and not conflicts else FOUND


def _check_requests(args: argparse.Namespace, trees: list[Tree], write: bool) -> None:
    """Raises CommandError for requests that contradict each other."""
    if (args.update or args.packages) and (len(trees) != 1 or not Path(args.paths[0]).is_dir()):
        raise CommandError("--update and --with need one folder as PATH")
    if args.packages and not write:
        raise CommandError("--with writes to the repository: leave out --diff and --check")
    if args.update and not Path(args.update).is_dir():
        raise CommandError(f"{args.update}: there is no such folder")
    if args.update and not Journal(trees[0].root).generations():
        raise CommandError(
            f"{trees[0].root}: no conversion is on record here, so there is nothing to update"
        )


def _trees(args: argparse.Namespace) -> list[Tree]:
    """One tree for each root; a path inside another path that is given is part of that one."""
    real = list(dict.fromkeys(Path(os.path.realpath(p)) for p in args.paths))
    for path, given in zip(real, args.paths):
        if not path.exists():
            raise CommandError(f"{given}: there is no such file or folder")
    top = [p for p in real if not any(o != p and o.is_dir() and p.is_relative_to(o) for o in real)]
    trees: dict[Path, Tree] = {}
    for path in top:
        tree = discover(path, args.only, args.exclude, args.force, args.docs)
        known = trees.setdefault(tree.root, tree)
        if known is not tree:
            known.files += [f for f in tree.files if f not in known.files]
            known.chosen += [f for f in tree.chosen if f not in known.chosen]
            known.refused.update(tree.refused)
    return list(trees.values())


def _prepare(tree: Tree, force: bool, console: Console, stack: ExitStack) -> None:
    """Looks for uncommitted changes, locks, and takes back a conversion that was cut short."""
    journal = Journal(tree.root)
    changed = [] if force else uncommitted(tree.root, journal.written())
    if changed:
        some = ", ".join(changed[:3]) + (
            f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        )
        raise CommandError(
            f"{tree.root} has uncommitted changes ({some}). Commit or stash them first, or use"
            " --force: cupola revert can take the conversion back either way"
        )
    stack.enter_context(locked(tree.root))
    recovered = journal.recover()
    if recovered is not None:
        console.print(
            f"An earlier conversion of {tree.root} was cut short;"
            f" {count(len(recovered.written), 'file')} restored",
            highlight=False,
        )


def _originals(plans: list[Plan]) -> dict[str, dict[str, bytes]]:
    return {
        str(p.root): {f.path: (p.root / f.path).read_bytes() for f in p.with_status(CHANGED)}
        for p in plans
    }


def _write(plan: Plan, console: Console) -> list[str]:
    files = plan.outputs
    with progress("Writing", len(files), console) as step:
        journal = Journal(plan.root)
        try:
            return journal.apply(files, lambda name: step(1)).conflicts
        except (OSError, KeyboardInterrupt) as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            try:
                journal.recover()
            except OSError as second:
                raise CommandError(
                    f"writing stopped ({why}) and so did restoring ({second}); when that is mended,"
                    f" `cupola revert {plan.root}` restores every file"
                ) from error
            raise CommandError(f"writing stopped ({why}); every file is as it was") from error


def _print_diffs(plans: list[Plan], originals: dict[str, dict[str, bytes]]) -> None:
    for p in plans:
        for file in p.with_status(CHANGED):
            for line in diff_lines(file, originals[str(p.root)][file.path]):
                print(line)


def _report(args, plans: list[Plan], originals, written: bool, console: Console) -> None:
    if args.report is None:
        return
    if args.report == "json":
        text = json_report(plans, written)
    elif args.report == "sarif":
        text = sarif_report(plans, version())
    else:
        text = html_report(plans, written, originals)
    file = args.report_file or ("cupola-report.html" if args.report == "html" else "-")
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text, "utf-8", "backslashreplace")
        console.print(f"Report: {file}", highlight=False)


def revert(args: argparse.Namespace) -> int:
    """Restores what conversions of the trees replaced."""
    console = Console(stderr=True, soft_wrap=not sys.stderr.isatty())
    code = DONE
    for given in args.paths:
        path = Path(os.path.realpath(given))
        root = path if path.is_dir() else path.parent
        if not (root / FOLDER / "journal").is_dir():
            raise CommandError(
                f"{given}: no conversion is on record here; give the path that was converted"
            )
        with locked(root):
            journal = Journal(root)
            with progress("Restoring", len(set(journal.names())), console) as step:
                outcome = journal.revert(args.force, lambda name: step(1))
            journal.forget()
        for name in outcome.conflicts:
            console.print(
                f"kept {name}: it was edited after the conversion (--force overwrites it)"
            )
            code = FOUND
        console.print(f"Restored {count(len(outcome.written), 'file')} in {root}.", highlight=False)
    return code


def rules(args: argparse.Namespace) -> int:
    """Lists the rules, or explains one with its examples."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    known = {rule.code: rule for rule in discover_rules()}
    if args.rule is None:
        width = max(map(len, known))
        for code, rule in known.items():
            console.print(f"{code:<{width}}  {rule.title()}", markup=False)
        return DONE
    if args.rule not in known:
        raise CommandError(f"there is no rule {args.rule!r}; `cupola rules` lists them")
    rule = known[args.rule]
    lines = (rule.__doc__ or "").strip().splitlines()
    console.print("\n".join(line.removeprefix("    ") for line in lines), markup=False)
    for before, after in rule.INVALID:
        console.print(
            "\nbefore:\n" + _indented(before) + "after:\n" + _indented(after), markup=False, end=""
        )
    return DONE


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


__all__ = ["CommandError", "LockedError", "VendorError", "convert", "revert", "rules"]
