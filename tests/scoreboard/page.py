"""The generated page: a summary, the options of the run, one row an entry."""

from __future__ import annotations

from typing import Any

from scoreboard.exclusions import (
    ENTRIES,
    FRAGILE,
    LAYOUTS,
    MISWRITTEN,
    PHASES,
    UNCHECKED,
    UNDEFINED,
    UNWRITTEN,
    WRONG,
)
from scoreboard.tally import KINDS, MODULE_KINDS, OPTIMIZER_KINDS

COLUMNS = {"operators": KINDS, "modules": MODULE_KINDS, "optimizers": OPTIMIZER_KINDS}
WORDS = {
    "forward": "forward",
    "gradient": "gradient",
    "second": "second gradient",
    "forward_ad": "forward mode",
    "method": "method",
    "inplace": "in place",
    "out": "`out=`",
    "errors": "error inputs",
    "initial": "initial values",
    "state": "state_dict",
    "repr": "repr",
    "steps": "20 steps",
    "groups": "parameter groups",
    "resumed": "reloaded state",
}


def tallies(row: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The counts of one kind, one for each dtype."""
    found = row.get(kind)
    if found is None:
        return []
    return [found] if "run" in found else list(found.values())


def failures(row: dict[str, Any], kind: str) -> tuple[int, int]:
    """(samples that failed, samples that ran)."""
    found = tallies(row, kind)
    return sum(t["failed"] for t in found), sum(t["run"] for t in found)


def passed(row: dict[str, Any], kind: str) -> bool | None:
    """Whether all samples passed; None: there is nothing of this kind to run."""
    if "broken" in row:
        return False if kind in row["kinds"] else None
    failed, run = failures(row, kind)
    return None if not run else not failed


def failing(row: dict[str, Any]) -> set[str]:
    """The kinds of comparison that a row does not pass."""
    return {k for k in COLUMNS[row["database"]] if passed(row, k) is False}


def counts(rows: list[dict[str, Any]], kind: str) -> tuple[int, int]:
    """(entries that pass, entries that have something to pass)."""
    marks = [m for m in (passed(r, kind) for r in rows if "excluded" not in r) if m is not None]
    return sum(marks), len(marks)


def summaries(rows: list[dict[str, Any]]) -> dict[str, dict[str, tuple[int, int]]]:
    """For each database and kind: (entries that pass, entries that have something to pass)."""
    return {
        database: {
            kind: counts([r for r in rows if r["database"] == database], kind) for kind in kinds
        }
        for database, kinds in COLUMNS.items()
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """One line: entries that pass, out of those that were run."""
    parts = []
    for database, kinds in summaries(rows).items():
        said = [f"{WORDS[k]} {a} of {b}" for k, (a, b) in kinds.items() if b]
        if said:
            parts.append(f"{database}: {', '.join(said)}")
    return "; ".join(parts)


def less_exact(row: dict[str, Any], kind: str) -> bool:
    """Whether a kind fails only in samples where torch is the less exact side."""
    if "broken" in row or passed(row, kind) is not False:
        return False
    return all(t["failed"] == t.get("nearer", 0) for t in tallies(row, kind))


def _cell(row: dict[str, Any], kind: str) -> str:
    mark = passed(row, kind)
    if mark is None:
        return "–"
    if mark:
        return "yes"
    if "broken" in row:
        return row["broken"]
    failed, run = failures(row, kind)
    return f"{failed} of {run} {'nearer' if less_exact(row, kind) else 'fail'}"


def _dtypes(row: dict[str, Any]) -> str:
    found = row.get("forward", {})
    return " ".join(d if not t["failed"] else f"~~{d}~~" for d, t in found.items() if t["run"])


def _table(rows: list[dict[str, Any]], database: str) -> list[str]:
    kinds = [k for k in COLUMNS[database] if counts(rows, k)[1]]
    heads = ["entry", *(WORDS[k] for k in kinds)]
    heads += ["dtypes"] * (database == "operators")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in rows:
        cells = [f"`{r['name']}`", *(_cell(r, kind) for kind in kinds)]
        cells += [_dtypes(r)] * (database == "operators")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _totals(rows: list[dict[str, Any]]) -> list[str]:
    heads = ["database", "what", "entries that pass", "of", "fail only where torch is less exact"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for database, kinds in summaries(rows).items():
        own = [r for r in rows if r["database"] == database]
        for kind, (passing, all_of_them) in kinds.items():
            if all_of_them:
                less = sum(less_exact(r, kind) for r in own)
                cells = [database, WORDS[kind], str(passing), str(all_of_them), str(less)]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def _further(options: dict[str, Any]) -> str:
    more = " ".join(options.get("further", ()))
    return f", {more} forward only" if more else ""


def _compared(rows: list[dict[str, Any]]) -> int:
    """How many comparisons were made in all columns."""
    return sum(failures(r, kind)[1] for r in rows for kind in COLUMNS[r["database"]])


def _nearer(rows: list[dict[str, Any]]) -> int:
    """In how many failing results and gradients torch is the less exact side."""
    return sum(
        t.get("nearer", 0)
        for r in rows
        for kind in ("forward", "gradient")
        for t in tallies(r, kind)
    )


def page(rows: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """The text of docs/operators.md."""
    left_out = [r for r in rows if "excluded" in r]
    run = [r for r in rows if "excluded" not in r]
    samples = options["samples"] or "all"
    lines = [
        "# Operators",
        "",
        f"PyTorch's own test databases run against cupola on {options['device']} "
        f"({options['backend']} backend), compared with torch {options['torch']} on the CPU.",
        "",
        f"- dtypes: {' '.join(options['dtypes'])} in every column{_further(options)} (an entry "
        "that has none of them is sampled with another)",
        "- derivatives: gradients in complex128 as well, second gradients and forward mode in "
        "float64 and complex128",
        f"- samples of an entry, for each dtype and column: {samples}; {_compared(run):,} were "
        "compared",
        f"- time-out: {options['limit']:.0f} s an entry; all of them took "
        f"{options['seconds']:.0f} s of one process",
        f"- entries by commit: {', '.join(f'{n} at {c}' for c, n in options['commits'].items())}",
        "",
        *_totals(run),
        "",
        "Generated by `make scoreboard`; do not edit. Each row is an entry of "
        "`torch.testing._internal`'s `op_db`, `module_db` or `optim_db`. A cell says yes when all "
        "samples give torch's value, shape and dtype within torch's own tolerance, and torch's "
        "type of error where torch raises one; a dash means that the database has nothing to "
        "compare. Second gradients, forward mode, layers' gradients and optimizers are compared in "
        f"float64. A dtype that is struck out has failing samples. In {_nearer(run)} failing "
        "results and first gradients torch is the less exact side: ours lies at least as near to "
        "torch's in double precision. Where that is all that fails, a cell says nearer.",
    ]
    for database in COLUMNS:
        own = [r for r in run if r["database"] == database]
        if own:
            lines += ["", f"## {database.capitalize()}", "", *_table(own, database)]
    lines += ["", "## Excluded", "", "| entry | why |", "|---|---|"]
    lines += [f"| `{r['name']}` | {r['excluded']} |" for r in left_out]
    lines += [
        "",
        f"{len(left_out)} entries of {len(rows)}. The patterns behind them, and what is skipped "
        "within entries:",
        "",
    ]
    lines += [f"- `{pattern}`: {why}." for pattern, why in ENTRIES.items()]
    for table, text in (
        (UNDEFINED, "values of `{}` are not compared"),
        (PHASES, "values of `{}` are compared after `output_process_fn_grad`"),
        (WRONG, "samples `{}` are not compared"),
        (FRAGILE, "`{}` is given no `out=` of another dtype"),
        (MISWRITTEN, "`{}` is given no strided `out=`"),
        (UNWRITTEN, "`out=` of `{}` is not compared"),
        (LAYOUTS, "samples that hold {} tensors are skipped"),
    ):
        lines += [f"- {text.format(key)}: {why}." for key, why in table.items()]
    if options["device"] != "CPU":
        lines += [
            f"- error inputs that say `{key}` are skipped: {why}." for key, why in UNCHECKED.items()
        ]
        lines.append(
            "- values of entries that draw random numbers are not compared on this device: "
            "torch's generator there has another stream."
        )
    return "\n".join(lines) + "\n"
