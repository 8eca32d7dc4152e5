"""Installation commands in shell text: `pip install torch torchvision --index-url ...`."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cupola_transpiler.convert import Piece
from cupola_transpiler.requirement import (
    CODE,
    CONDA,
    DISTRIBUTIONS,
    INDEX,
    List,
    canonical,
    is_pytorch_family,
    read,
)

_TOKEN = re.compile(
    r"(?P<space>(?:[ \t]|\\\r?\n)+)"
    r"|(?P<comment>\#[^\r\n]*)"
    r"|(?P<end>\r?\n|&&|\|\||[;|&()])"
    r"|(?P<word>(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|\$\{[^}]*\}|\$\([^)]*\)|[^\s\"'\\;|&()])+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_PIP = re.compile(r"(?:.*/)?pip[0-9.]*")
_PYTHON = re.compile(
    r"(?:.*/)?(?:python|py)[0-9.]*|\$\{?PYTHON\}?|\{sys\.executable\}", re.IGNORECASE
)
_CONDA = frozenset({"conda", "mamba", "micromamba"})
_ADDERS = frozenset({"poetry", "uv", "pdm", "pipenv", "rye", "hatch"})
_INDEX_OPTIONS = frozenset({"-f", "-i", "--find-links", "--index-url", "--extra-index-url"})
_TAKES_VALUE = _INDEX_OPTIONS | {
    "-r", "-c", "-e", "-t", "--requirement", "--constraint", "--editable", "--target", "--prefix",
    "--python", "--channel", "--name", "-n", "-p", "--group", "--root", "--timeout", "--retries",
    "--proxy", "--trusted-host", "--cache-dir", "--platform", "--python-version", "--index",
}  # fmt: skip


class Word(NamedTuple):
    """A word of a command, at start:end, with its value after quotes are taken off."""

    start: int
    end: int
    value: str
    quote: str


def commands(text: str, at: int = 0) -> Iterator[list[Word]]:
    """The commands of a shell text, as words with their places (shifted by `at`)."""
    words: list[Word] = []
    for match in _TOKEN.finditer(text):
        if match.lastgroup in ("word", "other"):
            raw = match[0]
            quote = raw[0] if raw[0] in "\"'" and raw[-1] == raw[0] and len(raw) > 1 else ""
            value = raw[1:-1] if quote else re.sub(r"[\"']", "", raw)
            words.append(Word(at + match.start(), at + match.end(), value, quote))
        elif match.lastgroup == "end" and words:
            yield words
            words = []
    if words:
        yield words


def pieces(text: str, at: int = 0) -> list[Piece]:
    """What changes in a shell text that starts at an offset of the file."""
    if "torch" not in text:
        return []
    return [piece for words in commands(text, at) for piece in command(words)]


def command(words: Sequence[Word]) -> list[Piece]:
    """What changes in one command."""
    values = [w.value.lower() for w in words]
    for index in range(len(words)):
        first, rest = values[index], values[index + 1 : index + 4]
        if _PIP.fullmatch(first) and rest[:1] in (["install"], ["download"], ["wheel"]):
            return _pip(words, index + 2)
        if _PYTHON.fullmatch(first) and rest[:3] == ["-m", "pip", "install"]:
            return _pip(words, index + 4)
        if first in _ADDERS and rest[:1] == ["add"]:
            return _pip(words, index + 2)
        if first == "pipenv" and rest[:1] == ["install"]:
            return _pip(words, index + 2)
        if first in _CONDA and rest[:1] in (["install"], ["create"]):
            return _conda(words, index)
    return []


def _arguments(words: Sequence[Word], first: int) -> Iterator[tuple[int, bool]]:
    """Indices of the arguments, and whether each is a package rather than an option's value."""
    index = first
    while index < len(words):
        option = words[index].value
        if option.startswith("-"):
            index += 1 if option not in _TAKES_VALUE else 2
            continue
        yield index, True
        index += 1


def _pip(words: Sequence[Word], first: int) -> list[Piece]:
    found, taken = [], List()
    packages = [index for index, _ in _arguments(words, first)]
    others = [i for i in packages if is_pytorch_family(words[i].value)]
    taken.known |= {canonical(words[i].value) for i in packages} & {"cupola"}
    index_text = " ".join(w.value for w in words if INDEX.search(w.value))
    if not any(read(words[i].value) for i in packages):
        return []
    for i in packages:
        requirement = read(words[i].value)
        if requirement is not None:
            new = taken.take(requirement, index_text)
            if new is None:
                found.append(Piece(words[i - 1].end, words[i].end, "", CODE))
            else:
                new += words[i].value[requirement.end :]
                quote = words[i].quote or ("'" if "[" in new else "")
                found.append(Piece(words[i].start, words[i].end, f"{quote}{new}{quote}", CODE))
    for i in range(first, len(words) if not others else first):
        option, _, value = words[i].value.partition("=")
        if option not in _INDEX_OPTIONS:
            continue
        last = i if value else i + 1
        if last < len(words) and INDEX.search(words[last].value):
            found.append(Piece(words[i - 1].end, words[last].end, "", CODE))
    return found


def _conda(words: Sequence[Word], first: int) -> list[Piece]:
    """conda has no cupola: what it installs of PyTorch is taken out and pip installs cupola."""
    packages, channels = [], []
    index = first + 2
    while index < len(words):
        if words[index].value in ("-c", "--channel"):
            channels.append(index)
            index += 1
        elif words[index].value in _TAKES_VALUE:
            index += 1
        elif not words[index].value.startswith("-"):
            packages.append(index)
        index += 1
    ours = [i for i in packages if conda_name(words[i].value) in CONDA]
    if not ours:
        return []
    extra = conda_extra(words[i].value for i in packages)
    if len(ours) == len(packages) and words[first + 1].value == "install":
        return [Piece(words[first].start, words[-1].end, f"pip install {extra}", CODE)]
    found = [Piece(words[i - 1].end, words[i].end, "", CODE) for i in ours]
    family = any(is_pytorch_family(words[i].value) for i in packages)
    for i in channels if not family else ():
        if i + 1 < len(words) and words[i + 1].value == "pytorch":
            found.append(Piece(words[i - 1].end, words[i + 1].end, "", CODE))
    # Words that were taken out at the end leave nothing behind them to append to.
    last = words[-1].end
    for piece in [p for p in found if p.end == last]:
        found.remove(piece)
        found.append(piece._replace(text=f" && pip install {extra}"))
        return sorted(found)
    return sorted([*found, Piece(last, last, f" && pip install {extra}", CODE)])


def conda_name(spec: str) -> str:
    """The package of a conda specification (`channel::name=1.0=build`)."""
    return canonical(re.split(r"[=<>!~ \[]", spec.rpartition("::")[2].strip(), maxsplit=1)[0])


def conda_extra(specs: Iterator[str]) -> str:
    """cupola's requirement for the build of PyTorch that conda specifications choose."""
    for spec in specs:
        name = conda_name(spec)
        if name in ("pytorch-cuda", "cuda-version"):
            for version in ("12", "13"):
                if re.search(rf"[=<>~ ]{version}\b", spec):
                    return f"'cupola[cuda{version}]'"
    return "cupola"


__all__ = ["DISTRIBUTIONS", "command", "commands", "conda_extra", "conda_name", "pieces"]
