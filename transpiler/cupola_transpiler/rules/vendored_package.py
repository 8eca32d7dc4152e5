"""vendored-package: imports of packages that `cupola convert --with` took into the repository."""

from collections.abc import Iterator

from cupola_transpiler.module import Module
from cupola_transpiler.rule import NeedsImport, Result, Rule
from cupola_transpiler.syntax import dotted_name

STATEMENT = "import cupola_compat.vendor; cupola_compat.vendor.use(globals().get('__file__'))"


class VendoredPackage(Rule):
    """A file that imports a vendored package first makes the folder `_cupola_vendor` importable.

    The packages in it keep their names, so that what they know of themselves stays true.
    """

    code = "vendored-package"
    VALID = ["import numpy\n"]

    def check(self, module: Module) -> Iterator[Result]:
        vendored = module.layout.vendored
        if not vendored or "cupola_compat.vendor" in module.text:
            return
        if module.path.startswith(module.layout.VENDOR_FOLDER):
            return
        for record in module.walk.imports:
            statement = record.statement
            if hasattr(statement, "relative") and statement.relative:
                continue
            node = getattr(statement, "module", None) or getattr(record.node, "name", None)
            if node is not None and dotted_name(node).partition(".")[0] in vendored:
                yield NeedsImport(STATEMENT)
                return
