"""A ``cuda_src`` taken apart: device code on one side, host lines on the other, and the kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cupola.code.text import SourceError, blanked, closing, line_of, split_arguments

_DEVICE = {
    "__global__", "__device__", "__constant__", "__host__", "__shared__", "template", "struct",
    "class", "union", "enum", "typedef", "using", "namespace", "inline", "__forceinline__",
    "__inline__", "extern", "static_assert",
}  # fmt: skip
_WITH_TAIL = {"struct", "class", "union", "enum", "typedef"}
_ATTRIBUTES = {
    "__launch_bounds__", "__cluster_dims__", "__maxnreg__", "__attribute__", "alignas",
    "__block_size__",
}  # fmt: skip
_WORD = re.compile(r"\s*(\w+)")
_FUNCTION = re.compile(r"[\w:<>,*&\s]+?\b\w+\s*\([^;{}]*\)\s*\{")
_CONSTANT = re.compile(r"\s*(?:static\s+)?(?:const|constexpr)\b[^;]*;")


def split(raw: str) -> tuple[str, str]:
    """(device text, host text), each with the other side blanked, line for line."""
    code = blanked(raw)
    device, host = list(_empty(raw)), list(_empty(raw))
    at = 0
    while True:
        while at < len(code) and (code[at].isspace() or code[at] == ";"):
            at += 1
        if at >= len(code):
            return "".join(device), "".join(host)
        end, kind = _item(code, at)
        if "d" in kind:
            device[at:end] = raw[at:end]
        if "h" in kind:
            host[at:end] = raw[at:end]
        at = end


def _empty(raw: str) -> str:
    return re.sub(r"[^\n]", " ", raw)


def _item(code: str, at: int) -> tuple[int, str]:
    """Where the item that begins at ``at`` ends, and which sides it is for."""
    if code[at] == "#":
        end = at
        while True:
            line = code.find("\n", end)
            if line < 0:
                return len(code), "d"
            if code[line - 1] != "\\":
                return line, "d"
            end = line + 1
    if code[at] == "@":
        m = re.compile(r"@\w+\s*\(").match(code, at)
        if m is None:
            return at + 1, "d"
        return closing(code, m.end() - 1, line_of(code, at)) + 1, "d"
    m = _WORD.match(code, at)
    word = m.group(1) if m else ""
    if word in ("static", "const", "constexpr"):
        rest = re.compile(r"[^;{(=]*").match(code, at)
        head = rest.group() if rest else ""
        if any(w in head.split() for w in _DEVICE) or _FUNCTION.match(code, at):
            return _device_end(code, at, word), "d"
        found = _CONSTANT.match(code, at)
        if found is not None:
            # A constant of literals and other constants is visible on both sides.
            literal = word == "constexpr" or "constexpr" in head or not _names_arrays(found.group())
            return found.end(), "dh" if literal else "h"
    if word in _DEVICE:
        return _device_end(code, at, word), "d"
    if word not in ("if", "for", "while", "do", "return") and _FUNCTION.match(code, at):
        return _device_end(code, at, word), "d"
    return _statement(code, at), "h"


def _names_arrays(text: str) -> bool:
    """Whether a constant's value is known only when the operator is called."""
    value = text.partition("=")[2]
    return bool(re.search(r"[A-Za-z_]\w*", re.sub(r"\b(?:\d[\w.]*|sizeof|int|float)\b", "", value)))


def _device_end(code: str, at: int, word: str) -> int:
    line = line_of(code, at)
    k = at
    while k < len(code):
        c = code[k]
        if c in "([":
            k = closing(code, k, line)
        elif c == ";":
            return k + 1
        elif c == "{":
            k = closing(code, k, line)
            if word not in _WITH_TAIL:
                # An initializer ends with a semicolon, a function does not.
                tail = re.compile(r"\s*;").match(code, k + 1)
                return tail.end() if tail else k + 1
        k += 1
    raise SourceError("this declaration has no end: a ';' or a '}' is missing", line)


def _statement(code: str, at: int) -> int:
    """Where one host statement ends."""
    line = line_of(code, at)
    while at < len(code) and code[at].isspace():
        at += 1
    if at >= len(code):
        raise SourceError("a statement is missing", line)
    if code[at] == "{":
        return closing(code, at, line) + 1
    m = _WORD.match(code, at)
    word = m.group(1) if m else ""
    if word in ("if", "for", "while") and m is not None:
        paren = code.find("(", m.end())
        end = _statement(code, closing(code, paren, line) + 1)
        tail = re.compile(r"\s*else\b").match(code, end)
        return _statement(code, tail.end()) if word == "if" and tail else end
    if word == "do" and m is not None:
        return code.find(";", _statement(code, m.end())) + 1
    k = at
    while k < len(code):
        if code[k] in "([{":
            k = closing(code, k, line)
        elif code[k] == ";":
            return k + 1
        k += 1
    raise SourceError("a ';' is missing after this statement", line)


@dataclass(frozen=True)
class Kernel:
    """A ``__global__`` function.

    Attributes:
        name, line: as written.
        parameters: (type, name) of each parameter; a pointer's type ends in ``*``.
        template: names of its template parameters.
        constant: whether each parameter is a pointer to constants.
    """

    name: str
    line: int
    parameters: tuple[tuple[str, str], ...]
    template: tuple[str, ...]
    constant: tuple[bool, ...] = ()


def rewrite(text: str, hidden: str, before: dict[str, str]) -> tuple[str, list[Kernel]]:
    """Gives every kernel a last parameter, and declarations at the start of its body.

    Args:
        text: device code.
        hidden: the parameter.
        before: the declarations, by the name that each declares; a kernel's own parameters win.

    Kernels that are no templates get C names, so that they are found in the compiled image.
    """
    code = blanked(text)
    edits: list[tuple[int, int, str]] = []
    kernels = []
    for m in re.finditer(r"\b__global__\b", code):
        line = line_of(code, m.start())
        start = max(code.rfind(c, 0, m.start()) for c in ";}") + 1
        head = re.sub(
            r"^\s*#.*$", lambda x: " " * len(x.group()), code[start : m.start()], flags=re.M
        )
        # An attribute or template list stands between the last item and the kernel.
        template = re.search(r"template\s*<(.*)>", head, re.DOTALL)
        k = m.end()
        while True:
            word = re.compile(r"[\w:\s*&<>,]*?(\w+)\s*\(").match(code, k)
            if word is None:
                raise SourceError("a kernel's name and parameters are expected here", line)
            close = closing(code, word.end() - 1, line)
            if word.group(1) not in _ATTRIBUTES:
                break
            k = close + 1
        name, opening = word.group(1), word.end() - 1
        brace = close + 1
        while brace < len(code) and code[brace].isspace():
            brace += 1
        listed = code[opening + 1 : close].strip().strip(",").strip()
        parameters = tuple(_parameter(p, line) for p in split_arguments(listed, listed))
        if code[brace : brace + 1] != "{":
            raise SourceError(f"the kernel {name} has no body here", line)
        if template is None:
            edits.append((m.start(), m.start(), 'extern "C" '))
        for lo, hi in ((start, m.start()), (m.end(), opening)):
            for w in re.finditer(r"\b(static|inline)\b", code[lo:hi]):
                edits.append((lo + w.start(), lo + w.end(), ""))
        inner = text[opening + 1 : close]
        kept = inner.strip().strip(",")
        breaks = "\n" * (inner.count("\n") - kept.count("\n"))
        separator = ", " if kept.strip() else ""
        edits.append((opening + 1, close, f"{kept}{separator}{hidden}{breaks}"))
        own = {p for _, p in parameters}
        lines = " ".join(d for n, d in before.items() if n not in own)
        edits.append((brace + 1, brace + 1, f" {lines} {{"))
        edits.append((closing(code, brace, line), closing(code, brace, line), "}"))
        names = ()
        if template is not None:
            names = tuple(
                re.sub(r"=.*", "", p).split()[-1]
                for p in split_arguments(template.group(1), template.group(1))
            )
        constant = tuple(
            "const" in p.partition("*")[0].split() for p in split_arguments(listed, listed)
        )
        kernels.append(Kernel(name, line, parameters, names, constant))
    out = text
    for start, end, new in sorted(edits, reverse=True):
        out = out[:start] + new + out[end:]
    return out, kernels


def _parameter(text: str, line: int) -> tuple[str, str]:
    text = text.partition("=")[0]
    if "&" in text:
        raise SourceError(f"a kernel takes no references: {text.strip()}", line)
    words = re.findall(r"\w+|\*|\[", text)
    words = [w for w in words if w not in ("const", "volatile", "__restrict__", "__restrict")]
    if "*" in words or "[" in words:
        names = [w for w in words if w not in "*["]
        return f"{' '.join(names[:-1])} *", names[-1]
    if len(words) < 2:
        return " ".join(words), ""
    return " ".join(words[:-1]), words[-1]
