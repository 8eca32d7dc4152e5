"""Plans the conversion of a whole tree in memory.

Passes: convert each file by itself -> link the names that cross files -> convert again the files
that such names reach -> resolve every result once more, which must leave nothing to do. Nothing is
written here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cupola_transpiler.convert import Change, Note
from cupola_transpiler.discover import Tree
from cupola_transpiler.layout import Layout
from cupola_transpiler.link import Facts, Link, Linker
from cupola_transpiler.passing import read_facts
from cupola_transpiler.table import load
from cupola_transpiler.work import FileResult, Workers

PASSES = 5  # names cross files in few steps; more rounds than this would be a circle

CHANGED, KEPT, LEFT = "changed", "kept", "left"


@dataclass
class FilePlan:
    """One file. status: changed, kept (nothing to do) or left (cannot be converted)."""

    path: str
    status: str
    reason: str = ""
    before: str = ""
    after: bytes = b""
    lines: int = 0
    mentions: bool = False
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()

    def at_level(self, level: str) -> list[Note]:
        """Notes of one level: unsupported, remains or note."""
        return [note for note in self.notes if note.level == level]


@dataclass
class Plan:
    """The planned conversion of one tree."""

    root: Path
    files: dict[str, FilePlan] = field(default_factory=dict)

    def with_status(self, status: str) -> list[FilePlan]:
        """Files of one status, by path."""
        return [f for f in self.files.values() if f.status == status]

    def notes(self, level: str) -> list[tuple[FilePlan, Note]]:
        """Notes of one level with their files, by place."""
        return [(f, n) for f in self.files.values() for n in f.at_level(level)]

    @property
    def outputs(self) -> dict[str, tuple[str, bytes]]:
        """What the journal is given: path -> (SHA-256 before, bytes after)."""
        return {f.path: (f.before, f.after) for f in self.with_status(CHANGED)}

    @property
    def left_with_torch(self) -> list[FilePlan]:
        """Files that could not be converted and mention torch."""
        return [f for f in self.with_status(LEFT) if f.mentions]

    @property
    def complete(self) -> bool:
        """Whether no reference to torch remains and nothing unsupported is used."""
        return not (self.notes("unsupported") or self.notes("remains") or self.left_with_torch)

    @property
    def verdict(self) -> str:
        """One sentence: is any reference to torch left? The results were resolved again to know."""
        remains, left = self.notes("remains"), self.left_with_torch
        if not remains and not left:
            ignored = len(self.notes("ignored"))
            kept = f" except {ignored:,} that `cupola: ignore` comments keep" if ignored else ""
            return f"No reference to torch remains{kept}."
        parts = []
        if remains:
            files = len({f.path for f, _ in remains})
            parts.append(f"{count(len(remains), 'reference')} to torch in {count(files, 'file')}")
        if left:
            parts.append(
                f"{count(len(left), 'file')} that mention torch and could not be converted"
            )
        return "What remains of torch: " + " and ".join(parts) + "."


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def plan(
    tree: Tree,
    step: Callable[[int], None] = lambda files: None,
    processes: int | None = None,
) -> Plan:
    """Plans the conversion of a tree; `step` hears how many files are through.

    Files that cannot be converted are part of the plan, with the reason.
    """
    layout = Layout(frozenset(tree.files))
    results: dict[str, FileResult] = {}
    with Workers(tree.root, layout, processes, len(tree.chosen)) as workers:
        for batch in workers.convert(tree.chosen, Link(layout)):
            results.update((r.path, r) for r in batch)
            step(len(batch))
        linked = _link(tree, layout, results)
        handed = linked.handed
        for _ in range(PASSES):
            again = [r.path for r in results.values() if _reaches(linked, r) or r.path in handed]
            if not again:
                break
            for batch in workers.convert(again, linked):
                results.update((r.path, r) for r in batch)
            relinked = _link(tree, layout, results)
            if relinked.exports == linked.exports:
                break
            linked = replace(relinked, handed=handed)
    _check(tree, layout, results)
    return _plan(tree, results)


def _facts(
    tree: Tree, layout: Layout, results: dict[str, FileResult], after: bool
) -> Callable[[str], Facts]:
    """How to know the facts of a module: from its conversion, or by reading it now."""
    chosen, read = set(tree.chosen), {}

    def facts(path: str) -> Facts:
        result = results.get(path)
        if result is not None and result.parsed:
            return result.facts_after if after and not result.problem else result.facts
        if path not in chosen or (result is not None and result.problem):
            return Facts()
        if path not in read:
            read[path] = read_facts(tree.root, path, layout)
        return read[path]

    return facts


def _link(tree: Tree, layout: Layout, results: dict[str, FileResult], after: bool = False) -> Link:
    linker = Linker(layout, load(), _facts(tree, layout, results, after))
    linked = linker.link(_sources(layout, results))
    hands = {local for r in results.values() for local in r.facts.hands}
    return replace(linked, handed=frozenset(map(linker.home, hands)))


def _sources(layout: Layout, results: dict[str, FileResult]) -> set[str]:
    """Modules that some file takes names from, and the submodules that it reaches through them."""
    found: set[str] = set()
    for local in {local for r in results.values() for local in r.needs}:
        path: str | None = local.path
        found.add(local.path)
        for name in local.attributes:
            path = layout.submodule(path, name) if path is not None else None
            if path is None:
                break
            found.add(path)
    return found


def _reaches(linked: Link, result: FileResult) -> bool:
    """Whether a name that the file takes from another module is a converted package there."""
    return any(isinstance(linked.follow(local).target, str) for local in result.needs)


def _check(tree: Tree, layout: Layout, results: dict[str, FileResult]) -> None:
    """Notes what the results still owe to torch through other files of the tree."""
    linked = _link(tree, layout, results, after=True)
    for result in results.values():
        for local in sorted(result.needs_after):
            target = linked.follow(local).target
            if isinstance(target, str):
                note = Note(
                    1, 1, "repository-name", "remains", target,
                    f"comes from {local.path}, which was not converted",
                    "convert that file too",
                )  # fmt: skip
                result.notes = (*result.notes, note)


def _plan(tree: Tree, results: dict[str, FileResult]) -> Plan:
    made = Plan(tree.root)
    for path in sorted({*tree.chosen, *tree.refused}):
        if path in tree.refused:
            mentions = _mentions(tree.root / path)
            made.files[path] = FilePlan(path, LEFT, tree.refused[path], mentions=mentions)
            continue
        r = results[path]
        status = LEFT if r.problem else CHANGED if r.after is not None else KEPT
        made.files[path] = FilePlan(
            path, status, r.problem, r.before, r.after or b"", r.lines, r.mentions,
            () if r.problem else r.changes, () if r.problem else r.notes,
        )  # fmt: skip
    return made


def _mentions(path: Path) -> bool:
    try:
        return b"torch" in path.read_bytes()
    except OSError:
        return False
