"""module-name: every use of the name `torch` once `import torch` has become `import cupola`."""

from collections.abc import Iterator

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Variable


class ModuleName(Rule):
    """A variable that holds torch under the name `torch` is renamed wherever its scope reaches.

    Assignments (`torch = None`), `del`, `global` and `nonlocal`, decorators, f-strings, quoted
    annotations and type comments are all uses of the variable. A parameter or local of the same
    name is another variable, and strings
    and comments are prose: both stay.
    """

    code = "module-name"
    VALID = [
        "def f(torch):\n    return torch.zeros(1)\n",
        "torch = 1\nprint(torch)\n",
        "'''torch.Tensor in prose'''\nx = 'torch.Tensor'  # torch\n",
    ]
    INVALID = [
        ("import torch\nx = torch.zeros(1)\n", "import cupola\nx = cupola.zeros(1)\n"),
        (
            "import torch\nf = lambda torch: torch.x\nprint(f'{torch.pi:.3f} torch')\n",
            "import cupola\nf = lambda torch: torch.x\nprint(f'{cupola.pi:.3f} torch')\n",
        ),
        (
            "try:\n    import torch\nexcept ImportError:\n    torch = None\n",
            "try:\n    import cupola\nexcept ImportError:\n    cupola = None\n",
        ),
        (
            "def load():\n    global torch\n    import torch\n\ndef g():\n    return torch.pi\n",
            "def load():\n    global cupola\n    import cupola\n\ndef g():\n    return cupola.pi\n",
        ),
        (
            "import torch\ndef f(x: 'torch.Tensor') -> \"list[torch.Tensor]\": ...\n",
            "import cupola\ndef f(x: 'cupola.Tensor') -> \"list[cupola.Tensor]\": ...\n",
        ),
        (
            "import torch\nx = y()  # type: torch.Tensor  # noqa\n",
            "import cupola\nx = y()  # type: cupola.Tensor  # noqa\n",
        ),
        (
            "import torch\nfrom typing import Union\nT = Union['torch.Tensor', None]\n",
            "import cupola\nfrom typing import Union\nT = Union['cupola.Tensor', None]\n",
        ),
        ("import torch\ndel torch\n", "import cupola\ndel cupola\n"),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        for scope in module.walk.scopes:
            for variable in scope.variables.values():
                new = module.new_name(variable)
                if new is not None:
                    yield from self._rename(variable, new)

    def _rename(self, variable: Variable, new: str) -> Iterator[Result]:
        for binding in variable.bindings:
            if binding.kind not in ("import", "from") and binding.anchor is not None:
                yield Edit(binding.anchor, new)
        for use in variable.uses:
            yield Edit(use.anchors[0], new)
        for anchor in variable.declarations:
            yield Edit(anchor, new)
