"""from-import: `from torch import ...` and `from torch.x import ...`."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import dotted_name


class FromImport(Rule):
    """`from torch.nn import Linear` becomes `from cupola.nn import Linear`.

    Local names never change: a name that is called differently afterwards is imported under its
    old name.
    """

    code = "from-import"
    VALID = [
        "from .torch import nn\n",
        "from mypackage.torch import nn\n",
        "from torchaudio import transforms\n",
    ]
    INVALID = [
        ("from torch import nn, Tensor\n", "from cupola import nn, Tensor\n"),
        (
            "from torch.nn import functional as F  # noqa\n",
            "from cupola.nn import functional as F  # noqa\n",
        ),
        ("from torch import *\n", "from cupola import *\n"),
        (
            "from torchvision.ops.boxes import (\n    batched_nms,  # keep\n)\n",
            "from cupola_compat.torchvision.ops.boxes import (\n    batched_nms,  # keep\n)\n",
        ),
        (
            "from safetensors.torch import load_file\n",
            "from cupola_compat.safetensors import load_file\n",
        ),
        (
            "from torch import __version__\n",
            "from cupola import torch_version as __version__\n",
        ),
        (
            "from torch import __version__ as v, nn\n",
            "from cupola import torch_version as v, nn\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        seen: set[int] = set()
        for record in module.walk.imports:
            statement = record.statement
            if not hasattr(statement, "module") or id(statement) in seen:
                continue
            seen.add(id(statement))
            source = module.source(statement)
            if not isinstance(source, str) or module.table.root(source) is None:
                continue
            yield Edit(Anchor(statement.module), module.table.target(source))
            if not isinstance(statement.names, cst.ImportStar):
                for alias in statement.names:
                    yield from self._name(module, source, alias)

    def _name(self, module: Module, source: str, alias: cst.ImportAlias) -> Iterator[Result]:
        name = dotted_name(alias.name)
        row = module.table.rows.get(f"{source}.{name}")
        if row is None or row.status != "renamed":
            return
        new = row.target.rpartition(".")[2]
        yield Edit(Anchor(alias.name), new if alias.asname is not None else f"{new} as {name}")
