"""What every form of the report says, as plain data (this is the JSON report)."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from cupola_transpiler.plan import CHANGED, KEPT, LEFT, FilePlan, Plan


def file_facts(file: FilePlan) -> dict[str, Any]:
    """One file: status (changed, kept, left), its changes and its notes."""
    data: dict[str, Any] = {"path": file.path, "status": file.status, "lines": file.lines}
    if file.reason:
        data["reason"] = file.reason
    if file.status != KEPT or file.notes:
        data["changes"] = [asdict(c) for c in file.changes]
        data["notes"] = [asdict(n) for n in file.notes]
    return data


def plan_facts(plan: Plan, written: bool) -> dict[str, Any]:
    """One tree: summary, verdict and files."""
    changed = plan.with_status(CHANGED)
    return {
        "root": str(plan.root),
        "written": written,
        "complete": plan.complete,
        "verdict": plan.verdict,
        "summary": {
            "files": len(plan.files),
            "lines": sum(f.lines for f in plan.files.values()),
            "changed": len(changed),
            "kept": len(plan.with_status(KEPT)),
            "left": len(plan.with_status(LEFT)),
            "edits": sum(len(f.changes) for f in changed),
            "edits_by_rule": dict(
                Counter(c.rule for f in changed for c in f.changes).most_common()
            ),
            "unsupported": len(plan.notes("unsupported")),
            "remains": len(plan.notes("remains")),
        },
        "files": [file_facts(f) for f in plan.files.values()],
    }


def json_report(plans: Iterable[Plan], written: bool) -> str:
    """The report as JSON text: a list of trees under "trees"."""
    return json.dumps({"trees": [plan_facts(p, written) for p in plans]}, indent=2) + "\n"
