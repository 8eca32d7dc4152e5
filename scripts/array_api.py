#!/usr/bin/env python3
"""Counts names and signatures of cupola's Array API namespace; writes docs/array_api.md's table.

usage: array_api.py [--check]

array-api-strict says which names and parameters version 2024.12 has. With --check nothing is
written, and a page that says something else is an error.
"""

from __future__ import annotations

import inspect
import pathlib
import sys
import warnings
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/array_api.md"
HEAD = "| namespace | functions | there | with the standard's parameters |"
# Its own switches, and what a later version of the standard adds.
OTHERS = {
    "ArrayAPIStrictFlags", "Device", "get_array_api_strict_flags", "isin",
    "reset_array_api_strict_flags", "set_array_api_strict_flags",
}  # fmt: skip


def parameters(f: Any) -> list[tuple[str, str]]:
    """Names and kinds of a function's parameters."""
    return [(p.name, p.kind.name) for p in inspect.signature(f).parameters.values()]


def table() -> str:
    """The page's table."""
    import array_api_strict

    import cupola

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array_api_strict.set_array_api_strict_flags(api_version="2024.12")
    xp = cupola.ones(()).__array_namespace__(api_version="2024.12")
    rows = [HEAD, "|---|---|---|---|"]
    for title, mine, theirs in (
        ("`xp`", xp, array_api_strict),
        ("`xp.linalg`", xp.linalg, array_api_strict.linalg),
        ("`xp.fft`", xp.fft, array_api_strict.fft),
    ):
        wanted = [
            n for n in theirs.__all__ if n not in OTHERS and inspect.isfunction(getattr(theirs, n))
        ]
        there = [n for n in wanted if hasattr(mine, n)]
        alike = [n for n in there if parameters(getattr(mine, n)) == parameters(getattr(theirs, n))]
        rows.append(f"| {title} | {len(wanted)} | {len(there)} | {len(alike)} |")
    return "\n".join(rows)


def page() -> str:
    """The page with the table as it is now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(HEAD)
    after = rest.partition("\n\n")[2]
    return f"{before}{table()}\n\n{after}"


def main(arguments: list[str]) -> int:
    """Writes the page, or compares it."""
    made = page()
    if arguments == ["--check"]:
        same = made == PAGE.read_text(encoding="utf-8")
        print("docs/array_api.md is up to date" if same else "run scripts/array_api.py")
        return 0 if same else 1
    PAGE.write_text(made, encoding="utf-8")
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
