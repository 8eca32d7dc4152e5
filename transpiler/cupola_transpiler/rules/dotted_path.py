"""dotted-path: names in strings that a function of the file follows from attribute to attribute."""

from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from cupola_transpiler.module import WORD, Module
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import argument, literal_offset, string_value

_CUTS = m.OneOf(*(m.Name(n) for n in ("split", "rsplit", "partition", "rpartition")))
_AT_DOTS = [m.Arg(value=m.SimpleString(value=m.MatchIfTrue(lambda v: v.strip("\"'") == "."))),
            m.ZeroOrMore()]  # fmt: skip


class DottedPath(Rule):
    """A literal path into torch is converted where it is given to a function that walks it.

    Programs that replace or look up functions by name have a helper for it,
    `replace("torch.nn.functional.relu")`. The path is rewritten if the helper is a function of the
    same file that cuts this argument at its dots and calls `getattr`. Helpers that mention torch
    in a string of their own know better what the path means, and what other functions do with such
    a string is unknown: those are kept.
    """

    code = "dotted-path"
    VALID = [
        "def last(path): return path.split('.')[-1]\nlast('torch.nn.Linear')\n",
        "def find(path):\n    parts = path.split('.')\n    if parts[0] == 'torch': parts[0] = 'x'\n"
        "    return getattr(home, parts[1])\nfind('torch.nn')\n",
        "from helpers import find\nfind('torch.nn.Linear')\n",
        "def find(path, other): return getattr(home, path.split('.')[1])\nfind(1, 'torch.nn')\n",
        "def find(path): return getattr(home, path.split(', ')[1])\nfind('torch.nn')\n",
        "def find(path): return getattr(home, path.split('.')[1])\nfind('torch')\n",
        "def find(path): return getattr(home, path.split('.')[1])\nfind('torch.n x')\n",
    ]
    INVALID = [
        (
            "import torch\ndef find(path, home=torch):\n    first, *rest = path.split('.')\n"
            "    assert first == home.__name__\n    for name in rest: home = getattr(home, name)\n"
            "    return home\nfind('torch.nn.functional.relu')\n",
            "import cupola\ndef find(path, home=cupola):\n    first, *rest = path.split('.')\n"
            "    assert first == home.__name__\n    for name in rest: home = getattr(home, name)\n"
            "    return home\nfind('cupola.nn.functional.relu')\n",
        ),
        (
            "def replace(*, path):\n    home, _, name = path.rpartition('.')\n"
            "    return lambda new: setattr(home, name, wrap(getattr(home, name), new))\n"
            "@replace(path='torch.cuda.is_available')\ndef available(): return False\n",
            "def replace(*, path):\n    home, _, name = path.rpartition('.')\n"
            "    return lambda new: setattr(home, name, wrap(getattr(home, name), new))\n"
            "@replace(path='cupola.cuda.is_available')\ndef available(): return False\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        for _, call in module.walk.calls:
            given = [a for a in call.args if WORD in (string_value(a.value) or "")]
            function = _function_of(module, call) if given else None
            if function is None:
                continue
            for name in _walked(function):
                arg = argument(call, *name)
                if arg in given and isinstance(arg.value, cst.SimpleString):
                    yield from _path(module, arg.value)


def _function_of(module: Module, call: cst.Call) -> cst.FunctionDef | None:
    """The function of this file that is called, if there is no doubt which."""
    use = module.by_node.get(id(call.func))
    if use is None or use.variable is None or len(use.chain) != 1:
        return None
    bindings = use.variable.bindings
    node = bindings[0].node if len(bindings) == 1 and bindings[0].kind == "def" else None
    return node if isinstance(node, cst.FunctionDef) else None


def _walked(function: cst.FunctionDef) -> list[tuple[int, str]]:
    """Positions (-1: none) and names of the parameters that are paths of attributes."""
    body = function.body
    words = m.findall(body, m.SimpleString() | m.FormattedStringText())
    if any(WORD in word.value for word in words):  # type: ignore[attr-defined]
        return []
    if not m.findall(body, m.Call(func=m.Name("getattr"))):
        return []
    params = function.params
    placed = [*params.posonly_params, *params.params]
    named = [*enumerate(placed), *((-1, p) for p in params.kwonly_params)]
    found = []
    for at, param in named:
        value = m.Name(param.name.value)
        cut = m.Call(func=m.Attribute(value=value, attr=_CUTS), args=_AT_DOTS)
        if m.findall(body, cut):
            found.append((at, param.name.value))
    return found


def _path(module: Module, node: cst.SimpleString) -> Iterator[Edit]:
    """The edit of a literal that is a dotted name of a converted package."""
    name, start = string_value(node) or "", literal_offset(node)
    root = module.table.root(name)
    if root is None or start is None or module.layout.owns(root):
        return
    parts = name.split(".")
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        yield Edit(Anchor(node, start, start + len(name)), module.table.target(name))
