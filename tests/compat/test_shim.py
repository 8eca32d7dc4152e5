"""`import torch` answered by cupola, in processes of their own: nothing leaks into other tests."""

import json
import pathlib
import subprocess
import sys
import textwrap

import pytest


def run(code: str, *, expect: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == expect, done.stderr
    return done


def test_both_names_give_one_module():
    run(
        """
        import cupola_compat
        cupola_compat.install()
        import torch, torch.nn.functional as F
        from torch import nn
        from torch.utils.data import DataLoader
        import cupola
        assert torch.Tensor is cupola.Tensor and nn is cupola.nn and F is cupola.nn.functional
        assert torch.__version__ == cupola.torch_version and torch.__name__ == "torch"
        import importlib.metadata
        assert importlib.metadata.version("torch") == str(cupola.torch_version)
        torch.mine = 3
        assert cupola.mine == 3 and "zeros" in dir(torch)
        assert cupola.nn.__spec__.name == "cupola.nn"
        """
    )


def test_torchvision_is_answered_too():
    run(
        """
        import cupola_compat
        cupola_compat.install()
        import torchvision.transforms as T
        from torchvision.ops import nms
        from torchvision.datasets import HMDB51
        import cupola
        try:
            HMDB51("somewhere", "annotations", 8)
        except cupola.UnsupportedError as error:
            assert "torchvision.datasets.HMDB51" in str(error)
        else:
            raise SystemExit("no error")
        """
    )


def test_absent_submodules_are_import_errors():
    done = run(
        """
        import cupola_compat
        cupola_compat.install()
        try:
            import torch.no_such_module
        except ModuleNotFoundError as error:
            print(error.name)
        """
    )
    assert done.stdout.strip() == "torch.no_such_module"


def test_uninstall_restores_the_import():
    run(
        """
        import cupola_compat, sys
        cupola_compat.install(); cupola_compat.install()
        import torch
        cupola_compat.uninstall()
        assert not cupola_compat.installed() and "torch" not in sys.modules
        """
    )


def test_install_after_torch_is_refused():
    pytest.importorskip("torch")
    done = run("import torch, cupola_compat\ncupola_compat.install()", expect=1)
    assert "before the first import" in done.stderr


def test_run_a_script(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, torch\nfrom helper import two\n"
        "print(torch.ones(two).sum().item(), sys.argv[1])\n"
    )
    (tmp_path / "helper.py").write_text("two = 2\n")
    command = [sys.executable, "-m", "cupola_compat.run", str(script), "--flag"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path.parent)
    assert done.stdout == "2.0 --flag\n", done.stderr


def test_run_names_a_missing_script(tmp_path):
    command = [sys.executable, "-m", "cupola_compat.run", "absent.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2 and "absent.py" in done.stderr


SNIPPETS = pathlib.Path(__file__).parents[2] / "fixtures" / "snippets"
# Syntax of later Pythons, and what names the module by what `import torch` would not change.
LATER = {"generics_python312": (3, 12)}
RUN_ALL = """
import io, json, runpy, sys, warnings
from contextlib import redirect_stdout
if sys.argv[1] == "shim":
    import cupola_compat
    cupola_compat.install()
warnings.simplefilter("ignore")
found = {}
for path in sys.argv[2:]:
    with redirect_stdout(io.StringIO()):
        found[path] = repr(runpy.run_path(path)["RESULT"])
print(json.dumps(found))
"""


def test_every_pattern_runs_unconverted():
    """The converter's fixtures, as they are: with the shim they compute what torch computes."""
    pytest.importorskip("torch")
    paths = [
        str(path)
        for path in sorted(SNIPPETS.glob("*.in.py"))
        if sys.version_info >= LATER.get(path.name.removesuffix(".in.py"), (3, 0))
    ]
    results = []
    for kind in ("shim", "torch"):
        command = [sys.executable, "-c", RUN_ALL, kind, *paths]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
