"""The house rules that no linter knows: lengths, places, and what may be named where."""

import ast
import functools
import re
import tomllib

import harness

SOURCES = ("runtime", "transpiler", "compat")
ROOMS = (*SOURCES, "tests", "scripts", "benchmarks", "fixtures/models")
# Libraries on top of the public names, as users would write them.
ON_THE_FACE = {"array_api", "distributions", "interop", "testing"}
LONGEST_FILE = 600
LONGEST_LINE = 100
# Written in parts, so that this file does not find itself.
FORBIDDEN = {
    "a path of one machine": re.compile(r"[\"'(\s]/(?:home|root|work|Users)/\w"),
    "unfinished work": re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b"),
}


def place(path, line=None):
    name = str(path.relative_to(harness.ROOT))
    return f"{name}:{line}" if line else name


@functools.cache
def text_of(path):
    return path.read_text(encoding="utf-8")


@functools.cache
def tree_of(path):
    return ast.parse(text_of(path))


def imported(path):
    """Yields (line, module name) for each absolute import of a file, from anywhere in it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def report(found):
    """Fails with one line for each place found."""
    found = list(found)
    assert not found, f"{len(found)} places:\n" + "\n".join(found)


def test_files_are_short():
    counts = {path: len(text_of(path).splitlines()) for path in harness.python_files(*ROOMS)}
    report(f"{place(p)}: {n} lines" for p, n in counts.items() if n > LONGEST_FILE)


def test_lines_are_short():
    report(
        f"{place(path, number)}: {len(line)} columns"
        for path in harness.python_files(*ROOMS)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if len(line) > LONGEST_LINE
    )


def test_forbidden_text():
    report(
        f"{place(path, text_of(path).count(chr(10), 0, match.start() + 1) + 1)}: {what}"
        for path in harness.python_files(*ROOMS)
        for what, pattern in FORBIDDEN.items()
        for match in pattern.finditer(text_of(path))
    )


def test_modules_say_what_they_are():
    report(
        place(path)
        for path in harness.python_files(*SOURCES, "scripts")
        if text_of(path).strip() and not ast.get_docstring(tree_of(path))
    )


def test_torch_is_imported_by_parity_only():
    report(
        place(path, line)
        for path in harness.python_files(*SOURCES)
        if "parity" not in path.parts
        for line, name in imported(path)
        if name.partition(".")[0] in ("torch", "torchvision")
    )


def test_only_the_cuda_backend_imports_cupy():
    report(
        place(path, line)
        for path in harness.python_files(*SOURCES)
        if "/backends/cuda/" not in path.as_posix()
        for line, name in imported(path)
        if name.partition(".")[0] in ("cupy", "cudnn")
    )


def test_the_runtime_does_not_import_its_own_face():
    """`import cupola` inside cupola would run upward, save in modules that stand on the face."""
    folder = harness.ROOT / "runtime/cupola"
    modules = {p.stem for p in folder.glob("*.py")} | {p.name for p in folder.iterdir()}
    found = []
    for path in harness.python_files("runtime"):
        if set(path.relative_to(folder).with_suffix("").parts) & ON_THE_FACE:
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                upward = any(a.name == "cupola" and a.asname is None for a in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "cupola" and not node.level:
                upward = any(a.name not in modules for a in node.names)
            else:
                continue
            if upward:
                found.append(place(path, node.lineno))
    report(found)


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in harness.python_files(*SOURCES)}
    report(place(folder) for folder in folders if not (folder / "__init__.py").exists())


def _project():
    return tomllib.loads((harness.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _names(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", r).group() for r in requirements}


def test_dependencies_are_explained():
    """Every dependency, optional ones included, has a row in the table of docs/design.md."""
    project, page = _project(), (harness.ROOT / "docs/design.md").read_text(encoding="utf-8")
    wanted = _names(project["dependencies"])
    for extra in ("cuda12", "cuda13", "mpi", "parity"):
        wanted |= _names(project["optional-dependencies"][extra])
    report(name for name in sorted(wanted) if f"`{name}" not in page)


def test_torch_is_required_by_parity_and_test_only():
    project = _project()
    assert "torch" not in _names(project["dependencies"])
    with_torch = {e for e, r in project["optional-dependencies"].items() if "torch" in _names(r)}
    assert with_torch == {"parity", "test"}
