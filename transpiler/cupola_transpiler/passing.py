"""Files that do not mention torch but may pass it on: `from .base import *` is enough.

Only their imports matter, so Python's own parser reads them, which takes a tenth of the time.
"""

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from cupola_transpiler.layout import Layout, Local
from cupola_transpiler.link import Facts, Target

_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")


def read_facts(root: Path, path: str, layout: Layout) -> Facts:
    """The facts of a file; none if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse((root / path).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return Facts()
    names: dict[str, Target] = {}
    local: Target
    stars: list[str] = []
    public: frozenset[str] | None = None
    for node in _statements(tree):
        match node:
            case ast.ImportFrom(module=module, names=aliases, level=level):
                source = layout.resolve(module or "", level, path)
                for alias in aliases:
                    if alias.name != "*":
                        local = source and Local(source.path, (alias.name,))
                        names[alias.asname or alias.name] = local
                    elif source is not None:
                        stars.append(source.path)
            case ast.Import(names=aliases):
                for alias in aliases:
                    full = alias.name if alias.asname else alias.name.partition(".")[0]
                    local = layout.resolve(full, 0, path)
                    names[alias.asname or full] = full if local is None else local
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names[name] = None
            case ast.ClassDef(name=name):
                names[name] = None
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                public = _strings(value)
            case ast.Assign(targets=targets):
                names.update((t.id, None) for t in targets if isinstance(t, ast.Name))
    return Facts(names, {}, public, tuple(stars))


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements of the module scope, those in `if`, `try` and other blocks among them."""
    for field in _BODIES:
        for node in getattr(tree, field, ()):
            yield node
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _statements(node)


def _strings(node: ast.AST) -> frozenset[str] | None:
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    values = [e.value for e in node.elts if isinstance(e, ast.Constant)]
    return frozenset(v for v in values if isinstance(v, str)) or None
