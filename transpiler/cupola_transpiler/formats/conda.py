"""environment.yml: conda's list of packages, and pip's list inside it."""

from collections.abc import Iterator
from typing import Any

from cupola_transpiler.formats.base import ConvertError, Format, Piece, Rewrite
from cupola_transpiler.formats.shell import conda_extra, conda_name
from cupola_transpiler.link import Link
from cupola_transpiler.requirement import CODE, CONDA, is_pytorch_family, pieces


class CondaEnvironment(Format):
    """What conda installs of PyTorch is taken out, and pip's list gets cupola.

    PyYAML says where each item is; only the characters of those items are replaced.
    """

    code = "conda"
    names = ("environment*.yml", "environment*.yaml", "conda*.yml", "conda*.yaml", "env.yml")

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        import yaml

        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise ConvertError(f"does not parse: {str(error).splitlines()[0]}") from error
        items = _sequence(_value(root, "dependencies"))
        pip = next((n for n in (_value(item, "pip") for item in items) if n is not None), None)
        in_pip = _sequence(pip)
        ours = [n for n in items if _is_text(n) and conda_name(n.value) in CONDA]
        names = [n.value for n in (*items, *in_pip) if _is_text(n)]
        extra = conda_extra(n for n in names).strip("'")
        found = []
        known = ["cupola"] if "cupola" in names or (ours and in_pip) else []
        strings = [(n.start_mark.index + _quote(n, text), n.value) for n in in_pip if _is_text(n)]
        texts = [n for n in in_pip if _is_text(n)]
        replaced = list(pieces(strings, known))
        added = "cupola" in names
        for index, piece in replaced:
            if piece is not None:
                found.append(piece)
                added = True
            elif not added:
                node = texts[index]
                found.append(Piece(node.start_mark.index, node.end_mark.index, extra, CODE))
                added = True
            else:
                found.append(_without(texts[index], text))
        for node in ours:
            if added:
                found.append(_without(node, text))
            elif in_pip:
                found.append(_without(node, text))
                first = in_pip[0].start_mark.index
                dash = text.rindex("-", 0, first) if not pip.flow_style else first
                start = "" if pip.flow_style else _indent(text, dash)
                item = f"{extra}, " if pip.flow_style else f"- {extra}\n{start}"
                found.append(Piece(dash, dash, item, CODE))
                added = True
            else:
                has_pip = any(conda_name(n) == "pip" for n in names)
                found.append(_pip_list(node, text, extra, has_pip))
                added = True
        if ours and not any(map(is_pytorch_family, names)):
            for node in _sequence(_value(root, "channels")):
                if _is_text(node) and node.value == "pytorch":
                    found.append(_without(node, text))
        return Rewrite(tuple(sorted(found)))


def _value(node: Any, key: str) -> Any:
    if getattr(node, "id", "") == "mapping":
        return next((v for k, v in node.value if k.value == key), None)
    return None


def _sequence(node: Any) -> list[Any]:
    return list(node.value) if getattr(node, "id", "") == "sequence" else []


def _is_text(node: Any) -> bool:
    return node.id == "scalar"


def _quote(node: Any, text: str) -> int:
    return 1 if text[node.start_mark.index] in "\"'" else 0


def _line(text: str, at: int) -> Iterator[int]:
    yield text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    yield len(text) if end < 0 else end + 1


def _indent(text: str, at: int) -> str:
    """The white space before the character at `at`, if that is all there is on its line."""
    start = text.rfind("\n", 0, at) + 1
    return text[start:at] if not text[start:at].strip() else " " * (at - start)


def _without(node: Any, text: str) -> Piece:
    """Takes an item out: its line in a block, itself and a comma between brackets."""
    start, end = node.start_mark.index, node.end_mark.index
    first, last = _line(text, start)
    if text[first:start].strip() == "-":
        return Piece(first, last, "", CODE)
    rest = text[end:last]
    if rest.lstrip().startswith(","):
        end += rest.index(",") + 1
        while end < len(text) and text[end] == " ":
            end += 1
    else:
        comma = text.rfind(",", 0, start)
        start = comma if comma >= 0 and not text[comma + 1 : start].strip() else start
    return Piece(start, end, "", CODE)


def _pip_list(node: Any, text: str, extra: str, has_pip: bool) -> Piece:
    """Puts pip, with its list, in the place of an item."""
    start, end = node.start_mark.index, node.end_mark.index
    first, _ = _line(text, start)
    if text[first:start].strip() != "-":
        new = f"{{pip: ['{extra}']}}" if "[" in extra else f"{{pip: [{extra}]}}"
        return Piece(start, end, new if has_pip else f"pip, {new}", CODE)
    indent = text[first : text.index("-", first)]
    head = "" if has_pip else f"pip\n{indent}- "
    return Piece(start, end, f"{head}pip:\n{indent}    - {extra}", CODE)
