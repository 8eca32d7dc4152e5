"""The examples of docs/tutorials/code.md."""

import linecache
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorials" / "code.md"
_BLOCK = re.compile(r"^```python( cuda)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(cuda):
    """(line of the page, text) of the examples for a device."""
    text = PAGE.read_text()
    return [
        (text.count("\n", 0, m.start()) + 1, m.group(2))
        for m in _BLOCK.finditer(text)
        if bool(m.group(1)) == cuda
    ]


def run(line, text):
    """Runs an example as a file of its own, so that errors can name lines."""
    name = f"<code.md:{line}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), {"__name__": "example"})
