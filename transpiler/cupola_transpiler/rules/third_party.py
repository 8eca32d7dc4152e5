"""third-party: parts of other packages that import torch, such as `safetensors.torch`."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import dotted_name


class ThirdParty(Rule):
    """`import safetensors.torch` loads its replacement; the rest of the package stays what it is.

    Only the modules that the table names are replaced: `safetensors.safe_open` remains
    safetensors' own.
    """

    code = "third-party"
    VALID = ["import safetensors\nsafetensors.safe_open('f', 'np')\n"]
    INVALID = [
        (
            "import safetensors.torch\nsafetensors.torch.load_file('f')\n",
            "import cupola_compat.safetensors, safetensors\n"
            "cupola_compat.safetensors.load_file('f')\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        roots = {r: t for r, t in module.table.roots.items() if "." in r}
        if not any(root in module.text for root in roots):
            return
        for record in module.walk.imports:
            alias, binding = record.node, record.binding
            if isinstance(alias, cst.ImportAlias) and binding is not None and not binding.aliased:
                name = dotted_name(alias.name)
                root = module.table.root(name) if binding.kind == "import" else None
                if root in roots:
                    yield Edit(Anchor(alias.name), f"{module.table.target(name)}, {binding.name}")
        for use in module.uses:
            name = module.qualify(use)
            root = module.table.root(name) if name is not None else None
            if root in roots and ".".join(use.chain).startswith(root):
                # Both names have as many parts, so each part takes the place of one.
                for anchor, part in zip(use.anchors, roots[root].split(".")):
                    yield Edit(anchor, part)
