"""dynamic-import: modules that are named by a string."""

import re
from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import IMPORTERS, Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import argument, literal_offset, string_value
from cupola_transpiler.table import TORCH_VERSION

# Calls whose first argument is the name of a module, or begins with one.
_TAKES_MODULE = IMPORTERS | {
    "importlib.util.find_spec", "importlib.find_loader", "pkgutil.find_loader",
    "pkgutil.get_loader",
    "runpy.run_module", "sys.modules.get", "sys.modules.pop", "sys.modules.setdefault",
    "sys.modules.__contains__",
}  # fmt: skip
_TAKES_PATH = frozenset(
    {"unittest.mock.patch", "mock.patch", "pydoc.locate", "pkgutil.resolve_name"}
)


class DynamicImport(Rule):
    """A literal module name given to an import function or to `sys.modules` is converted.

    `importlib.import_module("torch.nn")`, `__import__("torch")`, `pytest.importorskip("torch")`,
    `importlib.util.find_spec("torch")`, `sys.modules["torch"]`, `"torch" in sys.modules`,
    `mock.patch("torch.cuda.is_available")`. Functions are recognised by where they come from, not
    by their name.
    """

    code = "dynamic-import"
    VALID = [
        "def import_module(name): ...\nimport_module('torch')\n",
        "cache = {}\ncache['torch']\n",
        "loader.find_spec('torch')\n",
        "import importlib\nimportlib.import_module('.torch', __package__)\n",
    ]
    INVALID = [
        (
            "import importlib\nnn = importlib.import_module('torch.nn')\n",
            "import importlib\nnn = importlib.import_module('cupola.nn')\n",
        ),
        ("t = __import__('torch')\n", "t = __import__('cupola')\n"),
        (
            "t = __import__('torchvision')\n",
            "t = __import__('cupola_compat.torchvision', fromlist=['_'])\n",
        ),
        (
            'import pytest\ntorch = pytest.importorskip("torch")\ntorch.ones(1)\n',
            'import pytest\ncupola = pytest.importorskip("cupola")\ncupola.ones(1)\n',
        ),
        (
            "import pytest\nnn = pytest.importorskip('torch.nn', minversion='1.8', reason='r')\n",
            "import pytest\nnn = pytest.importorskip('cupola.nn', reason='r')\n",
        ),
        (
            "import sys\nif 'torch' in sys.modules: sys.modules['torch'].ones(1)\n",
            "import sys\nif 'cupola' in sys.modules: sys.modules['cupola'].ones(1)\n",
        ),
        (
            "from importlib.util import find_spec\nhas = find_spec('torchvision') is not None\n",
            "from importlib.util import find_spec\n"
            "has = find_spec('cupola_compat.torchvision') is not None\n",
        ),
        (
            "from unittest.mock import patch\n@patch('torch.cuda.is_available')\ndef f(m): ...\n",
            "from unittest.mock import patch\n@patch('cupola.cuda.is_available')\ndef f(m): ...\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        for _, call in module.walk.calls:
            name = module.qualname(call.func)
            if name in _TAKES_MODULE or name in _TAKES_PATH:
                arg = argument(call, 0, "name")
                if arg is not None:
                    alone = name == "__import__" and len(call.args) == 1
                    yield from self._literal(module, arg.value, alone)
            if name == "pytest.importorskip":
                yield from _without_version(module, call)
        for _, node in module.walk.subscripts:
            if module.qualname(node.value) == "sys.modules":
                for element in node.slice:
                    if isinstance(element.slice, cst.Index):
                        yield from self._literal(module, element.slice.value)
        for _, comparison in module.walk.comparisons:
            yield from self._membership(module, comparison)

    def _membership(self, module: Module, node: cst.Comparison) -> Iterator[Result]:
        left = node.left
        for target in node.comparisons:
            if isinstance(target.operator, (cst.In, cst.NotIn)):
                if module.qualname(target.comparator) == "sys.modules":
                    yield from self._literal(module, left)
            left = target.comparator

    def _literal(
        self, module: Module, node: cst.BaseExpression, alone: bool = False
    ) -> Iterator[Result]:
        name = string_value(node)
        if name is None or not isinstance(node, cst.SimpleString):
            return
        root, start = module.table.root(name), literal_offset(node)
        if root is None or start is None or module.layout.owns(root):
            return
        target = module.table.target(name)
        if alone and "." in module.table.target(root):
            # __import__ returns the first part of a name, unless something is asked of the last.
            quote = node.quote
            yield Edit(Anchor(node), f"{quote}{module.table.target(root)}{quote}, fromlist=['_']")
        else:
            yield Edit(Anchor(node, start, start + len(name)), target)


def _bare(arg: cst.Arg) -> cst.Arg:
    """An argument without the comma and the white space that follow it."""
    return arg.with_changes(
        comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=cst.SimpleWhitespace("")
    )


def _without_version(module: Module, call: cst.Call) -> Iterator[Result]:
    """Drops the least version of PyTorch that a test asks for, if cupola stands for a later one."""
    first, version = argument(call, 0, "modname"), argument(call, 1, "minversion")
    name = string_value(first.value) if first is not None else None
    least = string_value(version.value) if version is not None else None
    if name is None or least is None or module.table.root(name) is None or version is first:
        return
    numbers = tuple(int(n) for n in re.findall(r"\d+", least)[:2])
    if not numbers or numbers > TORCH_VERSION:
        return
    code = cst.Module(body=()).code_for_node
    head = (call.func, call.whitespace_after_func, call.whitespace_before_args)
    at = last = sum(map(len, map(code, head))) + 1
    for arg in call.args:
        if arg is version:
            yield Edit(Anchor(call, last, at + len(code(_bare(arg)))), "")
        last = at + len(code(_bare(arg)))
        at += len(code(arg))
