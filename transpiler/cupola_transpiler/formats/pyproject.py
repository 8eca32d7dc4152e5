"""pyproject.toml: dependencies by PEP 621, 518 and 735, and those of Poetry, PDM, Hatch and uv."""

from collections.abc import Iterator
from typing import Any

from cupola_transpiler.formats.base import ConvertError, Format, Piece, Rewrite, remark
from cupola_transpiler.link import Link
from cupola_transpiler.requirement import CODE, DISTRIBUTIONS, List, canonical, read

# Where lists of requirements are: `*` stands for every key.
_LISTS = (
    "project.dependencies", "project.optional-dependencies.*", "build-system.requires",
    "dependency-groups.*", "tool.pdm.dev-dependencies.*", "tool.uv.dev-dependencies",
    "tool.uv.constraint-dependencies", "tool.uv.override-dependencies",
    "tool.hatch.envs.*.dependencies", "tool.hatch.envs.*.extra-dependencies",
    "tool.setuptools.dynamic.dependencies",
)  # fmt: skip
# Where keys are names of distributions.
_TABLES = (
    "tool.poetry.dependencies", "tool.poetry.dev-dependencies", "tool.poetry.group.*.dependencies",
)  # fmt: skip
# Where keys say from which index a distribution comes, which no longer applies.
_SOURCES = ("tool.uv.sources",)
# Settings of other tools that may name the module.
_MODULES = ("tool.mypy.overrides", "tool.isort.known_third_party", "tool.ruff.lint.isort.*")


class PyProject(Format):
    """Dependencies of a project, edited with tomlkit, which keeps comments and layout."""

    code = "pyproject"
    names = ("pyproject.toml", "pixi.toml")

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        new, remarks = self._edit(text)
        if new == text:
            return Rewrite((), tuple(remarks))
        return Rewrite(tuple(_differences(text, new)), tuple(remarks))

    def _edit(self, text: str) -> tuple[str, list]:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        try:
            document = tomlkit.parse(text)
        except TOMLKitError as error:
            raise ConvertError(f"does not parse: {error}") from error
        for where in _LISTS:
            for value in _at(document, where.split(".")):
                if isinstance(value, list):
                    _edit_list(value)
        for where in _TABLES:
            for value in _at(document, where.split(".")):
                _edit_table(value)
        for where in _SOURCES:
            for value in _at(document, where.split(".")):
                for key in [k for k in value if canonical(k) in DISTRIBUTIONS]:
                    value.remove(key)
        remarks = [
            remark(0, "note", str(name), f"is named in {where}; it is kept")
            for where in _MODULES
            for value in _at(document, where.split("."))
            for name in _strings(value)
            if name.partition(".")[0] in DISTRIBUTIONS
        ]
        return tomlkit.dumps(document), remarks


def _at(value: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield value
    elif isinstance(value, dict):
        for key in list(value) if keys[0] == "*" else [keys[0]]:
            if key in value:
                yield from _at(value[key], keys[1:])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _edit_list(items: list) -> None:
    taken = List(str(item) for item in items if isinstance(item, str))
    gone = []
    for index, item in enumerate(items):
        text = str(item) if isinstance(item, str) else ""
        found = read(text)
        if found is None:
            continue
        new = taken.take(found)
        if new is None:
            gone.append(index)
        else:
            items[index] = new + text[found.end :]
    for index in reversed(gone):
        items.pop(index)


def _edit_table(table: Any) -> None:
    from tomlkit.items import item

    taken = List(table)
    for key in [k for k in table if canonical(k) in DISTRIBUTIONS]:
        found = read(key)
        new = taken.take(found) if found is not None else None
        if new is None:
            table.remove(key)
            continue
        value, old = item("*"), table[key]
        value.trivia.comment, value.trivia.comment_ws = old.trivia.comment, old.trivia.comment_ws
        value.trivia.trail = old.trivia.trail
        # tomlkit has no public way to rename a key where it stands.
        (table.value if hasattr(table, "value") else table)._replace(key, new, value)


def _differences(before: str, after: str) -> Iterator[Piece]:
    """What changed from one text to the other, a run of lines at a time."""
    import difflib

    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind != "equal":
            yield Piece(starts[i], starts[j], "".join(new[k:m]), CODE)
