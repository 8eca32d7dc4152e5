"""docs/support.md: what becomes of every name of PyTorch, from the table."""

import textwrap
from collections import Counter, defaultdict

from cupola_transpiler.table import MISSING, PENDING, RENAMED, STRUCTURAL, UNSUPPORTED, Row, Table

HEAD = """\
# What becomes of PyTorch's names

Generated from the converter's table (`transpiler/cupola_transpiler/tables/`); a test compares the
two. Every public name of PyTorch 2.13 and of torchvision 0.28 has a row. A name that is *the same*
keeps it: `torch.x` is `cupola.x`, `torchvision.x` is `cupola_compat.torchvision.x`. What is
*unsupported* or *not there yet* still imports, is reported by `cupola convert` with its place, and
raises `UnsupportedError` where it is called.

"""


def support_page(table: Table) -> str:
    """The page, from a table."""
    spaces: dict[str, list[Row]] = defaultdict(list)
    for row in table.names():
        spaces[row.name.rpartition(".")[0]].append(row)
    total = Counter(row.status for row in table.names())
    missing = sum(total[status] for status in MISSING)
    rows = sum(total.values())
    lines = [
        f"{rows:,} names: {rows - missing:,} are there, {total[PENDING]:,} not yet,"
        f" {total[UNSUPPORTED]:,} are unsupported.\n",
        "| namespace | names | the same | renamed | not yet | unsupported |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for space in sorted(spaces):
        count = Counter(row.status for row in spaces[space])
        kept = len(spaces[space]) - sum(count[s] for s in (RENAMED, STRUCTURAL, *MISSING))
        cells = (len(spaces[space]), kept, count[RENAMED] + count[STRUCTURAL], count[PENDING],
                 count[UNSUPPORTED])  # fmt: skip
        lines.append(f"| `{space}` | " + " | ".join(f"{n:,}" if n else "" for n in cells) + " |")
    lines += ["", "## Renamed", ""]
    lines += [
        f"* `{row.name}` is `{row.target}`"
        for row in sorted(table.names(), key=lambda r: r.name)
        if row.status == RENAMED
    ]
    lines += ["", "## Unsupported", ""]
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in table.names():
        if row.status == UNSUPPORTED:
            reasons[row.reason, row.suggestion].append(row.name)
    for (reason, suggestion), names in sorted(reasons.items()):
        hint = f" Instead: {suggestion}." if suggestion else ""
        lines += [f"### {reason[0].upper()}{reason[1:]}", "", hint.strip(), ""] if hint else [
            f"### {reason[0].upper()}{reason[1:]}", "",
        ]  # fmt: skip
        lines += [_wrapped(names), ""]
    lines += ["## Not there yet", ""]
    for space in sorted(spaces):
        waiting = [r.name.rpartition(".")[2] for r in spaces[space] if r.status == PENDING]
        if waiting:
            lines += [f"### `{space}`", "", _wrapped(waiting), ""]
    return HEAD + "\n".join(lines).rstrip() + "\n"


def _wrapped(names: list[str]) -> str:
    text = ", ".join(f"`{name}`" for name in sorted(names))
    return textwrap.fill(text, 98, break_long_words=False, break_on_hyphens=False)
