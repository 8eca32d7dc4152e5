"""Looks at a result for anything that could still mean torch, without trusting what wrote it.

Python's own parser reads the result: if its tree holds no name, import or annotation with a
converted package in it, there is nothing to resolve and nothing was missed. Where something is
found, the result is resolved again in full.
"""

import ast
import re
import warnings
from collections.abc import Collection

LONG = 300  # characters: longer strings are prose, not annotations


def reads_clean(text: str, packages: Collection[str]) -> bool:
    """Whether no node of the syntax tree of `text` names one of `packages`.

    Strings count if they read as an expression that names one, because they may be annotations or
    module names. False also where this Python cannot parse the text.
    """
    words = re.compile(rf"\b(?:{'|'.join(map(re.escape, packages))})\b")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, type_comments=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return not any(_names(node, words) for node in ast.walk(tree))


def _names(node: ast.AST, words: re.Pattern[str]) -> bool:
    match node:
        case ast.Name(id=name) | ast.MatchAs(name=str(name)):
            return words.fullmatch(name) is not None
        case ast.Constant(value=str(value)):
            return "torch" in value and len(value) < LONG and _is_expression(value, words)
        case ast.Import(names=names):
            return any(words.match(a.name) for a in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            if not level and module and words.match(module):
                return True
            return any(words.fullmatch(n) for a in names for n in (a.name, a.asname or ""))
    comment = getattr(node, "type_comment", None)
    return isinstance(comment, str) and words.search(comment) is not None


def _is_expression(text: str, words: re.Pattern[str]) -> bool:
    if not words.search(text):
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(n, ast.Name) and words.fullmatch(n.id) for n in ast.walk(tree))
