#!/usr/bin/env python3
"""Regenerates the generated pages of docs/ and runs every documentation example.

usage: docs.py [--check]

Examples are those of README.md, docs/ and the public docstrings. With --check nothing is written: a
generated page that differs from what would be written is an error.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def generated() -> dict[pathlib.Path, str]:
    """Returns the generated pages: path and text."""
    try:
        from cupola_transpiler.table import support_page
    except ImportError:
        return {}
    return {ROOT / "docs/support.md": support_page()}


def examples() -> int:
    """Runs the `>>>` examples of the Markdown pages and of the docstrings."""
    pages = [str(p) for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]
    sources = [str(ROOT / d) for d in ("runtime", "transpiler", "compat")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--doctest-glob=*.md", "--doctest-modules", "--doctest-ignore-import-errors"]
    # 5 means that no example was found, which is no error.
    code = subprocess.run([*command, *pages, *sources], cwd=ROOT).returncode
    return 0 if code == 5 else code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale = []
    for path, text in generated().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if args.check:
            stale.append(path.relative_to(ROOT))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    code = examples()
    if stale:
        print(f"docs: out of date: {', '.join(map(str, stale))} (run make docs)")
    elif code:
        print("docs: an example failed")
    else:
        print("docs: the generated pages are up to date and every example runs")
    return 1 if stale or code else 0


if __name__ == "__main__":
    sys.exit(main())
