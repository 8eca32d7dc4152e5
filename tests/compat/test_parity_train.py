"""`cupola parity train` follows two runs of a script and names where they part."""

import contextlib
import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")

from cupola_compat.parity.cli import main  # noqa: E402
from cupola_compat.parity.training import curves, plots, process  # noqa: E402

SCRIPT = """\
import argparse
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=12)
args = parser.parse_args()
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5)
step = torch.compile(net)
for number in range(args.steps):
    x = torch.randn(16, 4)
    optimizer.zero_grad()
    loss = (step(x) - x.sum(1, keepdim=True)).pow(2).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    schedule.step()
print("done")
"""
GAN = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 3)

    def forward(self, x):
        return self.body(x)

a, b = Net(), Net()
first, second = torch.optim.Adam(a.parameters(), lr=1e-2), torch.optim.SGD(b.parameters(), lr=0.1)
for _ in range(3):
    x = torch.randn(5, 3)
    first.zero_grad()
    a(x).pow(2).mean().backward()
    torch.autograd.backward(b(a(x)).abs().mean())  # a second backward before the step
    first.step()
    second.zero_grad()
    b(a(x).detach()).pow(2).mean().backward()
    second.step()
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with a script, and the folder that it was converted to."""
    home = tmp_path_factory.mktemp("train")
    before = home / "before"
    before.mkdir()
    (before / "train.py").write_text(SCRIPT)
    (before / "gan.py").write_text(GAN)
    return before, harness.convert(before, home / "after")


def changed(pair, tmp_path, old, new):
    """The converted script with one text replaced."""
    text = (pair[1] / "train.py").read_text()
    assert old in text
    (tmp_path / "train.py").write_text(text.replace(old, new))
    return [str(pair[0]), str(tmp_path), "--entry", "python train.py"]


def well_formed(text):
    """The charts of a page, parsed."""
    return [
        ElementTree.fromstring(re.sub(r"(\w+)=([^'\s>]+)(?=[\s>/])", r"\1='\2'", svg))
        for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    ]


def test_agreement_and_report(pair, tmp_path, capsys):
    page = tmp_path / "report.html"
    command = [*map(str, pair), "--entry", "python train.py", "--report", str(page)]
    assert main(["train", *command]) == 0
    assert "parity train: all 12 steps agree" in capsys.readouterr().out
    text = page.read_text()
    assert len(well_formed(text)) == 6
    assert "2.weight" in text and "http" not in text and "<script" not in text


def test_two_optimizers_and_the_original_alone(pair, capsys):
    """Without a converted folder, cupola answers the script's `import torch`."""
    command = [str(pair[0]), "--entry", "python gan.py", "--json", "--steps", "5"]
    assert main(["train", *command]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [p["optimizer"] for p in found["points"]] == [0, 1, 0, 1, 0]
    assert set(found["points"][0]["weights"]) == {"Net.body.weight", "Net.body.bias"}
    assert set(found["points"][1]["weights"]) == {"Net#2.body.weight", "Net#2.body.bias"}


def test_a_schedule_that_differs(pair, tmp_path, capsys):
    command = changed(pair, tmp_path, "optimizer, 4, 0.5", "optimizer, 4, 0.4")
    assert main(["train", *command]) == 1
    out = capsys.readouterr().out
    assert "first at step 5, learning rate:" in out and "0.05 became 0.04" in out
    assert "first parameter: step 5, weight of" in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nn.Tanh()", "nn.Sigmoid()", r"step 1, output of 1 \(Tanh became Sigmoid\): relative"),
        ("(4, 8)", "(4, 8, bias=False)", None),
        (".pow(2)", ".abs()", "outputs of all layers agree in step 1"),
        (
            "x = ",
            "net[0].train().weight.data.mul_(1 + (number == 3)); x = ",
            "step 4, output of 0 ",
        ),
    ],
)
def test_the_first_layer(pair, tmp_path, capsys, old, new, said):
    """Gradients of all parameters differ then, those of the last layers first."""
    code = main(["train", *changed(pair, tmp_path, old, new), "--steps", "5"])
    out = capsys.readouterr()
    assert code == (2 if said is None else 1)
    assert re.search(said or "parameters do not match", out.out + out.err)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("lr=0.1, momentum=0.8", "first at step 1, momentum: relative error 1.1e-01"),
        ("lr=0.1, momentum=0.9, weight_decay=1e-4", "weight_decay: .* 0 became 0.0001"),
        ("lr=0.1, momentum=0.9, nesterov=True", "nesterov: .* 0 became 1"),
    ],
)
def test_settings_of_an_optimizer(pair, tmp_path, capsys, new, said):
    """Named at the first step, long before they can be seen in the weights."""
    command = changed(pair, tmp_path, "lr=0.1, momentum=0.9", new)
    assert main(["train", *command, "--steps", "3"]) == 1
    assert re.search(said, capsys.readouterr().out)


def test_another_optimizer(pair, tmp_path, capsys):
    command = changed(
        pair,
        tmp_path,
        "SGD(net.parameters(), lr=0.1, momentum=0.9)",
        ("Adam(net.parameters(), lr=0.1)"),
    )
    assert main(["train", *command, "--steps", "2"]) == 1
    assert "step 1, kind of optimizer: SGD became Adam" in capsys.readouterr().out


def test_a_wrong_gradient_and_an_early_end(pair, tmp_path, capsys):
    new = "loss.backward()\n    net[2].bias.grad.mul_(1.5 if number == 6 else 1)"
    new += "\n    if number == 8:\n        break"
    command = changed(pair, tmp_path, "loss.backward()", new)
    assert main(["train", *command, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    first = found["first_divergence"]
    assert (first["step"], first["kind"], first["name"]) == (7, "gradient", "2.bias")
    assert first["before"] < 1e-4 < 0.1 < first["error"]
    assert found["first_parameter"] == first
    last = found["divergences"][-1]
    assert (last["step"], last["kind"]) == (9, "number of steps")
    assert "the converted side ended after 8 steps" in last["note"]


def test_a_side_that_fails(pair, tmp_path, capsys):
    new = "assert number < 3, 'planted'\n    loss.backward()"
    assert main(["train", *changed(pair, tmp_path, "loss.backward()", new)]) == 2
    error = capsys.readouterr().err
    assert re.search(r"the converted side \(cupola, .*\) failed after 3 steps:\n\nTrace", error)
    assert "train.py" in error and "AssertionError: planted" in error
    assert "observe.py" not in error and "runpy" not in error


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("loss.backward()", "pass", r"ended without calling backward\(\)"),
        ("optimizer.step()", "pass", r"called backward\(\) 12 times and no optimizer's step"),
        ("loss.backward()", "__import__('os')._exit(3)", "ended with exit code 3 before its first"),
        ("import cupola", "import torch; raise SystemExit", "not been converted. Run `cupola conv"),
        ("import cupola", "raise SystemExit('bad data')", r"failed .*sys.exit\('bad data'\)"),
    ],
)
def test_sides_that_cannot_be_compared(pair, tmp_path, old, new, said):
    changed(pair, tmp_path, old, new)
    side = process.Process("converted", "cupola", tmp_path, ["train.py"], 5, 0)
    with contextlib.closing(side), pytest.raises(process.TrainingError) as caught:
        while True:
            side.next()
    assert re.search(said, str(caught.value), re.DOTALL)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("python absent.py", "no such file"),
        ("torchrun train", "launchers"),
        ("python 'train.py", "No closing quotation"),
    ],
)
def test_bad_usage(pair, capsys, entry, said):
    assert main(["train", *map(str, pair), "--entry", entry]) == 2
    assert said in capsys.readouterr().err
    assert main(["train", "absent", "--entry", "python train.py"]) == 2
    assert "absent: no such folder" in capsys.readouterr().err


def test_entries():
    assert process.command("python3 -u -B train.py -n 'a b'") == ["train.py", "-n", "a b"]
    assert process.command("python -m pkg.train --x") == ["-m", "pkg.train", "--x"]
    assert process.command("train.py") == ["train.py"]


def test_relative_errors():
    nan, inf = math.nan, math.inf
    assert curves.relative(2.0, 2.002) == pytest.approx(1e-3)
    assert [curves.relative(nan, nan), curves.relative(inf, inf)] == [0, 0]
    assert [curves.relative(nan, 1.0), curves.relative(1.0, inf)] == [inf, inf]
    one, odd = np.ones(3), np.array([1.0, nan, 1.0])
    assert curves.apart(odd, odd) == 0 and curves.apart(one, odd) == inf
    assert curves.apart(None, None) == 0 and curves.apart(None, one) == inf


def record(gradients, weights):
    return {
        "optimizer": 0, "losses": [1.0], "rates": [0.1], "settings": [], "before": None,
        "gradients": gradients, "weights": weights,
    }  # fmt: skip


def test_parameters_that_do_not_match():
    one, two = np.ones((2, 3)), np.ones(4)
    want, got = record({}, {"a": one, "b": two}), record({}, {"a": one})
    with pytest.raises(curves.Mismatch, match="b: original 4, converted has none"):
        curves.Comparison().add(want, got)
    with pytest.raises(curves.Mismatch, match="optimizer 2 in the conversion"):
        curves.Comparison().add(want, {**want, "optimizer": 1})
    wrapped = record({"x.a": one}, {"x.a": one})  # a wrapper that only one side has
    comparison = curves.Comparison()
    comparison.add(record({"a": one}, {"a": one}), wrapped)
    assert comparison.passed and set(comparison.points[0].weights) == {"a"}


def test_noise_is_not_held_against_a_parameter():
    """A bias before a batch normalization: its gradient is rounding, which Adam scales up."""
    one = np.ones(4, np.float32)
    comparison = curves.Comparison()
    want = record({"w": one, "b": one * 1e-8}, {"w": one, "b": one * 1e-3})
    got = record({"w": one, "b": one * -2e-8}, {"w": one, "b": one * -1e-3})
    comparison.add(want, got)
    assert comparison.passed and comparison.points[0].weights["b"] == pytest.approx(2)
    got["gradients"]["b"] = one * 0.1
    comparison.add(want, got)
    assert str(comparison.first).startswith("step 2, gradient of b: relative error")


def test_charts_of_odd_values():
    for values in ([1.0, math.nan, 2.0], [0.0, 0.0, 0.0], [5.0, 5.0, math.inf]):
        for log in (False, True):
            well_formed(plots.curves([1, 2, 3], [("a", "original", values)], log))
    assert [plots.shade(e) for e in (0.0, 1e-8, 1e-3, 1.0, math.inf, math.nan)] == [
        0,
        0,
        5,
        8,
        8,
        8,
    ]
    assert len(well_formed(plots.error_map([1], {"<layer>": [0.1]}))) == 1
