"""Names that cross files: which of a module's names mean a converted package.

`from helpers import *` gives a script the helpers' `torch`; when that becomes `cupola` there, the
script's uses must follow. Each file says what it exports (Facts); Linker follows the imports
between them; the Link that it makes is what the conversion of one file gets to see.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cupola_transpiler.layout import Layout, Local
from cupola_transpiler.table import Table

Target = str | Local | None


class Export(NamedTuple):
    """A name of a module: the dotted name it stands for, and its own name after conversion."""

    target: str
    name: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What other files may need to know of one file.

    names: what every module-level name stands for (None: something of its own).
    renamed: names that conversion renames provided that they stand for the package itself.
    public: the names in `__all__`, where they can be read from the source.
    stars: modules of the tree whose public names it takes in.
    hands: functions of other modules that are given the name of a converted module in a string.
    """

    names: dict[str, Target] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    public: frozenset[str] | None = None
    stars: tuple[str, ...] = ()
    hands: frozenset[Local] = frozenset()

    def shows(self, name: str) -> bool:
        """Whether `from this import *` takes `name` along."""
        return name in self.public if self.public is not None else not name.startswith("_")


class Followed(NamedTuple):
    """Where a local reference leads: a target, and the new names of parts of the way, by index."""

    target: Target
    renamed: dict[int, str]


@dataclass(frozen=True)
class Link:
    """Names bound to converted packages, by module path: what a file sees of the others.

    modules: names that a module binds to other modules of the tree, with their paths.
    handed: modules with a function that other files give the name of a converted module.
    """

    layout: Layout
    exports: dict[str, dict[str, Export]] = field(default_factory=dict)
    modules: dict[str, dict[str, str]] = field(default_factory=dict)
    handed: frozenset[str] = frozenset()

    def follow(self, local: Local) -> Followed:
        """Follows attributes from a module of the tree; target None where that leads nowhere."""
        path, renamed = local.path, {}
        for index, name in enumerate(local.attributes):
            export = self.exports.get(path, {}).get(name)
            if export is not None:
                if export.name != name:
                    renamed[index] = export.name
                rest = local.attributes[index + 1 :]
                return Followed(".".join((export.target, *rest)), renamed)
            inside = self.modules.get(path, {}).get(name) or self.layout.submodule(path, name)
            if inside is None:
                return Followed(None, renamed)
            path = inside
        return Followed(Local(path), renamed)


class Linker:
    """Follows names through the facts of all files of a tree."""

    def __init__(self, layout: Layout, table: Table, facts: Callable[[str], Facts]):
        self.layout, self.table, self.facts = layout, table, facts
        self.known: dict[tuple[str, str], Export | Local | None] = {}

    def export(self, path: str, name: str) -> Export | Local | None:
        """What a name of a module stands for: a converted package's name, a module, or None."""
        key = (path, name)
        if key not in self.known:
            self.known[key] = None  # a circle of imports adds nothing
            self.known[key] = self._export(path, name)
        return self.known[key]

    def _export(self, path: str, name: str) -> Export | Local | None:
        facts = self.facts(path)
        if name in facts.names:
            target = self.follow(facts.names[name])
            if isinstance(target, str):
                new = facts.renamed.get(name, name) if target in self.table.roots else name
                return Export(target, new)
            return target
        for star in reversed(facts.stars):
            shown = self.facts(star)
            if shown.shows(name) or name in self._converted(shown):
                found = self.export(star, name)
                if found is not None:
                    return found
        if name in self._converted(facts):
            return Export(name, self.table.roots[name])
        inside = self.layout.submodule(path, name)
        return Local(inside) if inside is not None else None

    def _converted(self, facts: Facts) -> list[str]:
        """Names that an earlier conversion renamed in this module: it has `cupola`, no `torch`."""
        roots = self.table.roots.items()
        return [o for o, n in roots if facts.names.get(n) == n and o not in facts.names]

    def follow(self, target: Target) -> Target:
        """The converted package's name, or the module of the tree, that a target comes to."""
        if target is None:
            return None
        if isinstance(target, str):
            return target if self.table.root(target) else None
        here: Target = Local(target.path)
        for index, name in enumerate(target.attributes):
            assert isinstance(here, Local)
            found = self.export(here.path, name)
            if isinstance(found, Export):
                return ".".join((found.target, *target.attributes[index + 1 :]))
            if found is None:
                return None
            here = found
        return here

    def home(self, local: Local, steps: int = 20) -> str:
        """The module that a function of the tree is written in, imports followed."""
        path = local.path
        for index, name in enumerate(local.attributes):
            facts, rest = self.facts(path), local.attributes[index + 1 :]
            target = facts.names.get(name)
            if target is None and name not in facts.names:
                shown = (s for s in reversed(facts.stars) if self.facts(s).shows(name))
                star = next((s for s in shown if name in self.facts(s).names), None)
                target = Local(star, (name,)) if star is not None else None
            if isinstance(target, Local) and steps:
                return self.home(Local(target.path, (*target.attributes, *rest)), steps - 1)
            inside = self.layout.submodule(path, name)
            if inside is None:
                break
            path = inside
        return path

    def link(self, paths: Iterable[str]) -> Link:
        """The names of these modules that stand for converted packages, star imports included."""
        exports: dict[str, dict[str, Export]] = {}
        modules: dict[str, dict[str, str]] = {}
        waiting, seen = list(paths), set(paths)
        while waiting:
            path = waiting.pop()
            found, inner = {}, {}
            for name in self._visible(path, set()):
                export = self.export(path, name)
                if isinstance(export, Export):
                    found[name] = export
                elif export is not None and not export.attributes:
                    inner[name] = export.path
            if found:
                exports[path] = found
            if inner:
                modules[path] = inner
                waiting += {p for p in inner.values() if p not in seen}
                seen.update(inner.values())
        return Link(self.layout, exports, modules)

    def _visible(self, path: str, seen: set[str]) -> set[str]:
        if path in seen:
            return set()
        seen.add(path)
        facts = self.facts(path)
        names = {name for name, target in facts.names.items() if target is not None}
        names.update(self._converted(facts))
        for star in facts.stars:
            shown = self.facts(star)
            passed = self._converted(shown)
            names |= {n for n in self._visible(star, seen) if shown.shows(n) or n in passed}
        return names
