"""remaining-name: what still means torch and cannot be rewritten."""

import re
from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.layout import Local
from cupola_transpiler.module import Module
from cupola_transpiler.rule import Finding, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import dotted_name, string_value

_NAMES_A_MODULE = re.compile(r"(torch|torchvision)(\.[A-Za-z_]\w*)*")

_IMPORTS = re.compile(r"^[ \t]*(?:import|from)[ \t]+torch(?:vision)?\b", re.MULTILINE)


class RemainingName(Rule):
    """What comes from packages outside the repository stays, and is reported.

    `from fastai.basics import *` may well bring `torch` along, but that package is not being
    converted: the name stays and the report says where it is. Strings such as `backend="torch"`
    that may name torch are listed as notes only.
    """

    code = "remaining-name"
    VALID = ["from .compat import np\nnp.zeros(1)\n", "print('with torch and love')\n"]

    def check(self, module: Module) -> Iterator[Result]:
        roots = module.table.roots
        stars = (*module.stars_outside, *module.stars)
        if stars:
            for use in module.free:
                if use.chain[0] in roots and module.follow(use).target is None:
                    packages = ", ".join(stars)
                    yield Finding(
                        use.anchors[0], "remains", ".".join(use.chain),
                        f"comes from a star import of {packages}, which is not converted",
                        f"import {use.chain[0]} in this file, and convert it again",
                    )  # fmt: skip
        for record in module.walk.imports:
            alias, binding = record.node, record.binding
            if not isinstance(alias, cst.ImportAlias) or binding is None or binding.kind != "from":
                continue
            source, name = module.source(record.statement), dotted_name(alias.name)
            if isinstance(source, Local) or source is None or name not in roots:
                continue
            if module.table.root(source) is None:
                yield Finding(
                    Anchor(alias.name), "remains", f"{source}.{name}",
                    f"{source} is not part of the repository and gives the original {name}",
                    f"import {name} itself here, and convert the file again",
                )  # fmt: skip
        run = set()
        for _, call in module.walk.calls:
            if module.qualname(call.func) in ("eval", "exec") and call.args:
                node = call.args[0].value
                if _IMPORTS.search(string_value(node) or ""):
                    run.add(id(node))
                    yield Finding(
                        Anchor(node), "remains", "import torch", "is code in a string that is run",
                        "write it as code",
                    )  # fmt: skip
        for _, node in module.walk.strings:
            value = string_value(node)
            if value is None or id(node) in run:
                continue
            if _NAMES_A_MODULE.fullmatch(value) or _IMPORTS.search(value):
                value = value if len(value) < 40 else value[:37] + "..."
                yield Finding(
                    Anchor(node), "note", value, "a string that may name torch; it is kept"
                )
