"""Which file of the tree a module name means, by Python's rules, importing nothing."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

VENDORED = "_cupola_vendor"  # packages that were taken into the repository


class Local(NamedTuple):
    """A module of the tree (by path; a folder is a namespace package), and attributes of it."""

    path: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The Python files of a tree, by their paths relative to its root."""

    files: frozenset[str]
    VENDOR_FOLDER = VENDORED + "/"

    @cached_property
    def vendored(self) -> frozenset[str]:
        """Names of the packages in the folder for those that were taken in."""
        inside = (
            f.removeprefix(self.VENDOR_FOLDER)
            for f in self.files
            if f.startswith(self.VENDOR_FOLDER)
        )
        return frozenset(f.partition("/")[0].removesuffix(".py") for f in inside)

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder that holds Python files, the root as the empty path."""
        return frozenset(
            "" if str(parent) == "." else str(parent)
            for path in self.files
            for parent in PurePosixPath(path).parents
        )

    @cached_property
    def tops(self) -> frozenset[str]:
        """Names that could be the first part of an absolute import of something in this tree."""
        parts = {part for folder in self.folders for part in folder.split("/")}
        return frozenset(parts | {PurePosixPath(path).stem for path in self.files})

    def owns(self, package: str) -> bool:
        """Whether the tree itself is the home of a package (converting torchvision, say)."""
        return any(f"{at}{package}/__init__.py" in self.files for at in ("", "src/", "python/"))

    def module(self, base: str, parts: tuple[str, ...]) -> str | None:
        """The path of module `parts` below the folder `base`."""
        stem = "/".join((*([base] if base else []), *parts))
        for path in (f"{stem}/__init__.py", f"{stem}.py", f"{stem}/__init__.pyi", f"{stem}.pyi"):
            if path.lstrip("/") in self.files:
                return path.lstrip("/")
        return stem if stem in self.folders else None

    def submodule(self, path: str, name: str) -> str | None:
        """The path of a submodule of the package at `path`."""
        if path.endswith(("/__init__.py", "/__init__.pyi")) or path.startswith("__init__."):
            return self.module(str(PurePosixPath(path).parent).replace(".", "", 1), (name,))
        return self.module(path, (name,)) if path in self.folders else None

    def resolve(self, name: str, level: int, importer: str) -> Local | None:
        """What `import name` (level 0) or `from ..name import` means in the file `importer`.

        Absolute names are looked for beside the importer's outermost package, beside the importer
        itself (a script), at the root of the tree and in its `src`; None if the name is not of
        this tree.
        """
        folder = str(PurePosixPath(importer).parent)
        folder = "" if folder == "." else folder
        parts = tuple(name.split(".")) if name else ()
        if level:
            for _ in range(level - 1):
                if not folder:
                    return None
                folder = folder.rpartition("/")[0]
            path = self.module(folder, parts)
            return Local(path) if path is not None else None
        if not parts or parts[0] not in self.tops:
            return None
        above = folder
        while above and f"{above}/__init__.py" in self.files:
            above = above.rpartition("/")[0]
        for base in dict.fromkeys((above, folder, "", "src", "python", VENDORED)):
            path = self.module(base, parts)
            if path is not None:
                return Local(path)
        return None
