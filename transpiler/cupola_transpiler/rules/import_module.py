"""import-module: `import torch` and everything like it."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import dotted_name


class ImportModule(Rule):
    """`import torch` becomes `import cupola`; aliases keep their name.

    Where the name `torch` cannot be renamed (a class attribute, a parameter, code in strings, an
    existing variable `cupola`), `import cupola as torch` keeps it, which is as right and less
    pretty. torchvision lives in `cupola_compat` and always keeps its name.
    """

    code = "import-module"
    VALID = [
        "import numpy as np\n",
        "import torchaudio\n",
        "from .torch import helpers\n",
        "import mytorch.nn\n",
    ]
    INVALID = [
        ("import torch\n", "import cupola\n"),
        ("import torch as th\nth.ones(1)\n", "import cupola as th\nth.ones(1)\n"),
        ("import torch.nn as nn  # layers\n", "import cupola.nn as nn  # layers\n"),
        ("import os, torch.utils.data\n", "import os, cupola.utils.data\n"),
        (
            "import torch, torchvision\n",
            "import cupola, cupola_compat.torchvision as torchvision\n",
        ),
        (
            "import torchvision.transforms as T\n",
            "import cupola_compat.torchvision.transforms as T\n",
        ),
        (
            "class Backend:\n    import torch\n",
            "class Backend:\n    import cupola as torch\n",
        ),
        (
            "import torch\nglobals()['torch'].ones(1)\n",
            "import cupola as torch\nglobals()['torch'].ones(1)\n",
        ),
        (
            "import torch\neval(f'torch.{name}')\n",
            "import cupola as torch\neval(f'torch.{name}')\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        table = module.table
        for record in module.walk.imports:
            alias = record.node
            if not isinstance(alias, cst.ImportAlias) or record.binding is None:
                continue
            if record.binding.kind != "import":
                continue
            name = dotted_name(alias.name)
            root = table.root(name)
            if root is None or not isinstance(module.module_target(name), str):
                continue
            if "." in root and not record.binding.aliased:
                continue  # the rule third-party knows
            text = table.target(name)
            if not record.binding.aliased:
                owner = record.scope.owner(record.binding.name)
                variable = owner.variables[record.binding.name] if owner is not None else None
                if module.new_name(variable) is None:
                    text = _keeping(name, text, table.target(record.binding.name))
            yield Edit(Anchor(alias.name), text)


def _keeping(name: str, target: str, top: str) -> str:
    """Import items that bind the first part of `name`, as the original did, and load `target`."""
    own = f"{top} as {name.partition('.')[0]}"
    return own if "." not in name else f"{target}, {own}"
