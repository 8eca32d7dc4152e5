"""The three databases as one list of entries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scoreboard import entry, modules, optimizers
from scoreboard.exclusions import excluded
from scoreboard.tally import KINDS, MODULE_KINDS, OPTIMIZER_KINDS, Options


@dataclass(frozen=True)
class Entry:
    """One entry of one database.

    Attributes:
        database: ``operators``, ``modules`` or ``optimizers``.
        name: unique in its database.
        excluded: why it is not run; None when it is.
        kinds: what there is to compare.
        run: ``run(options)`` makes its row.
    """

    database: str
    name: str
    excluded: str | None
    kinds: tuple[str, ...]
    run: Callable[[Options], dict[str, Any]]


def _operator_kinds(op: Any) -> tuple[str, ...]:
    has = {
        "forward": True,
        "gradient": op.supports_autograd,
        "second": op.supports_autograd and op.supports_gradgrad,
        "forward_ad": op.supports_autograd and op.supports_forward_ad,
        "method": op.method_variant is not None,
        "inplace": op.inplace_variant is not None,
        "out": op.supports_out,
        "errors": op.error_inputs_func is not None,
    }
    return tuple(k for k in KINDS if has[k])


def entries(only: str | None = None) -> list[Entry]:
    """All entries in the order of the databases, or those whose names match an expression."""
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db
    from torch.testing._internal.common_optimizers import optim_db

    found = [
        Entry(
            "operators",
            entry.title(op),
            excluded(op.name),
            _operator_kinds(op),
            lambda options, op=op: entry.run(op, options),
        )
        for op in op_db
    ]
    found += [
        Entry(
            "modules",
            modules.title(info),
            None,
            MODULE_KINDS,
            lambda options, info=info: modules.run(info, options),
        )
        for info in module_db
    ]
    found += [
        Entry(
            "optimizers",
            optimizers.title(info),
            None,
            OPTIMIZER_KINDS,
            lambda options, info=info: optimizers.run(info, options),
        )
        for info in optim_db
    ]
    if only is None:
        return found
    return [e for e in found if re.fullmatch(only, e.name)]
