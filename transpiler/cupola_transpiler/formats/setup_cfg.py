"""setup.cfg: the requirement lists of setuptools' declarative configuration."""

import configparser
import re

from cupola_transpiler.formats.base import ConvertError, Format, Piece, Rewrite
from cupola_transpiler.link import Link
from cupola_transpiler.requirement import CODE, List, read

_LISTS = frozenset({"install_requires", "setup_requires", "tests_require"})
_SECTION = re.compile(r"\[(?P<name>[^\]]+)\]")
_OPTION = re.compile(r"(?P<name>[^\s=:#;][^=:]*?)[ \t]*[=:][ \t]*(?P<value>.*)")


class SetupCfg(Format):
    """Values are lists, a requirement a line; configparser says whether the file is readable."""

    code = "setup-cfg"
    names = ("setup.cfg",)

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        try:
            configparser.RawConfigParser(strict=False).read_string(text)
        except configparser.Error as error:
            raise ConvertError(f"does not parse: {error}") from error
        pieces, section, option, at = [], "", "", 0
        taken = List()
        for line in text.splitlines(keepends=True):
            start, at = at, at + len(line)
            body = line.strip()
            if not body or body[0] in "#;":
                continue
            offset = len(line) - len(line.lstrip())
            header = _SECTION.match(line)
            if header is not None:
                section, option = header["name"].strip(), ""
                continue
            match = _OPTION.match(line) if offset == 0 else None
            if match is not None:
                option, taken = match["name"].strip().lower(), List()
                offset, body = match.start("value"), match["value"].strip()
            if not self._is_list(section, option):
                continue
            taken.known |= {"cupola"} if body.startswith("cupola") else set()
            for part in re.finditer(r"[^;]+(?:;[^;]*)?" if match is None else r"[^;]+", body):
                found = read(part[0], start + offset + part.start())
                new = taken.take(found) if found is not None else None
                if found is None:
                    continue
                if new is not None:
                    pieces.append(Piece(found.start, found.end, new, CODE))
                elif match is None:
                    pieces.append(Piece(start, at, "", CODE))
        return Rewrite(tuple(pieces))

    @staticmethod
    def _is_list(section: str, option: str) -> bool:
        return (section == "options" and option in _LISTS) or section == "options.extras_require"
