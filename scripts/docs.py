#!/usr/bin/env python3
"""Regenerates the generated pages of docs/ and runs every documentation example.

usage: docs.py [--check]

Examples are the ```python blocks of README.md and docs/ (those of a page run as one program, in an
empty folder) and the `>>>` lines of docstrings. With --check nothing is written: a
generated page that differs from what would be written is an error.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def generated() -> dict[pathlib.Path, str]:
    """Returns the generated pages: path and text."""
    return {}


def pages() -> list[pathlib.Path]:
    """Returns the Markdown pages whose examples are run."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def program(text: str) -> str:
    """Returns a page's Python blocks as one program whose line numbers are the page's.

    >>> program("a\\n```python\\nx = 1\\n```\\n")
    '\\n\\nx = 1\\n'
    """
    lines: list[str] = []
    for match in BLOCK.finditer(text):
        first = text.count("\n", 0, match.start(1))
        lines += [""] * (first - len(lines)) + match.group(1).splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def run_page(path: pathlib.Path) -> bool:
    """Runs a page's examples in a process of their own; tells whether they ran to the end."""
    code = program(path.read_text(encoding="utf-8"))
    if not code:
        return True
    # Compiled under the page's name, so that a traceback names the page and its line.
    launcher = "import sys; exec(compile(sys.stdin.read(), sys.argv[1], 'exec'), {})"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", launcher, str(path)]
        done = subprocess.run(command, input=code, text=True, cwd=folder, capture_output=True)
    name = path.relative_to(ROOT)
    print(f"{name}: {'runs' if not done.returncode else done.stderr.strip()}", flush=True)
    return not done.returncode


def run_docstrings() -> bool:
    """Runs the `>>>` examples of the docstrings; tells whether all gave what they say."""
    files = [
        str(path)
        for room in ("runtime", "transpiler", "compat", "scripts")
        for path in sorted((ROOT / room).rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules"]
    return subprocess.run([*command, *files], cwd=ROOT).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a stale page")
    args = parser.parse_args()
    stale = []
    for path, text in generated().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if args.check:
            stale.append(str(path.relative_to(ROOT)))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    failed = [str(path.relative_to(ROOT)) for path in pages() if not run_page(path)]
    if not run_docstrings():
        failed.append("docstrings")
    if stale:
        print(f"make docs: out of date: {', '.join(stale)} (run make docs)")
    elif failed:
        print(f"make docs: FAILED: examples of {', '.join(failed)}")
    else:
        print("make docs: the generated pages are up to date and every example runs")
    return 1 if stale or failed else 0


if __name__ == "__main__":
    sys.exit(main())
