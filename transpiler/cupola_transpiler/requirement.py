"""What a dependency on PyTorch becomes, in whatever file it is written (PEP 508)."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cupola_transpiler.convert import Piece

CODE = "requirement"
# Distributions that are converted; names are compared as packaging does (PEP 503).
DISTRIBUTIONS = frozenset({"torch", "torchvision", "functorch"})
# Other names of PyTorch in conda's channels, and packages that only choose a build of it.
CONDA = DISTRIBUTIONS | {
    "pytorch", "pytorch-cpu", "pytorch-gpu", "pytorch-cuda", "pytorch-mutex", "cpuonly",
    "torchvision-cpu",
}  # fmt: skip
# Indexes that hold builds of PyTorch and nothing else of use.
INDEX = re.compile(r"https?://(?:download|data)\.pytorch\.org/\S*", re.IGNORECASE)
_FAMILY = frozenset(
    "torchaudio torchtext torchdata torchao torchrec torchcodec torchtune torchserve triton"
    " xformers pytorch-triton fbgemm-gpu torch-tensorrt executorch".split()
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME.pattern})[ \t]*(?:\[[^\]]*\])?[ \t]*"
    r"(?P<version>@[ \t]*[^\s;]+|\(?(?:[ \t]*[<>=!~]+[ \t]*[^;#\s,]+[ \t]*,?)*[ \t]*\)?)?"
    r"(?P<rest>[ \t]*;.*)?",
    re.DOTALL,
)


class Requirement(NamedTuple):
    """A requirement's characters start:end in a text, without its marker and comment."""

    name: str
    start: int
    end: int
    version: str


def canonical(name: str) -> str:
    """The normalised name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(text: str, at: int = 0, names: Iterable[str] = DISTRIBUTIONS) -> Requirement | None:
    """The requirement that a string is, if it is one on PyTorch.

    >>> read("torch >= 1.8 ; python_version < '3.9'")
    Requirement(name='torch', start=0, end=12, version='>= 1.8')
    >>> read("torchmetrics") is None
    True
    """
    lead = len(text) - len(text.lstrip())
    match = _REQUIREMENT.fullmatch(text.strip())
    if match is None or canonical(match["name"]) not in names:
        return None
    version = (match["version"] or "").strip()
    end = match.end("version") if version else match.end("name")
    end = lead + len(match.string[:end].rstrip())
    extras = match.string.find("]", match.end("name"), match.start("rest") if match["rest"] else -1)
    if not version and extras >= 0:
        end = lead + extras + 1
    return Requirement(canonical(match["name"]), at + lead, at + end, version)


def replacement(requirement: Requirement, more: str = "") -> str:
    """What a requirement on PyTorch becomes; a build for CUDA asks for cupola's CUDA libraries.

    more: other text that may say which build is meant, such as an index.
    """
    for version in ("12", "13"):
        if f"cu{version}" in requirement.version + more:
            return f"cupola[cuda{version}]"
    return "cupola"


class List:
    """Requirements that stand together: one of those on PyTorch becomes cupola, others go."""

    def __init__(self, known: Iterable[str] = ()):
        self.known = {canonical(name) for name in known}

    def take(self, requirement: Requirement, more: str = "") -> str | None:
        """The replacement of the next requirement; None if cupola is in the list already."""
        if "cupola" in self.known:
            return None
        self.known.add("cupola")
        return replacement(requirement, more)


def pieces(
    strings: Iterable[tuple[int, str]], known: Iterable[str] = ()
) -> Iterator[tuple[int, Piece | None]]:
    """For each string at its offset that is a requirement on PyTorch: its index and what replaces
    it, or None if it goes.
    """
    taken = List(known)
    for index, (at, text) in enumerate(strings):
        found = read(text, at)
        if found is not None:
            new = taken.take(found)
            yield index, None if new is None else Piece(found.start, found.end, new, CODE)


def is_pytorch_family(text: str) -> bool:
    """Whether a requirement is on a package that PyTorch's own index holds and that stays.

    >>> is_pytorch_family("torchaudio==2.0"), is_pytorch_family("torch==2.0")
    (True, False)
    """
    match = _NAME.match(text.strip())
    return match is not None and canonical(match[0]) in _FAMILY
