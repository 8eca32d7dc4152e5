"""What becomes of each name of PyTorch: the tables in tables/*.toml, read once.

A file holds one namespace:

    namespace = "torch.nn"          # names below are names in it
    target = "cupola.nn"            # where they live afterwards
    same = ["Linear", ...]          # keep their name
    renamed = { old = "cupola.x.new" }
    structural = { name = "rule" }  # a rule of rules/ rewrites its uses
    [unsupported.name]              # stays importable, raises where it is called
    reason = "..."
    suggestion = "..."
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Row:
    """One name. status: same, renamed, structural or unsupported; target is its full dotted name."""

    name: str
    status: str
    target: str
    reason: str = ""
    suggestion: str = ""
    rule: str = ""


@dataclass
class Table:
    """All rows, by full dotted name, and the packages that they are about."""

    rows: dict[str, Row] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)

    @property
    def roots(self) -> dict[str, str]:
        """Packages that are converted, with what they become."""
        return {name: self.namespaces[name] for name in self.namespaces if self._is_root(name)}

    def _is_root(self, name: str) -> bool:
        parents = name.split(".")[:-1]
        return not any(".".join(parents[:n]) in self.namespaces for n in range(1, len(parents) + 1))

    def root(self, name: str) -> str | None:
        """The converted package that a dotted name belongs to, or None."""
        first = name.partition(".")[0]
        if first in self.namespaces:
            return first
        return next((r for r in self.roots if name == r or name.startswith(r + ".")), None)

    def target(self, name: str) -> str:
        """The dotted name after conversion of `name`, which has a root here."""
        row = self.rows.get(name)
        if row is not None and row.status == "renamed":
            return row.target
        head, rest = name, ""
        while head not in self.namespaces:
            head, _, last = head.rpartition(".")
            rest = f".{last}{rest}"
            row = self.rows.get(head)
            if row is not None and row.status == "renamed":
                return row.target + rest
        return self.namespaces[head] + rest

    def row(self, name: str) -> Row | None:
        """The row of the longest part of a dotted name that is unsupported, or of the whole name."""
        if name in self.rows:
            return self.rows[name]
        parts = name.split(".")
        for length in range(len(parts) - 1, 0, -1):
            row = self.rows.get(".".join(parts[:length]))
            if row is not None and row.status == "unsupported":
                return row
            if row is not None:
                return None
        return None

    def names(self) -> Iterator[Row]:
        """Every row."""
        yield from self.rows.values()


def _read(table: Table, text: str) -> None:
    data = tomllib.loads(text)
    namespace, target = data["namespace"], data["target"]
    table.namespaces[namespace] = target

    def add(name: str, status: str, to: str | None = None, **more: str) -> None:
        full = f"{namespace}.{name}"
        table.rows[full] = Row(full, status, to or f"{target}.{name}", **more)

    for name in data.get("same", ()):
        add(name, "same")
    for name, to in data.get("renamed", {}).items():
        add(name, "renamed", to)
    for name, rule in data.get("structural", {}).items():
        add(name, "structural", rule=rule)
    for name, why in data.get("unsupported", {}).items():
        add(name, "unsupported", reason=why["reason"], suggestion=why.get("suggestion", ""))


@cache
def load() -> Table:
    """The table, from the files in tables/."""
    table = Table()
    folder = resources.files("cupola_transpiler") / "tables"
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            _read(table, entry.read_text("utf-8"))
    return table
