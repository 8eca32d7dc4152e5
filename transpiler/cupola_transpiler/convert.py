"""Converts one file: text -> tree -> resolved names -> rules -> edits -> text."""

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import libcst as cst

from cupola_transpiler.deep import deep
from cupola_transpiler.layout import Layout, Local
from cupola_transpiler.link import Facts, Link
from cupola_transpiler.module import WORD, Module
from cupola_transpiler.rule import Edit, Finding, NeedsImport, discover
from cupola_transpiler.spans import Span, spans
from cupola_transpiler.table import load


class ConvertError(ValueError):
    """A file that has to be left as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One rewritten piece of text, at a line and column (from 1) of the original."""

    line: int
    column: int
    rule: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Note:
    """A finding, placed. level: unsupported, remains, ignored or note."""

    line: int
    column: int
    rule: str
    level: str
    name: str
    reason: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one file."""

    text: str
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    facts: Facts = field(default_factory=Facts)
    needs: frozenset[Local] = frozenset()


def parse(text: str) -> cst.Module:
    """The tree of a source text; ConvertError if it has none."""
    try:
        return cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        where = f"line {error.raw_line}, column {error.raw_column + 1}"
        raise ConvertError(f"does not parse: {where}") from error
    except RecursionError as error:
        raise ConvertError("is nested too deeply to be read") from error
    except Exception as error:  # the parser's own failures must not end the run
        raise ConvertError(f"does not parse: {error}") from error


def resolve(path: str, text: str, link: Link) -> Module:
    """The resolved names of a source text."""
    return Module(path, text, parse(text), load(), link)


class Piece(NamedTuple):
    """Characters start:end of the text become `text`, by a rule."""

    start: int
    end: int
    text: str
    rule: str


class Remark(NamedTuple):
    """A finding of a rule, at a character of the text."""

    start: int
    rule: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the rules say about one file, before anything is done about it."""

    pieces: tuple[Piece, ...] = ()
    remarks: tuple[Remark, ...] = ()
    facts: Facts = field(default_factory=Facts)
    needs: frozenset[Local] = frozenset()


def convert(path: str, text: str, link: Link) -> Result:
    """Applies every rule to one file. Raises ConvertError if it has to be left alone."""
    result = finish(text, rewrite(path, text, link))
    if result.text != text:
        check_parses(path, text, result.text)
    return result


def finish(text: str, found: Rewrite) -> Result:
    """The text with its pieces replaced, and the report of it."""
    pieces = sorted(found.pieces)
    changes = tuple(
        Change(*_line(text, p.start), p.rule, text[p.start : p.end], p.text) for p in pieces
    )
    notes = tuple(
        Note(*_line(text, start), rule, f.level, f.name, f.reason, f.suggestion)
        for start, rule, f in sorted(found.remarks, key=lambda remark: remark.start)
    )
    changed = splice(text, [piece[:3] for piece in pieces]) if pieces else text
    return Result(changed, changes, notes, found.facts, found.needs)


def rewrite(path: str, text: str, link: Link) -> Rewrite:
    """Asks every rule about one Python source. Raises ConvertError if that cannot be done."""
    module = resolve(path, text, link)
    edits: list[tuple[Edit, str]] = []
    findings: list[tuple[Finding, str]] = []
    imports: dict[str, str] = {}
    for rule in discover():
        for item in rule.check(module):
            if isinstance(item, NeedsImport):
                imports.setdefault(item.statement, rule.code)
            elif module.is_ignored(item.anchor, rule.code):
                if isinstance(item, Edit):
                    findings.append((_kept(item, module.text), rule.code))
            elif isinstance(item, Edit):
                edits.append((item, rule.code))
            else:
                findings.append((item, rule.code))
    facts, needs = module.facts(), frozenset(module.needs)
    rewritten = {id(e.anchor.node) for e, _ in edits}
    findings = [
        f for f in findings if f[0].level != "note" or id(f[0].anchor.node) not in rewritten
    ]
    if not edits and not findings and not imports:
        return Rewrite((), (), facts, needs)
    places = _places(module, edits, findings)
    pieces = {Piece(*_at(e.anchor, places), e.text, code) for e, code in edits}
    pieces |= {_import_piece(module, statement, code) for statement, code in imports.items()}
    remarks = [Remark(_at(f.anchor, places)[0], code, f) for f, code in findings]
    return Rewrite(tuple(sorted(pieces)), tuple(remarks), facts, needs)


def _kept(edit: Edit, text: str) -> Finding:
    node = edit.anchor.node
    name = text[edit.anchor.start : edit.anchor.end] if node is None else _short(node)
    return Finding(edit.anchor, "ignored", name, "kept by a `cupola: ignore` comment")


def _short(node: cst.CSTNode) -> str:
    return cst.Module(body=()).code_for_node(node)


def _places(module: Module, edits, findings) -> dict[int, Span]:
    wanted = {
        id(item.anchor.node) for item, _ in (*edits, *findings) if item.anchor.node is not None
    }
    found = spans(module.tree, module.text, wanted)
    if found is None:
        raise ConvertError("LibCST does not print this file as it was; it is left alone")
    if any(e.anchor.node is not None and id(e.anchor.node) not in found for e, _ in edits):
        raise ConvertError("a place to rewrite was not found; the file is left alone")
    return found


def _at(anchor, places: dict[int, Span]) -> Span:
    if anchor.node is None:
        return anchor.start, anchor.end
    start, end = places.get(id(anchor.node), (0, 0))
    return start + anchor.start, end if anchor.end is None else start + anchor.end


def _line(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def splice(text: str, pieces: list[tuple[int, int, str]]) -> str:
    """`text` with each start:end replaced; the pieces are sorted and must not overlap."""
    parts, last = [], 0
    for start, end, new in pieces:
        if start < last:
            raise ConvertError(f"two rules rewrite the same text at offset {start}")
        parts += [text[last:start], new]
        last = end
    return "".join((*parts, text[last:]))


def _import_piece(module: Module, statement: str, code: str) -> Piece:
    """A new import, after the docstring and `__future__` and before any other statement."""
    tree = module.tree
    at = sum(len(tree.code_for_node(line)) for line in tree.header)
    for index, line in enumerate(tree.body):
        if not isinstance(line, cst.SimpleStatementLine) or not _stays_first(line.body[0], index):
            at += sum(len(tree.code_for_node(above)) for above in line.leading_lines)
            break
        at += len(tree.code_for_node(line))
    return Piece(at, at, statement + tree.default_newline, code)


def _stays_first(node: cst.CSTNode, index: int) -> bool:
    """Whether a statement must stay first: the docstring, and imports from `__future__`."""
    if isinstance(node, cst.Expr):
        return index == 0 and isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString))
    if not isinstance(node, cst.ImportFrom) or not isinstance(node.module, cst.Name):
        return False
    return node.module.value == "__future__"


def check_parses(path: str, before: str, after: str) -> None:
    """Raises ConvertError unless `after` compiles.

    Where this Python is too old for the syntax of `before`, LibCST's parser has to do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(after, path, "exec", dont_inherit=True)
            return
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            problem = error
        try:
            compile(before, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            parse(after)
            return
    raise ConvertError(f"the result would not compile ({problem}); the file is left alone")


def convert_source(text: str, path: str = "module.py") -> Result:
    """Converts one source text that stands alone.

    Raises ConvertError if it does not parse.
    """
    return deep(convert, path, text, Link(Layout(frozenset({path}))))


def mentions(text: str | bytes) -> bool:
    """Whether a file can need conversion: it holds the word that every converted name holds."""
    return (WORD.encode() if isinstance(text, bytes) else WORD) in text
