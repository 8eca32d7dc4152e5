"""Names that cross files."""

import pytest

from cupola_transpiler.discover import discover
from cupola_transpiler.plan import plan
from transpiler.trees import write_tree


def converted(root, files, **more):
    tree = write_tree(root, files)
    made = plan(discover(tree, **more), processes=1)
    texts = {f.path: f.after.decode() if f.status == "changed" else files[f.path]
             for f in made.files.values()}  # fmt: skip
    return made, texts


def test_star_import_brings_the_name(tmp_path):
    made, texts = converted(tmp_path, {
        "_corpus.py": "import numpy as np, torch\n\ndef f(x): return torch.ones(x)\n",
        "main.py": "from _corpus import *\nprint(torch.zeros(1), np.e)\n",
    })  # fmt: skip
    assert texts["_corpus.py"].startswith("import numpy as np, cupola\n")
    assert texts["main.py"] == "from _corpus import *\nprint(cupola.zeros(1), np.e)\n"
    assert made.complete


def test_star_import_through_modules_that_do_not_name_it(tmp_path):
    _, texts = converted(tmp_path, {
        "pkg/__init__.py": "from .base import *\n",
        "pkg/base.py": "from ._deep import *\n",
        "pkg/_deep.py": "import torch\nimport torch.nn as nn\n",
        "use.py": "from pkg import *\nx = torch.ones(1); nn.Linear(1, 1)\n",
    })  # fmt: skip
    assert texts["use.py"] == "from pkg import *\nx = cupola.ones(1); nn.Linear(1, 1)\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from .compat import torch\ntorch.e\n", "from .compat import cupola\ncupola.e\n"),
        ("from .compat import torch as th\nth.e\n", "from .compat import cupola as th\nth.e\n"),
        ("from . import compat\ncompat.torch.e\n", "from . import compat\ncompat.cupola.e\n"),
        ("import pkg.compat\npkg.compat.torch.e\n", "import pkg.compat\npkg.compat.cupola.e\n"),
        ("import pkg.compat as c\nc.torch.e\n", "import pkg.compat as c\nc.cupola.e\n"),
        ("from .compat import F\nF.torch_like\n", "from .compat import F\nF.torch_like\n"),
        (
            "from . import compat\nhasattr(compat, 'torch')\ngetattr(compat, 'F')\n",
            "from . import compat\nhasattr(compat, 'cupola')\ngetattr(compat, 'F')\n",
        ),
        (
            "from unittest.mock import patch\n@patch('pkg.compat.torch.e', 2)\ndef f(): ...\n",
            "from unittest.mock import patch\n@patch('pkg.compat.cupola.e', 2)\ndef f(): ...\n",
        ),
        (
            "class A:\n    from .compat import torch\n",
            "class A:\n    from .compat import cupola as torch\n",
        ),
    ],
)  # fmt: skip
def test_names_of_other_modules(tmp_path, before, after):
    made, texts = converted(tmp_path, {
        "pkg/__init__.py": "",
        "pkg/compat.py": "try:\n    import torch\nexcept ImportError:\n    torch = None\n"
                         "from torch.nn import functional as F\n",
        "pkg/use.py": before,
    })  # fmt: skip
    assert texts["pkg/use.py"] == after
    assert made.complete


def test_reexports_chain_and_public_lists(tmp_path):
    _, texts = converted(tmp_path, {
        "a.py": "import torch\n__all__ = ['torch']\n",
        "b.py": "from a import torch\n__all__ = ('torch', 'c')\nc = 1\n",
        "c.py": "from b import *\nd = torch.pi + c\n",
    })  # fmt: skip
    assert texts["a.py"] == "import cupola\n__all__ = ['cupola']\n"
    assert texts["b.py"] == "from a import cupola\n__all__ = ('cupola', 'c')\nc = 1\n"
    assert texts["c.py"] == "from b import *\nd = cupola.pi + c\n"


@pytest.mark.parametrize("mention", ["", "# torch\n"])
def test_files_that_came_after_an_earlier_conversion(tmp_path, mention):
    made, texts = converted(tmp_path, {
        "_corpus.py": mention + "import numpy as np, cupola\n",
        "star.py": "from _corpus import *\nx = torch.e\n",
        "name.py": "from _corpus import torch, np\nx = torch.e\n",
    })  # fmt: skip
    assert texts["star.py"] == "from _corpus import *\nx = cupola.e\n"
    assert texts["name.py"] == "from _corpus import cupola, np\nx = cupola.e\n"
    assert made.complete


def test_circular_modules(tmp_path):
    made, texts = converted(tmp_path, {
        "a.py": "from b import *\nimport torch\n",
        "b.py": "from a import *\nx = torch.e\n",
    })  # fmt: skip
    assert texts["b.py"] == "from a import *\nx = cupola.e\n"
    assert made.complete


def test_version_imported_through_a_module(tmp_path):
    _, texts = converted(tmp_path, {
        "compat.py": "import torch as th\n",
        "use.py": "from compat import th\n# torch\nif th.__version__ >= '2': pass\n",
    })  # fmt: skip
    assert "th.torch_version >= '2'" in texts["use.py"]


def test_a_name_that_stays_where_its_file_stays(tmp_path):
    made, texts = converted(tmp_path, {
        "ok.py": "from bad import torch\ntorch.e\n",
        "star.py": "from bad import *\ntorch.e\n",
        "bad.py": "import torch\ndef f(:\n",
    })  # fmt: skip
    assert texts["ok.py"] == "from bad import torch\ntorch.e\n"
    assert made.files["bad.py"].status == "left"
    assert [f.path for f, _ in made.notes("remains")] == ["star.py"]
    assert not made.complete


def test_module_that_keeps_its_name_is_not_followed(tmp_path):
    made, texts = converted(tmp_path, {
        "a.py": "import torch\ncupola = 3\n",
        "b.py": "from a import torch\nx = torch.ones(1)\n",
    })  # fmt: skip
    assert texts["a.py"] == "import cupola as torch\ncupola = 3\n"
    assert texts["b.py"] == "from a import torch as cupola\nx = cupola.ones(1)\n"
    assert made.complete


def test_a_tree_that_is_torchvision_keeps_its_own_name(tmp_path):
    _, texts = converted(tmp_path, {
        "torchvision/__init__.py": "import torch\nfrom torchvision import ops\n",
        "torchvision/ops.py": "import torch\n",
    })  # fmt: skip
    assert texts["torchvision/__init__.py"] == "import cupola\nfrom torchvision import ops\n"


def test_submodules_called_torch_are_not_torch(tmp_path):
    files = {
        "kit/__init__.py": "",
        "kit/torch.py": "def ones(): return 1\n",
        "kit/use.py": "from . import torch\nfrom .torch import ones\ntorch.ones()\n",
        "main.py": "from kit import torch\nimport kit.torch as kt\ntorch.ones(); kt.ones()\n",
    }
    _, texts = converted(tmp_path, files)
    assert texts == files


def test_packages_outside_are_reported(tmp_path):
    made, texts = converted(tmp_path, {
        "a.py": "from fastai.basics import *\nx = torch.ones(1)\n",
        "b.py": "from somewhere import torch\n",
    })  # fmt: skip
    assert "torch.ones" in texts["a.py"]
    assert {(f.path, n.line) for f, n in made.notes("remains")} == {("a.py", 2), ("b.py", 1)}
    assert "2 references to torch in 2 files" in made.verdict


def test_code_in_strings_that_imports_torch_is_reported(tmp_path):
    made, _ = converted(tmp_path, {
        "a.py": "exec('import torch')\nSETUP = 'import torch; torch.ones(1)'\n",
    })  # fmt: skip
    assert [n.line for _, n in made.notes("remains")] == [1]
    assert [n.line for _, n in made.notes("note")] == [2]


def test_unsupported_names_are_placed_and_explained(tmp_path):
    made, _ = converted(tmp_path, {
        "a.py": "import torch\nfrom torch import package\n\ng = torch.package.load(f)\n",
    })  # fmt: skip
    notes = [(n.line, n.column, n.name) for _, n in made.notes("unsupported")]
    assert notes == [(2, 19, "torch.package"), (4, 19, "torch.package")]
    assert all(n.reason for _, n in made.notes("unsupported"))


def test_only_and_exclude(tmp_path):
    files = {"a.py": "import torch\n", "tests/b.py": "import torch\n", "c/d.py": "import torch\n"}
    _, texts = converted(tmp_path, files, exclude=["tests"])
    assert set(texts) == {"a.py", "c/d.py"}
    _, texts = converted(tmp_path, files, only=["c/*"])
    assert set(texts) == {"c/d.py"}


def test_ignore_comments(tmp_path):
    made, texts = converted(tmp_path, {
        "a.py": "import torch  # cupola: ignore\nimport torch.nn as nn\ntorch.e; nn.ReLU\n",
        "b.py": "import torch\nx = torch.__version__  # cupola: ignore[renamed-name]\n",
    })  # fmt: skip
    assert texts["a.py"] == (
        "import torch  # cupola: ignore\nimport cupola.nn as nn\ntorch.e; nn.ReLU\n"
    )
    assert texts["b.py"] == (
        "import cupola\nx = cupola.__version__  # cupola: ignore[renamed-name]\n"
    )
    assert "except" in made.verdict


def test_many_files_are_spread_over_processes(tmp_path):
    files = {f"m{i}.py": f"import torch\nx = torch.ones({i})\n" for i in range(40)}
    tree = write_tree(tmp_path, files)
    made = plan(discover(tree), processes=2)
    assert len(made.with_status("changed")) == 40
    assert made.files["m7.py"].after == b"import cupola\nx = cupola.ones(7)\n"


HELPER = "import importlib\n\ndef has(name): return importlib.util.find_spec(name) is not None\n"


@pytest.mark.parametrize(
    "user",
    [
        "from .probe import has\nok = has('torch')\n",
        "from . import probe\nok = probe.has('torch.nn')\n",
        "from . import *\nok = has('torch')\n",
        "import pkg.probe as p\n@p.has('torch.cuda.amp')\ndef f(): ...\n",
        "import pkg\nok = pkg.has(name='torch')\n",
    ],
)
def test_a_helper_in_another_file_that_does_not_name_torch(tmp_path, user):
    """The names arrive from its callers: it asks for cupola where they are torch's."""
    made, texts = converted(tmp_path, {
        "pkg/__init__.py": "from .probe import has\n",
        "pkg/probe.py": HELPER,
        "pkg/other.py": HELPER,
        "pkg/user.py": user,
    })  # fmt: skip
    assert "cupola_compat.names.find_spec(name)" in texts["pkg/probe.py"]
    assert texts["pkg/other.py"] == HELPER, "nobody hands it such a name"
    assert made.complete
    again, same = converted(tmp_path / "again", texts)
    assert same == texts


def test_a_helper_that_gets_other_names(tmp_path):
    files = {"probe.py": HELPER, "user.py": "from probe import has\nhas('numpy')\nx = 'torch'\n"}
    assert converted(tmp_path, files)[1] == files
