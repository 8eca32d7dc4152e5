"""What `cupola convert` does on request: updates, packages taken in, commits, SARIF, the hook."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cupola_transpiler import vendor
from cupola_transpiler.merge import merge
from transpiler.trees import cupola, environment, read_tree, sources, write_tree

OLD = {
    "net.py": "import torch\n\n\ndef f(x):\n    return torch.relu(x)\n\n\n"
    "def g(x):\n    return x\n",
    "same.py": "import torch\n",
    "gone.py": "import torch.nn\n",
    "plain.py": "x = 1\n",
}
NEW = {
    "net.py": "import torch\n\n\ndef f(x):\n    return torch.relu(x) + torch.pi\n\n\n"
    "def g(x):\n    return x\n",
    "same.py": "import torch\n",
    "added.py": "from torch import nn\n",
    "plain.py": "x = 2\n",
}


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "text", "conflicts"),
    [
        ("a\nb\nc\n", "a\nb\nc\n", "a\nB\nc\n", "a\nB\nc\n", ()),
        ("a\nb\nc\n", "x\na\nb\nc\n", "a\nb\nc\ny\n", "x\na\nb\nc\ny\n", ()),
        ("a\nb\nc\nd\n", "a\nc\nd\n", "a\nb\nc\nD\n", "a\nc\nD\n", ()),
        ("a\nb\n", "a\nX\n", "a\nY\n", "a\nX\n", (2,)),
        ("a\nb\n", "a\nX\n", "a\nX\n", "a\nX\n", ()),
        ("", "a\n", "", "a\n", ()),
        ("a\n", "", "a\n", "", ()),
        ("a", "a\n", "a", "a\n", ()),
    ],
)
def test_merge(base, ours, theirs, text, conflicts):
    assert merge(base, ours, theirs) == (text, conflicts)


def test_update_takes_upstream_and_keeps_what_was_changed_here(tmp_path):
    tree, upstream = write_tree(tmp_path / "t", OLD), write_tree(tmp_path / "u", NEW)
    cupola("convert", tree, check=0)
    write_tree(tree, {"net.py": sources(tree)["net.py"].replace("return x\n", "return 7\n")})
    before = read_tree(tree)
    cupola("convert", tree, "--update", upstream, "--check", check=0)
    assert read_tree(tree) == before
    done = cupola("convert", tree, "--update", upstream, check=0)
    assert "gone.py: upstream no longer has it" in done.stderr
    assert sources(tree) == {
        "net.py": "import cupola\n\n\ndef f(x):\n    return cupola.relu(x) + cupola.pi\n\n\n"
        "def g(x):\n    return 7\n",
        "same.py": "import cupola\n",
        "gone.py": "import cupola.nn\n",
        "added.py": "from cupola import nn\n",
        "plain.py": "x = 2\n",
    }
    assert "Updated 0 files" in cupola("convert", tree, "--update", upstream, check=0).stderr
    # The next update starts from this one: upstream changes the line that it has just changed.
    write_tree(upstream, {"net.py": NEW["net.py"].replace("torch.pi", "torch.e")})
    cupola("convert", tree, "--update", upstream, check=0)
    assert "cupola.relu(x) + cupola.e\n" in sources(tree)["net.py"]
    assert "return 7\n" in sources(tree)["net.py"]
    cupola("revert", tree, "--force", check=0)
    assert sources(tree) == OLD


def test_a_conflict_stays_and_is_named(tmp_path):
    tree, upstream = write_tree(tmp_path / "t", OLD), write_tree(tmp_path / "u", NEW)
    cupola("convert", tree, check=0)
    mine = sources(tree)["net.py"].replace("cupola.relu(x)", "cupola.tanh(x)")
    write_tree(tree, {"net.py": mine})
    done = cupola("convert", tree, "--update", upstream, check=1)
    assert "net.py: was changed here and upstream, near line 5" in done.stderr
    assert sources(tree)["net.py"] == mine
    assert "+ cupola.pi" in (tree / ".cupola/upstream/net.py").read_text()
    assert sources(tree)["added.py"] == "from cupola import nn\n"


def test_update_needs_a_conversion(tmp_path):
    tree = write_tree(tmp_path / "t", OLD)
    assert "nothing to update" in cupola("convert", tree, "--update", tmp_path, check=2).stderr
    assert "no such folder" in cupola("convert", tree, "--update", "nowhere", check=2).stderr


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages with one that needs torch."""
    site = write_tree(tmp_path / "site", {
        "kit/__init__.py": "import torch\nfrom kit.layers import Double\n",
        "kit/layers.py": "from torch import nn\n\n\nclass Double(nn.Module):\n"
                         "    def forward(self, x):\n        return x + x\n",
        "kit/data.json": '{"torch": 1}\n',
        "kit-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: kit\nVersion: 1.2\n"
                                      "Requires-Dist: torch>=1.8\nRequires-Dist: numpy\n",
        "kit-1.2.dist-info/licenses/LICENSE.txt": "Do as you like.\n",
        "kit-1.2.dist-info/RECORD": "kit/__init__.py,,\nkit/layers.py,,\nkit/data.json,,\n"
                                    "kit-1.2.dist-info/METADATA,,\n"
                                    "kit-1.2.dist-info/licenses/LICENSE.txt,,\n",
    })  # fmt: skip
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_package_is_taken_in_with_its_licence(tmp_path, site):
    pytest.importorskip("cupola")
    tree = write_tree(tmp_path / "t", {
        "tools/main.py": '"""Doc."""\nimport kit\n\nprint(kit.Double()(3))\n',
        "other.py": "x = 1\n",
    })  # fmt: skip
    before = read_tree(tree)
    done = cupola("convert", tree, "--with", "kit", check=0)
    assert "It needs: numpy" in done.stderr
    after = sources(tree)
    assert after["_cupola_vendor/kit/layers.py"].startswith("from cupola import nn\n")
    assert after["_cupola_vendor/kit/data.json"] == '{"torch": 1}\n'
    assert after["_cupola_vendor/kit-1.2.licence/LICENSE.txt"] == "Do as you like.\n"
    assert after["tools/main.py"].startswith('"""Doc."""\nimport cupola_compat.vendor; ')
    assert after["other.py"] == "x = 1\n"
    shutil.rmtree(site)
    command = [sys.executable, str(tree / "tools" / "main.py")]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
    assert ran.stdout == "6\n", ran.stderr
    again = cupola("convert", tree, check=0)
    assert "Nothing to convert" in again.stderr
    cupola("revert", tree, check=0)
    left = {n: b for n, b in read_tree(tree).items() if "__pycache__" not in n}
    assert left == before


def test_packages_that_cannot_be_taken_in(tmp_path, site):
    tree = write_tree(tmp_path / "t", {"a.py": "import kit\n"})
    assert "is not installed" in cupola("convert", tree, "--with", "no-such-kit", check=2).stderr
    assert "leave out --diff" in cupola("convert", tree, "--with", "kit", "--diff", check=2).stderr
    shutil.rmtree(site / "kit-1.2.dist-info" / "licenses")
    record = site / "kit-1.2.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("kit-1.2.dist-info/licenses/LICENSE.txt,,\n", ""))
    with pytest.raises(vendor.VendorError, match="no licence"):
        vendor.vendor("kit")
    record.write_text(record.read_text() + "kit/_core.so,,\n")
    with pytest.raises(vendor.VendorError, match="compiled parts"):
        vendor.vendor("kit")
    assert sources(tree) == {"a.py": "import kit\n"}


GIT = shutil.which("git")


@pytest.mark.skipif(GIT is None, reason="git is not installed")
def test_a_commit_on_request(tmp_path):
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n", "b [1].py": "import torch\n"})

    def run(*arguments):
        done = subprocess.run([GIT, "-C", tree, *arguments], check=True, capture_output=True)
        return done.stdout.decode()

    run("init", "-q")
    run("config", "user.name", "n")
    run("config", "user.email", "e@x")
    run("add", ".")
    run("commit", "-qm", "first")
    write_tree(tree, {"note.txt": "not committed"})
    cupola("convert", tree, "--force", "--commit", "Ported", check=0)
    assert run("log", "-1", "--format=%s") == "Ported\n"
    assert run("status", "--porcelain") == "?? note.txt\n"
    cupola("convert", tree, "--commit", check=0, PATH="")
    assert run("log", "-1", "--format=%s") == "Ported\n"


def test_a_commit_outside_of_git_fails_and_says_so(tmp_path):
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n"})
    done = cupola("convert", tree, "--commit", check=2, GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert "git add failed" in done.stderr


def test_sarif_report(tmp_path):
    tree = write_tree(tmp_path / "t", {
        "a b.py": "import torch\n\ng = torch.package.load(f)\n",
        "bad.py": "import torch\ndef f(:\n",
    })  # fmt: skip
    done = cupola("convert", tree, "--report", "sarif", check=1)
    log = json.loads(done.stdout)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    found = {r["ruleId"]: r for r in run["results"]}
    assert found["left"]["level"] == "warning"
    place = found["unsupported-name"]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b.py", "uriBaseId": "ROOT"}
    assert place["region"] == {"startLine": 3, "startColumn": 19}
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert set(found) <= known


def test_the_hook_runs_the_check(tmp_path):
    yaml = pytest.importorskip("yaml")
    home = Path(__file__).parents[2]
    (hook,) = yaml.safe_load((home / ".pre-commit-hooks.yaml").read_text())
    assert hook["language"] == "python" and hook["entry"].startswith("cupola convert --check")
    tree = write_tree(tmp_path / "t", {"a.py": "import torch\n"})
    arguments = hook["entry"].split()[1:-1]
    cupola(*arguments, tree, check=1)
    cupola("convert", tree, check=0)
    cupola(*arguments, tree, check=0)
