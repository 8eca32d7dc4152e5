"""The seven fixture models side by side: torch's original and what `cupola convert` made of it.

Two implementations in float32 that are both correct do not always agree to four digits: near zero,
one rounding more or less decides whether a ReLU passes a gradient. In an untrained ResNet-50 in
training mode at this size torch's own float32 gradients are up to 5e-2 away from its float64
gradients. So residual networks are compared in float64 as initialised, and in float32 with the last
normalisation of each block at zero (`settle`), where torch's own error is below 1e-5.
"""

from __future__ import annotations

import dataclasses
import importlib
import pathlib

import numpy as np

import harness

SCORES = 10
TOKENS = 128


@dataclasses.dataclass(frozen=True)
class Model:
    """One fixture model: where it is, the arguments it is built with, and its inputs' shape."""

    file: str
    builder: str
    shape: tuple[int, ...]
    lr: float = 0.001
    text: bool = False
    residual: bool = False
    arguments: tuple[tuple[str, object], ...] = (("num_classes", SCORES),)


SEVEN = {
    "alexnet": Model("alexnet", "alexnet", (2, 3, 64, 64), lr=0.01),
    "vgg16": Model("vgg", "vgg16", (2, 3, 32, 32)),
    "resnet50": Model("resnet", "resnet50", (2, 3, 64, 64), lr=0.01, residual=True),
    "wide_resnet50_2": Model("resnet", "wide_resnet50_2", (2, 3, 64, 64), residual=True),
    "squeezenet1_1": Model("squeezenet", "squeezenet1_1", (2, 3, 64, 64)),
    "lstm": Model("lstm", "lstm_classifier", (4, 24), lr=0.1, text=True, arguments=()),
    "gpt": Model("gpt", "gpt", (2, 24), lr=0.1, text=True, arguments=()),
}


def inputs_of(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs (float32 images or int64 tokens) and targets, the same for both sides."""
    rng = np.random.default_rng(3)
    if not model.text:
        images = rng.standard_normal(model.shape, dtype=np.float32)
        return images, rng.integers(0, SCORES, model.shape[0])
    tokens = rng.integers(1, TOKENS, model.shape)
    tokens[1, model.shape[1] * 2 // 3 :] = 0  # padding
    if model.builder == "gpt":
        return tokens, np.roll(tokens, -1, axis=1)
    return tokens, rng.integers(0, 5, model.shape[0])


class Side:
    """The fixture repository, original or converted, on one device."""

    def __init__(self, folder: pathlib.Path, device: str = "cpu"):
        self.folder, self.device = folder, device
        self.converted = folder != harness.FIXTURES / "models"
        self.training = self.load("train")
        self._built: dict[tuple[str, str], object] = {}

    def load(self, name: str):
        prefix = "converted" if self.converted else "original"
        return harness.load(self.folder, name, f"{prefix}_{name}")

    def build(self, model: Model, like=None, *, seed: int = 0, dtype: str = "float32"):
        """Returns the model with the weights of `like`, or as initialised by manual_seed(seed).

        With `like`, a module is built once a process: initialising 138 million numbers takes longer
        than most of the tests, only to be overwritten.
        """
        key = (repr(model), dtype)
        if like is None or key not in self._built:
            framework = importlib.import_module("cupola" if self.converted else "torch")
            framework.manual_seed(seed)
            module = getattr(self.load(model.file), model.builder)(**dict(model.arguments))
            module = module.to(device=self.device, dtype=getattr(framework, dtype))
            if like is None:
                return module
            self._built[key] = module
        module = self._built[key]
        harness.copy_weights(like, module)
        module.zero_grad(set_to_none=True)
        return module

    def tensors(self, model: Model, dtype: str = "float32"):
        inputs, targets = inputs_of(model)
        if not model.text:
            inputs = inputs.astype(dtype)
        return [self.training.tensor(a, self.device) for a in (inputs, targets)]


def settle(module) -> None:
    """Sets the last normalisation of each residual block of a torch module to zero."""
    for name, parameter in module.named_parameters():
        if name.endswith("bn3.weight"):
            parameter.data.zero_()


def check_forward(model: Model, original: Side, converted: Side, tolerance: float = 1e-5) -> None:
    """Asserts equal outputs in evaluation mode for equal weights."""
    ours = original.build(model).eval()
    theirs = converted.build(model, like=ours).eval()
    want = ours(original.tensors(model)[0])
    got = theirs(converted.tensors(model)[0])
    harness.assert_close(harness.to_numpy(got), harness.to_numpy(want), tolerance, "output")


def check_gradients(
    model: Model, original: Side, converted: Side, dtype: str = "float32", tolerance: float = 1e-4
) -> None:
    """Asserts equal gradients in training mode, dropout drawing the same masks."""
    ours = original.build(model, dtype=dtype).train()
    if model.residual and dtype == "float32":
        settle(ours)
    theirs = converted.build(model, like=ours, dtype=dtype).train()
    want = original.training.gradients(ours, *original.tensors(model, dtype))
    got = converted.training.gradients(theirs, *converted.tensors(model, dtype))
    assert list(got) == list(want)
    for name, gradient in want.items():
        mine = got[name]
        assert mine is not None, f"{name} has no gradient"
        harness.assert_close(
            harness.to_numpy(mine), harness.to_numpy(gradient), tolerance, f"gradient of {name}"
        )


def check_training(
    model: Model, original: Side, converted: Side, steps: int = 10, tolerance: float = 1e-4
) -> None:
    """Asserts the same loss before each of `steps` steps of SGD with momentum."""
    ours = original.build(model).train()
    if model.residual:
        settle(ours)
    theirs = converted.build(model, like=ours).train()
    want = original.training.train(ours, *original.tensors(model), steps=steps, lr=model.lr)
    got = converted.training.train(theirs, *converted.tensors(model), steps=steps, lr=model.lr)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def check_initial_weights(model: Model, original: Side, converted: Side) -> None:
    """Asserts that the same seed gives the same state: names, order, shapes, types and values."""
    want = original.build(model, seed=5).state_dict()
    got = converted.build(model, seed=5).state_dict()
    assert list(got) == list(want)
    for name, value in want.items():
        mine, theirs = harness.to_numpy(got[name]), harness.to_numpy(value)
        assert mine.dtype == theirs.dtype, name
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=1e-7, err_msg=name)
