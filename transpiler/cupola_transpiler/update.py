"""Takes over what changed upstream after a conversion, and keeps what was changed here since.

Three texts of each file meet: the original that the journal kept, converted again (the base); the
file as it is now (ours); and the new upstream file, converted (theirs). Nothing is merged in terms
of torch, so that lines which the conversion rewrote are no conflicts.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cupola_transpiler.convert import ConvertError, check_parses
from cupola_transpiler.discover import Tree, discover
from cupola_transpiler.journal import Journal, digest
from cupola_transpiler.merge import merge
from cupola_transpiler.plan import Plan, plan

ORIGINALS = "originals"  # in .cupola: the upstream files of the last update


@dataclass
class Update:
    """What an update does: path -> (SHA-256 of what is there now, new bytes), and what it cannot.

    conflicts: path -> why its own text stays. gone: files that upstream no longer has.
    """

    plan: Plan
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    conflicts: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def update(
    tree: Tree,
    upstream: Path,
    docs: bool = False,
    step: Callable[[int], None] = lambda files: None,
    processes: int | None = None,
) -> Update:
    """Plans the update of a converted tree to a new version of what it was converted from."""
    journal = Journal(tree.root)
    originals = _originals(tree, journal)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in originals.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        base = _results(plan(discover(Path(folder), docs=docs), step, processes), Path(folder))
    new = discover(upstream, docs=docs)
    made = plan(new, step, processes)
    theirs = _results(made, new.root)
    found = Update(made)
    for name in sorted({*base, *theirs}):
        _merge_file(found, tree.root, name, base.get(name), theirs.get(name))
    return found


def _originals(tree: Tree, journal: Journal) -> dict[str, bytes]:
    """What the tree was before it was converted: at the last update, or at the first conversion."""
    latest = journal.home / ORIGINALS
    if latest.is_dir():
        return {p.relative_to(latest).as_posix(): p.read_bytes()
                for p in latest.rglob("*") if p.is_file()}  # fmt: skip
    kept = {}
    for generation in reversed(journal.generations()):  # the earliest has the last word
        for entry in generation.entries:
            if entry.before:
                kept[entry.path] = generation.original(entry)
    made = {e.path for g in journal.generations() for e in g.entries if not e.before}
    names = [n for n in dict.fromkeys((*tree.files, *tree.chosen)) if n not in made]
    return {n: kept[n] if n in kept else (tree.root / n).read_bytes() for n in names}


def _results(made: Plan, root: Path) -> dict[str, bytes]:
    return {
        f.path: f.after if f.status == "changed" else (root / f.path).read_bytes()
        for f in made.files.values()
        if (root / f.path).is_file()
    }


def _merge_file(
    found: Update, root: Path, name: str, base: bytes | None, theirs: bytes | None
) -> None:
    path = root / name
    ours = path.read_bytes() if path.is_file() else None
    if theirs is None:
        if ours is not None:
            found.gone.append(name)
        return
    if theirs in (base, ours):
        return
    if ours == base:
        found.files[name] = (digest(ours) if ours is not None else "", theirs)
        return
    if ours is None or base is None:
        found.conflicts[name] = "was removed here" if ours is None else "is new here and upstream"
        return
    try:
        merged = merge(*(data.decode("utf-8") for data in (base, ours, theirs)))
        if not merged.conflicts and name.endswith((".py", ".pyi")):
            check_parses(name, ours.decode("utf-8"), merged.text)
    except (UnicodeDecodeError, ConvertError) as error:
        found.conflicts[name] = f"cannot be merged: {error}"
        return
    if merged.conflicts:
        lines = ", ".join(map(str, merged.conflicts))
        found.conflicts[name] = f"was changed here and upstream, near line {lines}"
        return
    if merged.text.encode("utf-8") != ours:
        found.files[name] = (digest(ours), merged.text.encode("utf-8"))


def save(found: Update, upstream: Path, home: Path) -> None:
    """Keeps what upstream was, the base of the next update, and its text of files in conflict."""
    shutil.rmtree(home / ORIGINALS, ignore_errors=True)
    for name in found.plan.files:
        if (upstream / name).is_file():
            target = home / ORIGINALS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(upstream / name, target)
    folder = home / "upstream"
    shutil.rmtree(folder, ignore_errors=True)
    texts = _results(found.plan, upstream)
    for name in found.conflicts:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(texts[name])
