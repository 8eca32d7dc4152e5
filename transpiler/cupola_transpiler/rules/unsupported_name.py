"""unsupported-name: names that cupola does not have."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Finding, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import dotted_name, string_value
from cupola_transpiler.table import MISSING, Row


class UnsupportedName(Rule):
    """A name that the table lists as unsupported is reported with its reason.

    The rewritten code keeps the name (under cupola), so that what does not reach it runs.
    """

    code = "unsupported-name"
    VALID = ["import numpy\nnumpy.fx\n"]

    def check(self, module: Module) -> Iterator[Result]:
        table = module.table
        for record in module.walk.imports:
            node, statement = record.node, record.statement
            if isinstance(statement, cst.Import):
                assert isinstance(node, cst.ImportAlias)
                name = dotted_name(node.name)
                if isinstance(module.module_target(name), str):
                    yield from _finding(table.row(name), Anchor(node.name))
                continue
            source = module.source(statement)
            if not isinstance(source, str) or table.root(source) is None:
                continue
            if isinstance(node, cst.ImportAlias):
                yield from _finding(
                    table.row(f"{source}.{dotted_name(node.name)}"), Anchor(node.name)
                )
            else:
                yield from _finding(table.row(source), Anchor(statement.module))
        for use in module.uses:
            name = module.qualify(use)
            if name is not None and table.root(name) is not None:
                yield from _finding(table.row(name), use.anchors[-1])
        for _, call in module.walk.calls:
            if module.qualname(call.func) == "getattr" and len(call.args) >= 2:
                owner = module.qualname(call.args[0].value)
                attribute = string_value(call.args[1].value)
                if owner is not None and attribute and table.root(owner) is not None:
                    yield from _finding(
                        table.rows.get(f"{owner}.{attribute}"), Anchor(call.args[1].value)
                    )


def _finding(row: Row | None, anchor: Anchor) -> Iterator[Result]:
    if row is not None and row.status in MISSING:
        yield Finding(anchor, "unsupported", row.name, row.reason, row.suggestion)
