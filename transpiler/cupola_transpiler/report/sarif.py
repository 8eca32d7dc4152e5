"""The report as SARIF 2.1.0, which code hosts show beside the lines that it speaks of."""

import json
from collections.abc import Iterable
from typing import Any

from cupola_transpiler.plan import Plan
from cupola_transpiler.rule import discover

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# unsupported and remains are what a conversion still owes; the others are for the record.
LEVELS = {"unsupported": "error", "remains": "warning", "ignored": "note", "note": "note"}


def sarif_report(plans: Iterable[Plan], version: str) -> str:
    """One run with a result for each finding and each file that was left as it is.

    Paths are relative to the root of their tree, which `originalUriBaseIds` names.
    """
    plans = list(plans)
    bases, results = {}, []
    for index, plan in enumerate(plans):
        base = "ROOT" if len(plans) == 1 else f"ROOT{index + 1}"
        bases[base] = {"uri": plan.root.as_uri() + "/"}
        results += _results(plan, base)
    driver = {
        "name": "cupola",
        "version": version,
        "rules": [
            {"id": "left", "shortDescription": {"text": "A file that could not be converted."}},
            *(
                {"id": r.code, "shortDescription": {"text": r.title()}, "help": {"text": _help(r)}}
                for r in discover()
            ),
        ],
    }
    run = {"tool": {"driver": driver}, "originalUriBaseIds": bases, "results": results,
           "columnKind": "unicodeCodePoints"}  # fmt: skip
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _help(rule: Any) -> str:
    return "\n".join(line.strip() for line in (rule.__doc__ or "").strip().splitlines())


def _results(plan: Plan, base: str) -> list[dict[str, Any]]:
    found = []
    for file in plan.files.values():
        if file.status == "left":
            text = f"left as it is: {file.reason}"
            found.append(_result("left", "warning", text, file.path, base, 1, 1))
        for note in file.notes:
            text = f"{note.name}: {note.reason}" + (
                f"; {note.suggestion}" if note.suggestion else ""
            )
            level = LEVELS[note.level]
            found.append(_result(note.rule, level, text, file.path, base, note.line, note.column))
    return found


def _result(
    rule: str, level: str, text: str, path: str, base: str, line: int, column: int
) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": _uri(path), "uriBaseId": base},
        "region": {"startLine": line, "startColumn": column},
    }
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path, errors="surrogateescape")
