"""What `cupola convert` does on request: take packages in, follow upstream, commit."""

import argparse
from pathlib import Path

from rich.console import Console

from cupola_transpiler.discover import Tree
from cupola_transpiler.journal import Journal, digest
from cupola_transpiler.layout import VENDORED
from cupola_transpiler.lock import FOLDER
from cupola_transpiler.plan import CHANGED, count
from cupola_transpiler.progress import progress
from cupola_transpiler.report.text import print_report
from cupola_transpiler.update import save, update
from cupola_transpiler.vendor import vendor


def take_in(root: Path, names: list[str], jobs: int | None, console: Console) -> list[str]:
    """Writes packages to the folder for them; returns the paths written."""
    written: list[str] = []
    for name in names:
        found = vendor(name, jobs)
        files = {}
        for path, data in found.files.items():
            there = root / path
            before = there.read_bytes() if there.is_file() else None
            if before != data:
                files[path] = ("" if before is None else digest(before), data)
        with progress(f"Taking {name} in", len(files), console) as step:
            Journal(root).apply(files, lambda path: step(1))
        written += files
        unsupported = len(found.plan.notes("unsupported"))
        console.print(
            f"Took {name} {found.version} into {VENDORED}: {count(len(found.files), 'file')},"
            f" {count(len(found.plan.with_status(CHANGED)), 'file')} converted,"
            f" {unsupported:,} unsupported. {found.plan.verdict}",
            highlight=False,
        )
        if found.needs:
            console.print(f"It needs: {', '.join(found.needs)}", highlight=False)
    return written


def follow(args: argparse.Namespace, tree: Tree, upstream: Path, console: Console) -> list[str]:
    """Updates a converted tree; returns the paths in conflict."""
    with progress("Converting upstream", len(tree.chosen), console) as step:
        found = update(tree, upstream, args.docs, step, args.jobs)
    print_report(found.plan, console, False)
    writing = not (args.diff or args.check)
    if writing and found.files:
        with progress("Writing", len(found.files), console) as step:
            late = Journal(tree.root).apply(found.files, lambda path: step(1)).conflicts
        found.conflicts.update((name, "was changed meanwhile") for name in late)
    if writing:
        save(found, upstream, tree.root / FOLDER)
    verb = "Updated" if writing else "Would update"
    console.print(f"{verb} {count(len(found.files), 'file')}.", highlight=False)
    for name in found.files if not writing else ():
        console.print(f"  {name}", highlight=False)
    for name in found.gone:
        console.print(f"{name}: upstream no longer has it; it stays", highlight=False)
    for name, why in found.conflicts.items():
        hint = f"; upstream's text, converted: {FOLDER}/upstream/{name}" if writing else ""
        console.print(f"{name}: {why}; it stays{hint}", highlight=False)
    return list(found.conflicts)
