"""requirement: dependencies on PyTorch in setup.py."""

from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.requirement import List, read
from cupola_transpiler.rule import Edit, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import literal_offset, string_value

_SETUP = frozenset({"setuptools.setup", "distutils.core.setup", "skbuild.setup"})
_LISTS = frozenset({"install_requires", "setup_requires", "tests_require", "extras_require"})


class SetupRequirement(Rule):
    """`install_requires=["torch>=1.8"]` becomes `install_requires=["cupola"]`.

    Lists are found where `setup()` is called and where its argument is a variable of the same file;
    a string anywhere else is not a requirement. The same is done, by the formats' own parsers, to
    requirements.txt, pyproject.toml, setup.cfg, environment.yml, and the `pip install` lines of
    notebooks and Dockerfiles.
    """

    code = "requirement"
    VALID = [
        "from setuptools import setup\nsetup(keywords=['torch'])\n",
        "def setup(install_requires): ...\nsetup(install_requires=['torch'])\n",
        "packages = ['torch']\n",
    ]
    INVALID = [
        (
            "from setuptools import setup\nsetup(install_requires=['numpy', 'torch>=1.8'])\n",
            "from setuptools import setup\nsetup(install_requires=['numpy', 'cupola'])\n",
        ),
        (
            "import setuptools\nneeds = [\n    'torch',\n    'torchvision',\n    'tqdm',\n]\n"
            "setuptools.setup(install_requires=needs)\n",
            "import setuptools\nneeds = [\n    'cupola',\n    'tqdm',\n]\n"
            "setuptools.setup(install_requires=needs)\n",
        ),
        (
            "from setuptools import setup\nextras = {'t': ['torch; python_version > \"3\"']}\n"
            "setup(extras_require=extras)\n",
            "from setuptools import setup\nextras = {'t': ['cupola; python_version > \"3\"']}\n"
            "setup(extras_require=extras)\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        if "setup" not in module.text:
            return
        for _, call in module.walk.calls:
            if module.qualname(call.func) not in _SETUP:
                continue
            for arg in call.args:
                if arg.keyword is not None and arg.keyword.value in _LISTS:
                    for node in _lists(module, arg.value, 0):
                        yield from _edit(node)


def _lists(module: Module, node: cst.CSTNode, depth: int) -> Iterator[cst.List | cst.Tuple]:
    """The lists that an expression is made of, through variables of the file."""
    if depth > 4:
        return
    if isinstance(node, (cst.List, cst.Tuple)):
        yield node
    elif isinstance(node, cst.Dict):
        for element in node.elements:
            yield from _lists(module, element.value, depth + 1)
    elif isinstance(node, cst.BinaryOperation):
        yield from _lists(module, node.left, depth + 1)
        yield from _lists(module, node.right, depth + 1)
    elif isinstance(node, cst.Name):
        use = module.by_node.get(id(node))
        if use is not None and use.variable is not None:
            for binding in use.variable.bindings:
                if binding.value is not None:
                    yield from _lists(module, binding.value, depth + 1)


def _edit(node: cst.List | cst.Tuple) -> Iterator[Result]:
    texts = [string_value(element.value) for element in node.elements]
    taken = List(text for text in texts if text)
    bracket = node.lbracket if isinstance(node, cst.List) else None
    at = len(_code(bracket)) if bracket is not None else 0
    whole = _code(node)
    for element, text in zip(node.elements, texts):
        code = _code(element)
        requirement = read(text) if text else None
        literal = element.value
        if requirement is not None and isinstance(literal, cst.SimpleString):
            start, new = literal_offset(literal), taken.take(requirement)
            if start is not None and new is not None:
                yield Edit(Anchor(literal, start + requirement.start, start + requirement.end), new)
            elif start is not None and bracket is not None:
                yield Edit(Anchor(node, *_extent(whole, at, code)), "")
        at += len(code)


def _extent(whole: str, at: int, code: str) -> tuple[int, int]:
    """Where an element is in its list: with its line, if it begins one."""
    before = whole[:at].rstrip(" \t")
    if before.endswith("\n"):
        return len(before.rstrip("\r\n")), at + len(code.rstrip())
    return at, at + len(code)


def _code(node: cst.CSTNode) -> str:
    return cst.Module(body=()).code_for_node(node)
