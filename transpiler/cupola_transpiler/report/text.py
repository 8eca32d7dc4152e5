"""The report on a terminal."""

from collections import defaultdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cupola_transpiler.convert import Note
from cupola_transpiler.plan import CHANGED, KEPT, LEFT, FilePlan, Plan, count

SHOWN = 40  # rows of a list before it is cut short; JSON and HTML have all of them


def print_report(plan: Plan, console: Console, written: bool) -> None:
    """Prints what was (or would be) done to a tree."""
    changed = plan.with_status(CHANGED)
    _changed(changed, console, written)
    _left(plan.with_status(LEFT), console)
    _notes(
        "Unsupported: these names still import and raise when they are called",
        plan.notes("unsupported"),
        console,
    )
    _notes("Still torch", plan.notes("remains"), console)
    strings = len(plan.notes("note"))
    if strings:
        console.print(
            f"{count(strings, 'string')} that may name torch kept (listed in the JSON report)",
            style="dim",
        )
    verb = "Converted" if written else "Would convert"
    edits = sum(len(f.changes) for f in changed)
    line = f"{verb} {count(len(changed), 'file')} ({count(edits, 'edit')})"
    line += f", kept {len(plan.with_status(KEPT)):,}, left {len(plan.with_status(LEFT)):,}."
    console.print(
        line if changed else f"Nothing to convert in {count(len(plan.files), 'file')}.",
        highlight=False,
    )
    console.print(plan.verdict, style="green" if plan.complete else "yellow", highlight=False)


def _changed(files: list[FilePlan], console: Console, written: bool) -> None:
    if not files:
        return
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("changed" if written else "would change", overflow="fold")
    table.add_column("edits", justify="right")
    table.add_column("unsupported", justify="right")
    for file in files[:SHOWN]:
        bad = len(file.at_level("unsupported"))
        table.add_row(escape(file.path), str(len(file.changes)), str(bad) if bad else "")
    console.print(table)
    if len(files) > SHOWN:
        console.print(f"... and {count(len(files) - SHOWN, 'file')} more", style="dim")


def _left(files: list[FilePlan], console: Console) -> None:
    for file in files[:SHOWN]:
        console.print(Text.assemble(("left ", "yellow"), f"{file.path}: {file.reason}"))
    if len(files) > SHOWN:
        console.print(f"... and {count(len(files) - SHOWN, 'file')} more", style="dim")


def _notes(title: str, notes: list[tuple[FilePlan, Note]], console: Console) -> None:
    if not notes:
        return
    console.print(Text(title, style="bold yellow"))
    grouped: dict[str, list[tuple[FilePlan, Note]]] = defaultdict(list)
    for file, note in notes:
        grouped[note.name].append((file, note))
    for name in sorted(grouped, key=lambda n: (-len(grouped[n]), n))[:SHOWN]:
        first_file, first = grouped[name][0]
        more = len(grouped[name]) - 1
        where = f"{first_file.path}:{first.line}:{first.column}" + (
            f" and {more:,} more" if more else ""
        )
        console.print(Text.assemble("  ", (name, "bold"), f": {first.reason}"))
        hint = f"; {first.suggestion}" if first.suggestion else ""
        console.print(Text(f"    {where}{hint}", style="dim"))
    if len(grouped) > SHOWN:
        console.print(f"  ... and {count(len(grouped) - SHOWN, 'name')} more", style="dim")
