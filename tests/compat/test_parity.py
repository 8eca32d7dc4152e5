"""`cupola parity` agrees where conversion is right and names the first place where it is not."""

import json

import numpy as np
import pytest

import harness
import seven

torch = pytest.importorskip("torch")

from cupola_compat.parity import compare  # noqa: E402
from cupola_compat.parity.cli import array, main  # noqa: E402
from cupola_compat.parity.report import compared  # noqa: E402


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    target = tmp_path_factory.mktemp("parity") / "models"
    return harness.FIXTURES / "models", harness.convert(harness.FIXTURES / "models", target)


def pair(trees, name="gpt"):
    model = seven.SEVEN[name]
    sides = [seven.Side(tree) for tree in trees]
    return [side.build(model) for side in sides], seven.inputs_of(model)[0]


def test_agreement(trees):
    (original, converted), tokens = pair(trees)
    report = compare(original, converted, [tokens], train=True)
    assert report.passed, report.verdict()
    kinds = report.kinds()
    assert {"submodule", "output", "gradient"} <= set(kinds)
    names = {name for name, _ in original.named_parameters()}
    assert {row.name for row in kinds["gradient"]} == names
    assert "blocks.1.attention.qkv" in {row.name for row in kinds["submodule"]}


def test_first_divergence_is_named(trees):
    (original, converted), tokens = pair(trees)
    converted.blocks[1].norm2.eps = 0.1
    report = compare(original, converted, [tokens])
    assert not report.passed
    assert (report.first_divergence.kind, report.first_divergence.name) == (
        "submodule",
        "blocks.1.norm2",
    )
    assert "blocks.1.norm2" in report.verdict()


def test_weights_of_other_shapes_are_named(trees):
    (original, _), tokens = pair(trees)
    converted = seven.Side(trees[1]).load("gpt").gpt(vocabulary=130)
    report = compare(original, converted, [tokens], backward=False)
    assert report.first_divergence.kind == "state"
    assert report.first_divergence.name == "tokens.weight"


def test_command_line(trees, capsys):
    common = [*map(str, trees), "--entry", "squeezenet:squeezenet1_1", "--input", "1x3x40x40"]
    assert main([*common, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] and report["first_divergence"] is None
    assert main(common) == 0
    assert "values agree" in capsys.readouterr().out


def test_command_line_finds_a_planted_error(trees, tmp_path, capsys):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(trees[1], broken)
    source = broken / "squeezenet.py"
    text = source.read_text()
    assert "kernel_size=3, padding=1)" in text
    source.write_text(text.replace("[near, wide]", "[wide, near]"))
    common = [str(trees[0]), str(broken), "--entry", "squeezenet:squeezenet1_1"]
    assert main([*common, "--input", "1x3x40x40", "--no-backward"]) == 1
    assert "first submodule features.3:" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--entry", "squeezenet"],
        ["--entry", "absent:model"],
        ["--entry", "squeezenet:absent"],
        ["--entry", "squeezenet:squeezenet1_1", "--input", "3by3"],
        ["--entry", "squeezenet:squeezenet1_1", "--weights", "absent.pth"],
    ],
)
def test_bad_usage(trees, arguments, capsys):
    assert main([*map(str, trees), *arguments]) == 2
    assert "cupola parity:" in capsys.readouterr().err


def test_inputs_are_described_by_text():
    assert array("2x3", 0).dtype == np.float32
    assert array("4:int64<3", 0).max() < 3
    assert array("scalar:float64", 0).shape == ()
    assert array("5:bool", 0).dtype == bool


def test_nan_and_infinity():
    nan, one = np.array([np.nan, 1.0]), np.array([1.0, 1.0])
    assert compared("output", "x", nan, nan, 0.0).passed
    assert not compared("output", "x", nan, one, 1.0).passed
    assert not compared("output", "x", one, nan, 1.0).passed


def test_a_rounding_at_a_kink_is_settled_in_float64():
    """3x - 1 for x = 1/3, written in two ways: float32 rounds one of them to zero exactly."""
    import cupola
    from cupola_compat.parity import compare

    def net(framework, forward):
        class Net(framework.nn.Module):
            def __init__(self):
                super().__init__()
                self.w = framework.nn.Parameter(framework.ones(1))

        Net.forward = lambda self, x: framework.relu(forward(x * self.w))
        return Net()

    x = np.full((1,), 1 / 3, dtype=np.float32)
    original = net(torch, lambda v: v * 3 - 1)
    report = compare(original, net(cupola, lambda v: (v + v - 1) + v), (x,))
    assert report.passed
    assert "float64" in report.verdict()
    assert not compare(original, net(cupola, lambda v: (v + v - 1) + v * 1.001), (x,)).passed
