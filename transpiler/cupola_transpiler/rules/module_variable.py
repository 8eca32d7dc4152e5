"""module-variable: import functions whose argument is known only when the program runs."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import WORD, Module
from cupola_transpiler.rule import Edit, NeedsImport, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import argument, string_value

HOME = "cupola_compat.names"
_FUNCTIONS = {
    "importlib.import_module": "import_module",
    "__import__": "import_by_name",
    "importlib.util.find_spec": "find_spec",
    "importlib.metadata.version": "version",
    "importlib_metadata.version": "version",
}


class ModuleVariable(Rule):
    """`importlib.util.find_spec(name)` asks for cupola where the name turns out to be torch's.

    Libraries probe for optional packages with a helper, `is_available("torch")`, that hands the
    name on; it may lie in another file than its callers. The helper's call is replaced by one that
    knows which names are converted and passes every other name through. Names that visibly begin
    with something else are left alone.
    """

    code = "module-variable"
    VALID = [
        "import importlib\nimportlib.import_module('.' + 'torch', __package__)\n",
        "import importlib\nimportlib.import_module(f'plugins.torch_{name}')\n",
        "import importlib\nimportlib.import_module(name)\n",
        "from importlib.metadata import version\nversion('torchaudio')\n",
        "def find_spec(name): return name\nfind_spec(torch_name)\n",
    ]
    INVALID = [
        (
            '"""Doc."""\n\n# isort\nimport importlib.util\n'
            "def has(name): return importlib.util.find_spec(name) is not None\nhas('torch')\n",
            '"""Doc."""\n\n# isort\nimport cupola_compat.names\nimport importlib.util\n'
            "def has(name): return cupola_compat.names.find_spec(name) is not None\nhas('torch')\n",
        ),
        (
            "from importlib.metadata import version\nv = version('torch')\n",
            "import cupola_compat.names\nfrom importlib.metadata import version\n"
            "v = cupola_compat.names.version('torch')\n",
        ),
        (
            "from importlib import import_module\nm = import_module(f'torch.{part}')\n",
            "import cupola_compat.names\nfrom importlib import import_module\n"
            "m = cupola_compat.names.import_module(f'torch.{part}')\n",
        ),
        (
            "def optional(name): return __import__(name)\noptional('torch')\n",
            "import cupola_compat.names\n"
            "def optional(name): return cupola_compat.names.import_by_name(name)\n"
            "optional('torch')\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        named = module.path in module.link.handed
        named = named or any(WORD in node.value for _, node in module.walk.strings)
        for _, call in module.walk.calls:
            function = _FUNCTIONS.get(module.qualname(call.func) or "")
            arg = argument(call, 0, "name") or argument(call, 0, "distribution_name")
            if function is None or arg is None:
                continue
            literal = string_value(arg.value)
            if literal is not None:
                # A literal module name is rewritten in place (dynamic-import); a distribution's
                # version cannot be, because cupola's own version is another number.
                wanted = function == "version" and literal in module.table.roots
            else:
                wanted = _may_be_ours(arg.value, named)
            if wanted:
                yield Edit(Anchor(call.func), f"{HOME}.{function}")
                yield NeedsImport(f"import {HOME}")


def _may_be_ours(node: cst.BaseExpression, named: bool) -> bool:
    """Whether a name that is put together at run time can begin with torch.

    named: the file has a string with torch in it, or is given one by another file, which might be
    what arrives here.
    """
    first: cst.CSTNode = node
    while isinstance(first, (cst.BinaryOperation, cst.ConcatenatedString)):
        first = first.left
    if isinstance(first, cst.FormattedString) and first.parts:
        if isinstance(first.parts[0], cst.FormattedStringText):
            return first.parts[0].value.startswith(WORD)
    start = string_value(first)
    return start.startswith(WORD) if start else named
