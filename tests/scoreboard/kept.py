"""Results that outlive a run, a line of JSON an entry: a page can be completed in pieces."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from scoreboard.workers import NOT_RUN

# What decides whether a result answers a question that is asked again.
SETTINGS = ("dtypes", "further", "samples", "kinds")


def commit(folder: pathlib.Path) -> str:
    """The commit that is measured, with a plus sign if files differ from it."""

    def said(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = said("status", "--porcelain", "--untracked-files=no")
    return (said("rev-parse", "--short=8", "HEAD") or "unknown") + "+" * bool(changed)


def _of(line: dict[str, Any]) -> tuple[str, str]:
    return line["database"], line["name"]


class Kept:
    """The results in one file; a later line stands for an earlier one of the same settings.

    Args:
        path: the file; it need not exist.
        asked: what the run asks for, under the names in ``SETTINGS``.
    """

    def __init__(self, path: pathlib.Path, asked: dict[str, Any]) -> None:
        self.path = path
        self.asked = json.loads(json.dumps({k: asked[k] for k in SETTINGS}))
        self.lines: list[dict[str, Any]] = []
        for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with suppress(json.JSONDecodeError):  # the run was interrupted there
                self.lines.append(json.loads(text))

    def add(self, row: dict[str, Any], commit: str) -> None:
        """Keeps a result, unless its entry was not begun."""
        if row.get("broken") == NOT_RUN:
            return
        line = {**row, "asked": self.asked, "commit": commit}
        self.lines.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with open(self.path, "a", encoding="utf-8") as file:
            print("\n" * torn + json.dumps(line, ensure_ascii=False), file=file, flush=True)

    def answers(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The results that the same settings gave, by database and name."""
        return {_of(line): line for line in self.lines if line["asked"] == self.asked}

    def _as_many(self) -> list[dict[str, Any]]:
        return [x for x in self.lines if x["asked"]["samples"] == self.asked["samples"]]

    def dtypes(self) -> list[str]:
        """Whatever dtypes were asked for in the rows that are joined."""
        asked = [line["asked"] for line in self._as_many()]
        return sorted({dtype for a in asked for dtype in (*a["dtypes"], *a["further"])})

    def joined(self) -> dict[tuple[str, str], dict[str, Any]]:
        """One row an entry: all columns and dtypes that were run with as many samples."""
        newest: dict[Any, dict[str, Any]] = {}
        for line in self._as_many():
            key = (*_of(line), json.dumps(line["asked"]))
            newest.pop(key, None)  # lines are joined in the order in which they were written
            newest[key] = line
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for line in newest.values():
            _join(rows.setdefault(_of(line), {"seconds": 0.0}), line)
        return rows


def _join(row: dict[str, Any], line: dict[str, Any]) -> None:
    seconds = round(row["seconds"] + line.get("seconds", 0.0), 2)
    for kind, found in line.items():
        by_dtype = isinstance(found, dict) and "run" not in found
        row[kind] = {**row.get(kind, {}), **found} if by_dtype else found
    row["seconds"] = seconds
    row.pop("asked", None)


def commits(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many entries were measured at which commit, most first."""
    found: dict[str, int] = {}
    for row in rows:
        if "commit" in row:
            found[row["commit"]] = found.get(row["commit"], 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))
