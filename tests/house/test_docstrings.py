"""Whatever is public says in one line what it does."""

import importlib
import inspect

import pytest

MODULES = (
    "cupola",
    "cupola.nn",
    "cupola.nn.functional",
    "cupola.nn.init",
    "cupola.optim",
    "cupola.utils.data",
    "cupola.vision",
    "cupola_compat",
    "cupola_compat.parity",
    "cupola_compat.torchvision.transforms",
    "cupola_compat.torchvision.transforms.functional",
)


def public(module):
    """Yields the public functions and classes that a module of ours offers, with their names."""
    names = getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]
    for name in names:
        value = getattr(module, name)
        ours = getattr(value, "__module__", "") or ""
        if (inspect.isfunction(value) or inspect.isclass(value)) and ours.startswith("cupola"):
            yield name, value


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(name)
    missing = sorted(n for n, v in public(module) if not (v.__doc__ or "").strip())
    assert not missing, f"no docstring: {', '.join(missing)}"
