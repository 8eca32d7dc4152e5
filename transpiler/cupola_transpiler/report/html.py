"""The report as one HTML page: no scripts from elsewhere, no fonts, no network."""

import difflib
from collections.abc import Iterable
from html import escape

from cupola_transpiler.plan import CHANGED, LEFT, FilePlan, Plan, count
from cupola_transpiler.report.facts import plan_facts
from cupola_transpiler.source import SourceError, decode

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #b35900; --dim: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
.verdict { font-size: 1.15rem; padding: .8rem 1rem; border-left: 4px solid; margin: 1rem 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--dim); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.tiles div { border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem; }
.tiles b { display: block; font-size: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .25rem .6rem .25rem 0; vertical-align: top;
 border-bottom: 1px solid var(--line); } .n { text-align: right; }
details { border-bottom: 1px solid var(--line); padding: .25rem 0; } summary { cursor: pointer; }
pre { overflow-x: auto; margin: .4rem 0 .8rem; }
.add { background: #2da44e33; } .del { background: #cf222e2b; }
pre span { display: block; min-height: 1.45em; white-space: pre; } .hunk { color: var(--dim); }
"""


def html_report(
    plans: Iterable[Plan], written: bool, originals: dict[str, dict[str, bytes]]
) -> str:
    """The page. originals: for each root, the bytes of changed files as they were, by path."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>cupola conversion report</title>",
        f"<style>{STYLE}</style><h1>Conversion report</h1>",
    ]
    for plan in plans:
        parts += _tree(plan, written, originals.get(str(plan.root), {}))
    return "\n".join(parts) + "\n"


def _tree(plan: Plan, written: bool, originals: dict[str, bytes]) -> list[str]:
    summary = plan_facts(plan, written)["summary"]
    mood = "good" if plan.complete else "bad"
    tiles = [
        ("changed" if written else "would change", summary["changed"]), ("kept", summary["kept"]),
        ("left", summary["left"]), ("edits", summary["edits"]),
        ("unsupported", summary["unsupported"]), ("lines", summary["lines"]),
    ]  # fmt: skip
    parts = [
        f"<p class=dim><code>{escape(str(plan.root))}</code></p>",
        f"<p class='verdict {mood}'>{escape(plan.verdict)}</p>",
        "<div class=tiles>",
        *(f"<div><b>{number:,}</b>{escape(name)}</div>" for name, number in tiles),
        "</div>",
    ]
    if summary["edits_by_rule"]:
        parts.append("<h2>Edits by rule</h2><table>")
        parts += [
            f"<tr><td><code>{escape(rule)}</code><td class=n>{number:,}"
            for rule, number in summary["edits_by_rule"].items()
        ]
        parts.append("</table>")
    parts += _notes(
        "Unsupported",
        "Still imports; raises an error that says why when it is called.",
        plan,
        "unsupported",
    )
    parts += _notes("Still torch", "", plan, "remains")
    parts += _notes("Kept on request", "", plan, "ignored")
    parts += _left(plan.with_status(LEFT))
    parts.append("<h2>Changed files</h2>" if plan.with_status(CHANGED) else "")
    for file in plan.with_status(CHANGED):
        parts += _changed(file, originals.get(file.path))
    parts += _notes(
        "Strings kept as text", "They may name torch; nothing says that they do.", plan, "note"
    )
    kept = [f.path for f in plan.files.values() if f.status == "kept"]
    if kept:
        parts.append(
            f"<h2>Kept</h2><details><summary>{count(len(kept), 'file')} with nothing to convert"
            "</summary><pre>"
        )
        parts += [f"<span>{escape(path)}</span>" for path in kept]
        parts.append("</pre></details>")
    return parts


def _left(files: list[FilePlan]) -> list[str]:
    if not files:
        return []
    rows = [f"<tr><td><code>{escape(f.path)}</code><td>{escape(f.reason)}" for f in files]
    return ["<h2>Left as they were</h2><table><tr><th>file<th>reason", *rows, "</table>"]


def _notes(title: str, lead: str, plan: Plan, level: str) -> list[str]:
    notes = plan.notes(level)
    if not notes:
        return []
    rows = [
        f"<tr><td><code>{escape(f.path)}:{n.line}:{n.column}</code>"
        f"<td><code>{escape(n.name)}</code><td>{escape(n.reason)}<td>{escape(n.suggestion)}"
        for f, n in notes
    ]
    head = "<table><tr><th>where<th>name<th>reason<th>suggestion"
    return [f"<h2>{escape(title)}</h2><p class=dim>{escape(lead)}</p>", head, *rows, "</table>"]


def _changed(file: FilePlan, before: bytes | None) -> list[str]:
    bad = len(file.at_level("unsupported"))
    extra = f" <span class=bad>{bad} unsupported</span>" if bad else ""
    edits = count(len(file.changes), "edit")
    head = (
        f"<details><summary><code>{escape(file.path)}</code> <span class=dim>{edits}</span>{extra}"
    )
    lines = diff_lines(file, before) if before is not None else []
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    body = [f"<span class='{kinds.get(x[:1], '')}'>{escape(x)}</span>" for x in lines[2:]]
    return [f"{head}</summary><pre>", "".join(body), "</pre></details>"]


def diff_lines(file: FilePlan, before: bytes) -> list[str]:
    """The unified diff of a planned file, without line ends."""
    try:
        old = decode(before)
    except SourceError:
        return []
    new = file.after[len(old.mark) :].decode(old.encoding)
    lines = difflib.unified_diff(
        old.text.splitlines(), new.splitlines(), f"a/{file.path}", f"b/{file.path}", lineterm=""
    )
    return list(lines)
