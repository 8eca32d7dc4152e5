"""Which names of the table the runtime does not have yet.

`python tests/transpiler/pending.py` writes them to tables/pending.txt, so that a conversion
reports them instead of letting the converted program find out, and writes docs/support.md.
"""

import importlib
import sys
import textwrap
import types
import warnings
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).parents[2] / "transpiler/cupola_transpiler/tables/pending.txt"
PAGE = Path(__file__).parents[2] / "docs/support.md"
HEAD = """\
# Names that the runtime does not have yet, by namespace.
# Written by tests/transpiler/pending.py.
"""


_NOTHING = object()


def exists(dotted: str) -> bool:
    """Whether a dotted name of the runtime leads to something other than a placeholder."""
    parts = dotted.split(".")
    here: object = _NOTHING
    for length in range(len(parts), 0, -1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                here = importlib.import_module(".".join(parts[:length]))
        except ImportError as error:
            if length == len(parts) and error.name and error.name.partition(".")[0] != "cupola":
                return True  # it needs a package that is not installed here
            continue
        break
    for name in parts[length:]:
        try:
            here = getattr(here, name)
        except (AttributeError, ImportError, RuntimeError):
            return False
    return here is not _NOTHING and not is_placeholder(here)  # None is a value: torch.newaxis


def is_placeholder(value: object) -> bool:
    """Whether a value only stands for something that is not there."""
    return type(value).__name__ == "_Unsupported" and not isinstance(value, types.ModuleType)


def write_list() -> None:
    """Writes the list again."""
    from cupola_transpiler.report.support import support_page
    from cupola_transpiler.table import PENDING, SAME, load

    missing = defaultdict(list)
    for row in load().names():
        if row.status in (SAME, PENDING) and not exists(row.target):
            namespace, _, name = row.name.rpartition(".")
            missing[namespace].append(name)
    lines = [HEAD]
    for namespace in sorted(missing):
        names = " ".join(sorted(missing[namespace]))
        wrapped = textwrap.wrap(names, 96, break_long_words=False, break_on_hyphens=False)
        lines.append("\n".join([f"[{namespace}]", *wrapped, ""]))
    LIST.write_text("\n".join(lines))
    load.cache_clear()
    PAGE.write_text(support_page(load()))
    print(f"{sum(map(len, missing.values()))} names are pending", file=sys.stderr)


if __name__ == "__main__":
    write_list()
