"""repository-name: torch reached through another module of the repository."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.layout import Local
from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor, Use
from cupola_transpiler.syntax import dotted_name, literal_offset, string_value

_TAKES_ATTRIBUTE = frozenset(
    "getattr hasattr setattr delattr unittest.mock.patch.object mock.patch.object".split()
)
_TAKES_PATH = frozenset({"unittest.mock.patch", "mock.patch"})


class RepositoryName(Rule):
    """`from .compat import torch`, `helpers.torch.x` and star imports follow their source.

    When a module's `torch` becomes `cupola`, so do the imports of it elsewhere in the repository,
    and its entry in `__all__`.
    """

    code = "repository-name"
    VALID = [
        "from .compat import torch\n",
        "__all__ = ['torch']\n",
        "import helpers\nhelpers.torch\n",
    ]
    INVALID = [
        (
            "import torch\n__all__ = ['torch', 'f']\n",
            "import cupola\n__all__ = ['cupola', 'f']\n",
        ),
        (
            "try:\n    import torch\nexcept ImportError:\n    from shim import torch\ntorch.ones\n",
            "try:\n    import cupola\nexcept ImportError:\n    from shim import torch as cupola\n"
            "cupola.ones\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        yield from self._from_imports(module)
        for use in module.uses:
            yield from self._use(module, use)
        yield from self._public(module)
        for _, call in module.walk.calls:
            yield from self._named(module, call)

    def _from_imports(self, module: Module) -> Iterator[Result]:
        for record in module.walk.imports:
            alias, binding = record.node, record.binding
            if not isinstance(alias, cst.ImportAlias) or binding is None or binding.kind != "from":
                continue
            old = dotted_name(alias.name)
            source, there = module.source(record.statement), old
            if isinstance(source, Local):
                export = module.link.exports.get(source.path, {}).get(old)
                there = export.name if export is not None else old
            owner = record.scope.owner(binding.name)
            here = module.new_name(owner.variables[binding.name]) if owner is not None else None
            if alias.asname is not None:
                if there != old:
                    yield Edit(Anchor(alias.name), there)
                if here is not None and binding.anchor is not None:
                    yield Edit(binding.anchor, here)
            elif there != old or here is not None:
                own = here or old
                yield Edit(Anchor(alias.name), there if there == own else f"{there} as {own}")

    def _use(self, module: Module, use: Use) -> Iterator[Result]:
        for index, new in module.follow(use).renamed.items():
            yield Edit(use.anchors[index], new)

    def _named(self, module: Module, call: cst.Call) -> Iterator[Result]:
        """`getattr(helpers, "torch")` and `mock.patch("package.helpers.torch.cuda")`."""
        function = module.qualname(call.func)
        if function in _TAKES_ATTRIBUTE and len(call.args) >= 2:
            owner = module.by_node.get(id(call.args[0].value))
            home = module.follow(owner).target if owner is not None else None
            if isinstance(home, Local):
                yield from self._literal(module, call.args[1].value, home)
        elif function in _TAKES_PATH and call.args:
            yield from self._literal(module, call.args[0].value, None)

    def _literal(
        self, module: Module, node: cst.BaseExpression, home: Local | None
    ) -> Iterator[Result]:
        name = string_value(node)
        start = literal_offset(node) if isinstance(node, cst.SimpleString) else None
        if not name or start is None:
            return
        parts = name.split(".")
        first = 0
        while home is None and first < len(parts):
            first += 1
            top = module.layout.resolve(".".join(parts[:first]), 0, module.path)
            if top is not None and top.path in module.layout.files:
                home = top
        if home is None:
            return
        rest = tuple(parts[first:])
        renamed = module.follow_local(Local(home.path, (*home.attributes, *rest))).renamed
        for index, new in renamed.items():
            parts[first + index - len(home.attributes)] = new
        if renamed:
            yield Edit(Anchor(node, start, start + len(name)), ".".join(parts))

    def _public(self, module: Module) -> Iterator[Result]:
        names = module.walk.root.variables
        for node in module.public_strings:
            new = module.new_name(names.get(str(node.raw_value)))
            if new is not None:
                start = len(node.prefix) + len(node.quote)
                yield Edit(Anchor(node, start, start + len(node.raw_value)), new)
