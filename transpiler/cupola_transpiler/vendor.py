"""Takes an installed package that imports torch into the repository, with its licence."""

import importlib.metadata
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cupola_transpiler.discover import discover
from cupola_transpiler.layout import VENDORED
from cupola_transpiler.plan import Plan, plan

_LICENCE = re.compile(r"(?:licen[cs]e|copying|notice|authors)", re.IGNORECASE)
_COMPILED = (".so", ".pyd", ".dylib", ".dll")
_LEFT_OUT = (".pyc", ".pyo")


class VendorError(Exception):
    """A package that cannot be taken in; the message says why."""


@dataclass
class Vendored:
    """A package as it will lie in the repository: path -> bytes, and its conversion."""

    name: str
    version: str
    plan: Plan
    files: dict[str, bytes] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)


def vendor(name: str, processes: int | None = None) -> Vendored:
    """Reads and converts the installed distribution `name`.

    Raises VendorError if it is not installed, has compiled parts, or carries no licence.
    """
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise VendorError(
            f"{name} is not installed here; `pip install --no-deps {name}` first"
        ) from None
    sources = {p: f for f in distribution.files or () if (p := PurePosixPath(f)).parts[0] != ".."}
    code = {p: f for p, f in sources.items() if not _is_metadata(p) and p.suffix not in _LEFT_OUT}
    compiled = sorted(str(p) for p in code if p.name.endswith(_COMPILED))
    if compiled:
        raise VendorError(
            f"{name} has compiled parts ({compiled[0]}), which cannot be converted; convert its"
            " source repository instead"
        )
    licences = {p: f for p, f in sources.items() if _is_metadata(p) and _LICENCE.match(p.name)}
    terms = _terms(distribution)
    if not licences and not terms:
        raise VendorError(f"{name} carries no licence, so it may not be copied")
    with tempfile.TemporaryDirectory() as folder:
        for path, file in code.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)
        made = plan(discover(Path(folder)), processes=processes)
        version = distribution.version
        found = Vendored(name, version, made)
        for path in code:
            planned = made.files.get(str(path))
            converted = planned is not None and planned.status == "changed"
            data = planned.after if converted else Path(folder, path).read_bytes()
            found.files[f"{VENDORED}/{path}"] = data
    found.packages = sorted({p.parts[0].removesuffix(".py") for p in code})
    home = f"{VENDORED}/{name}-{version}.licence"
    for path, file in licences.items():
        found.files[f"{home}/{path.name}"] = Path(file.locate()).read_bytes()
    if not licences:
        found.files[f"{home}/LICENCE"] = f"{name} {version}: {terms}\n".encode()
    found.needs = [
        r for r in distribution.requires or () if "extra ==" not in r and "torch" not in r
    ]
    return found


def _is_metadata(path: PurePosixPath) -> bool:
    return path.parts[0].endswith((".dist-info", ".egg-info"))


def _terms(distribution: importlib.metadata.Distribution) -> str:
    """What the metadata say of the licence, where no file does."""
    data = distribution.metadata
    named = data.get("License-Expression") or data.get("License") or ""
    classified = [c for c in data.get_all("Classifier") or () if c.startswith("License ::")]
    return named.strip() or "; ".join(classified)
