"""Versions: cupola's own, and the level of PyTorch that it follows."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "rocm", "xpu"]

__version__ = "0.1.0"


def _parts(text: Any) -> tuple[int, ...]:
    if isinstance(text, (tuple, list)):
        text = ".".join(map(str, text))
    found = re.match(r"\d+(?:\.\d+)*", str(text))
    numbers = [int(n) for n in found.group().split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


class TorchVersion(str):
    """A version that compares as numbers, with strings and tuples
    (torch.torch_version.TorchVersion).
    """

    def __lt__(self, other: Any) -> bool:
        return _parts(self) < _parts(other)

    def __le__(self, other: Any) -> bool:
        return _parts(self) <= _parts(other)

    def __gt__(self, other: Any) -> bool:
        return _parts(self) > _parts(other)

    def __ge__(self, other: Any) -> bool:
        return _parts(self) >= _parts(other)

    def __eq__(self, other: object) -> bool:
        return _parts(self) == _parts(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


torch_version = TorchVersion("2.13.0")
torch = torch_version
cuda: str | None = None
hip = debug = git_version = None
rocm = xpu = None


# torch.torch_version is a module there and the version itself here: it has the name of the class.
TorchVersion.TorchVersion = TorchVersion  # type: ignore[attr-defined]
