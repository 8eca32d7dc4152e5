"""What becomes of each name of PyTorch: the tables in tables/, read once.

tables/names/torch.nn.txt lists the public names of a namespace as torch itself enumerates them
(tests/transpiler/enumerate_torch.py writes these). They keep their name unless a hand-written file
says otherwise, one for each namespace that has something to say:

    namespace = "torch.nn"           # names below are names in it
    target = "cupola.nn"             # where they live afterwards
    same = ["flags"]                 # names that torch does not enumerate
    [renamed]
    old = "cupola.x.new"
    [structural]
    name = "rule"                    # that rule of rules/ rewrites its uses
    [[unsupported]]                  # these stay importable and raise where they are called
    names = ["quantized", "qint*"]   # a star covers the enumerated names that it matches
    reason = "..."
    suggestion = "..."

tables/pending.txt lists the names that the runtime does not have yet; tests/transpiler/pending.py
writes it.
"""

import fnmatch
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources

TORCH_VERSION = (2, 13)  # that cupola stands for
NOT_YET = "not implemented yet"
SAME, RENAMED, STRUCTURAL = "same", "renamed", "structural"
UNSUPPORTED, PENDING = "unsupported", "pending"
MISSING = (UNSUPPORTED, PENDING)  # reported where they are used


@dataclass(frozen=True, slots=True)
class Row:
    """One name, its status (one of those above) and its new name in full.

    A pending name is meant to be the same and is not in the runtime yet.
    """

    name: str
    status: str
    target: str
    reason: str = ""
    suggestion: str = ""
    rule: str = ""


@dataclass
class Table:
    """All rows, by full dotted name, and the namespaces that have a file of their own."""

    rows: dict[str, Row] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)

    @cached_property
    def roots(self) -> dict[str, str]:
        """Packages that are converted, with what they become."""
        return {
            name: target
            for name, target in self.namespaces.items()
            if not any(name.startswith(other + ".") for other in self.namespaces)
        }

    def root(self, name: str) -> str | None:
        """The converted package that a dotted name belongs to, or None."""
        first = name.partition(".")[0]
        if first in self.roots:
            return first
        return next((r for r in self.roots if name == r or name.startswith(r + ".")), None)

    def target(self, name: str) -> str:
        """The dotted name after conversion of `name`; KeyError if it has no root here."""
        head, rest = name, ""
        while True:
            row = self.rows.get(head)
            if row is not None and row.status == RENAMED:
                return row.target + rest
            if head in self.namespaces:
                return self.namespaces[head] + rest
            if not head:
                raise KeyError(name)
            head, _, last = head.rpartition(".")
            rest = f".{last}{rest}"

    def row(self, name: str) -> Row | None:
        """The row of a name; without one, that of the innermost part of it that is missing."""
        head = name
        while head:
            row = self.rows.get(head)
            if row is not None and (head == name or row.status in MISSING):
                return row
            head = head.rpartition(".")[0]
        return None

    def names(self) -> Iterator[Row]:
        """Every row."""
        yield from self.rows.values()


def _read(table: Table, text: str, listed: dict[str, list[str]]) -> None:
    data = tomllib.loads(text)
    namespace, target = data["namespace"], data["target"]
    table.namespaces[namespace] = target

    def add(name: str, status: str, to: str, **more: str) -> None:
        table.rows[f"{namespace}.{name}"] = Row(f"{namespace}.{name}", status, to, **more)

    for name in data.get(SAME, ()):
        add(name, SAME, f"{target}.{name}")
    for name, to in data.get(RENAMED, {}).items():
        add(name, RENAMED, to)
    for name, rule in data.get(STRUCTURAL, {}).items():
        add(name, STRUCTURAL, f"{target}.{name}", rule=rule)
    for group in data.get(UNSUPPORTED, ()):
        for pattern in group["names"]:
            names = [pattern]
            if "*" in pattern:
                names = fnmatch.filter(listed.get(namespace, ()), pattern)
            for name in names:
                more = {"reason": group["reason"], "suggestion": group.get("suggestion", "")}
                add(name, UNSUPPORTED, f"{target}.{name}", **more)


def _add_listed(table: Table, namespace: str, names: list[str]) -> None:
    """Rows for the public names of a namespace about which nothing was written."""
    target, home = table.target(namespace), table.row(namespace)
    for name in names:
        full = f"{namespace}.{name}"
        if full in table.rows:
            continue
        if home is not None and home.status == UNSUPPORTED:
            more = {"reason": home.reason, "suggestion": home.suggestion}
            table.rows[full] = Row(full, UNSUPPORTED, f"{target}.{name}", **more)
        else:
            table.rows[full] = Row(full, SAME, f"{target}.{name}")


@cache
def load() -> Table:
    """The table, from the files in tables/."""
    table = Table()
    folder = resources.files("cupola_transpiler") / "tables"
    listed = {
        entry.name.removesuffix(".txt"): entry.read_text("utf-8").split()
        for entry in sorted((folder / "names").iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".txt")
    }
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            _read(table, entry.read_text("utf-8"), listed)
    for namespace, names in listed.items():
        _add_listed(table, namespace, names)
    pending = folder / "pending.txt"
    if pending.is_file():
        _set_pending(table, pending.read_text("utf-8"))
    return table


def _set_pending(table: Table, text: str) -> None:
    """Marks the names that the runtime does not have yet: [namespace], then names."""
    namespace = ""
    for line in text.splitlines():
        if line.startswith("["):
            namespace = line[1:-1]
        elif not line.startswith("#"):
            for name in line.split():
                full = f"{namespace}.{name}"
                row = table.rows.get(full)
                if row is not None and row.status == SAME:
                    table.rows[full] = Row(full, PENDING, row.target, NOT_YET)
