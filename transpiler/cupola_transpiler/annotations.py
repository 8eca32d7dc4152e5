"""Names inside quoted annotations and type comments, as uses like any other."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.scope import Anchor, Scope, Use
from cupola_transpiler.spans import Span
from cupola_transpiler.syntax import literal_offset

_TYPE_COMMENT = re.compile(r"#[ \t]*type:[ \t]*(?!ignore\b)([^#\r\n]*)")


def _chains(tree: ast.AST) -> Iterator[tuple[ast.Name, tuple[ast.Attribute, ...]]]:
    """Each name of an expression with the attributes that follow it, innermost first."""
    stack: list[tuple[ast.AST, tuple[ast.Attribute, ...]]] = [(tree, ())]
    while stack:
        node, attributes = stack.pop()
        if isinstance(node, ast.Attribute):
            stack.append((node.value, (node, *attributes)))
        elif isinstance(node, ast.Name):
            yield node, attributes
        else:
            stack.extend((child, ()) for child in ast.iter_child_nodes(node))


def _uses(text: str, mode: str, scope: Scope, node: cst.CSTNode | None, shift: int) -> list[Use]:
    """Uses in a piece of annotation source; none if it is not one (nothing is guessed)."""
    lead = len(text) - len(text.lstrip())
    if not text.isascii() or "\n" in text:
        return []
    try:
        tree = ast.parse(text.strip(), mode=mode)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found = []
    for name, attributes in _chains(tree):
        parts = [(name.id, name.col_offset)]
        for attribute in attributes:
            parts.append((attribute.attr, (attribute.end_col_offset or 0) - len(attribute.attr)))
        anchors = tuple(
            Anchor(node, shift + lead + at, shift + lead + at + len(word)) for word, at in parts
        )
        found.append(Use(scope, tuple(word for word, _ in parts), anchors, None))
    return found


def string_uses(scope: Scope, node: cst.SimpleString) -> list[Use]:
    """Uses inside a quoted annotation."""
    shift = literal_offset(node)
    if shift is None or "b" in node.prefix.lower():
        return []
    return _uses(str(node.raw_value), "eval", scope, node, shift)


def has_type_comment(text: str, word: str) -> bool:
    """Whether some comment may be a type comment that holds `word`: a cheap first look."""
    return any(word in match[1] for match in _TYPE_COMMENT.finditer(text))


def comment_uses(text: str, word: str, scopes: list[Scope], spans: dict[int, Span]) -> list[Use]:
    """Uses inside type comments, each in the innermost scope whose text holds the comment."""
    found: list[Use] = []
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text, newline="").readline))
    except (tokenize.TokenError, SyntaxError):
        return []
    for token in tokens:
        match = _TYPE_COMMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if match is None or word not in match[1]:
            continue
        at = starts[token.start[0] - 1] + token.start[1]
        scope = _innermost(scopes, spans, at)
        mode = "func_type" if match[1].startswith("(") and "->" in match[1] else "eval"
        found += _uses(match[1], mode, scope, None, at + match.start(1))
    return found


def _innermost(scopes: list[Scope], spans: dict[int, Span], at: int) -> Scope:
    best, width = scopes[0], None
    for scope in scopes[1:]:
        start, end = spans.get(id(scope.node), (1, 0))
        if start <= at < end and (width is None or end - start < width):
            best, width = scope, end - start
    return best
