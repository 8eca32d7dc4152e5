"""Three training repositories, converted, follow torch's curve; a resumed run follows its own.

benchmarks/parity_training.py runs the full 300 steps of each.
"""

import pytest

import harness
import training_runs as training

pytest.importorskip("torch")
STEPS = 20


@pytest.fixture(scope="module", params=training.NAMES)
def pair(request, tmp_path_factory):
    """A repository, and what it was converted to."""
    if request.param != "gpt":
        pytest.importorskip("sklearn")
    target = tmp_path_factory.mktemp("training") / request.param
    before = training.HOME / request.param
    return before, harness.convert(before, target)


@pytest.mark.slow
def test_curve_and_resumption(pair, tmp_path):
    original, converted = pair
    half, saved = STEPS // 2 - 1, tmp_path / "half.pt"
    common = ["--steps", STEPS]
    want = training.run(original, tmp_path / "want.json", *common)
    got = training.run(
        converted, tmp_path / "got.json", *common, "--save", saved, "--save-at", half
    )
    worst = max(training.errors(want, got))
    assert len(got["losses"]) == STEPS and worst < training.TOLERANCE
    assert training.outcome(got) == pytest.approx(training.outcome(want), rel=0.01, abs=0.01)
    # What goes on from the checkpoint gives the very same numbers.
    rest = training.run(converted, tmp_path / "rest.json", *common, "--resume", saved)
    assert rest["losses"] == got["losses"][half:]
    assert training.outcome(rest) == training.outcome(got)
