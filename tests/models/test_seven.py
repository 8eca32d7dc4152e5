"""The seven models convert, and agree with torch forward, backward and over ten training steps."""

import numpy as np
import pytest

import harness
import seven

each = pytest.mark.parametrize("name", seven.SEVEN)
residual = [name for name, model in seven.SEVEN.items() if model.residual]
torchvisions = [name for name, model in seven.SEVEN.items() if not model.text]


@each
def test_forward(name, original, converted):
    seven.check_forward(seven.SEVEN[name], original, converted)


@each
def test_gradients(name, original, converted):
    seven.check_gradients(seven.SEVEN[name], original, converted)


@pytest.mark.parametrize("name", residual)
def test_gradients_in_float64(name, original, converted):
    seven.check_gradients(seven.SEVEN[name], original, converted, dtype="float64")


@each
def test_ten_training_steps(name, original, converted):
    seven.check_training(seven.SEVEN[name], original, converted)


@each
def test_same_seed_same_weights(name, original, converted):
    seven.check_initial_weights(seven.SEVEN[name], original, converted)


def test_no_reference_to_torch_remains(converted):
    for path in converted.folder.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert "import torch" not in code and "from torch" not in code, path.name


def test_generates_the_same_text(original, converted):
    model = seven.SEVEN["gpt"]
    ours = original.build(model)
    theirs = converted.build(model, like=ours)
    prompt = seven.inputs_of(model)[0][:, :8]
    want = ours.generate(original.training.tensor(prompt), 5)
    got = theirs.generate(converted.training.tensor(prompt), 5)
    np.testing.assert_array_equal(harness.to_numpy(got), harness.to_numpy(want))


@pytest.mark.parametrize("name", torchvisions)
def test_fixtures_are_torchvisions_models(name, original):
    """The fixtures are the published models: same keys, same function."""
    reference = getattr(harness.torchvision().models, name)(weights=None, num_classes=seven.SCORES)
    mine = original.build(seven.SEVEN[name]).eval()
    mine.load_state_dict(reference.state_dict(), strict=True)
    inputs = original.tensors(seven.SEVEN[name])[0]
    want = harness.to_numpy(reference.eval()(inputs))
    np.testing.assert_array_equal(harness.to_numpy(mine(inputs)), want)
