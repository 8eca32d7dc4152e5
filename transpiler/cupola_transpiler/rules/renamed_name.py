"""renamed-name: names that the table gives another name."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, NeedsImport, Result, Rule
from cupola_transpiler.scope import Anchor, Use
from cupola_transpiler.syntax import string_value


class RenamedName(Rule):
    """A name that is called differently in cupola is renamed where it is used.

    `cupola.torch_version` is the version of PyTorch that cupola implements, and compares like it,
    so that version gates keep their meaning; `cupola.__version__` is cupola's own.
    """

    code = "renamed-name"
    VALID = ["import numpy\nnumpy.__version__\n", "def f(x):\n    return x.__version__\n"]
    INVALID = [
        (
            "import torch\nif torch.__version__ >= '1.8': pass\n",
            "import cupola\nif cupola.torch_version >= '1.8': pass\n",
        ),
        (
            "import torch as th\nth.__version__.split('.')\n",
            "import cupola as th\nth.torch_version.split('.')\n",
        ),
        (
            "import torch\ngetattr(torch, '__version__', '0')\n",
            "import cupola\ngetattr(cupola, 'torch_version', '0')\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        for use in module.uses:
            yield from self._use(module, use)
        for _, call in module.walk.calls:
            yield from self._getattr(module, call)

    def _use(self, module: Module, use: Use) -> Iterator[Result]:
        """Rewrites the attribute that has the renamed row, if the part before it is a module."""
        name = module.qualify(use)
        if name is None or module.table.root(name) is None:
            return
        parts = name.split(".")
        # A chain that starts with a name imported from the namespace was renamed where it was
        # imported.
        first = len(parts) - len(use.chain) + 2
        for length in range(max(first, 2), len(parts) + 1):
            row = module.table.rows.get(".".join(parts[:length]))
            if row is None or row.status != "renamed":
                continue
            index = length - first + 1
            head, _, new = row.target.rpartition(".")
            if head == module.table.target(".".join(parts[: length - 1])):
                yield Edit(use.anchors[index], new)
            else:
                yield from self._elsewhere(use, index, row.target)
            return

    def _elsewhere(self, use: Use, index: int, target: str) -> Iterator[Result]:
        """The new home is another module: the whole chain up to here is written anew."""
        yield Edit(use.anchors[index], target.rpartition(".")[2])
        yield NeedsImport(f"import {target.rpartition('.')[0]}")

    def _getattr(self, module: Module, call: cst.Call) -> Iterator[Result]:
        if module.qualname(call.func) not in ("getattr", "hasattr", "setattr", "delattr"):
            return
        if len(call.args) < 2:
            return
        owner, node = module.qualname(call.args[0].value), call.args[1].value
        name = string_value(node)
        if owner is None or name is None or not isinstance(node, cst.SimpleString):
            return
        row = module.table.rows.get(f"{owner}.{name}")
        if row is not None and row.status == "renamed":
            start = len(node.prefix) + len(node.quote)
            end = start + len(node.raw_value)
            yield Edit(Anchor(node, start, end), row.target.rpartition(".")[2])
