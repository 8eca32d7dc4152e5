"""cupola.models beside torchvision's models: the same state, the same results, files both ways.

Errors are relative, in the Euclidean norm. A gradient that is zero in exact arithmetic (the bias
before a batch normalisation, the bias of attention's keys) is nothing but rounding; so a gradient's
error is divided by its own norm or, where that is larger, by FLOOR times what the tensor would have
if all elements of all gradients were equally large.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import math
import warnings

import numpy as np

import harness

SCORES = 10
FLOOR = 1e-4
TIE = 1e-6


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a family of models is run: shape of an input, further arguments, its task."""

    shape: tuple[int, ...] = (2, 3, 64, 64)
    arguments: tuple[tuple[str, object], ...] = ()
    task: str = "scores"


# The longest beginning of a name that is here decides.
KINDS = {
    "": Kind(),
    "alexnet": Kind((2, 3, 67, 67)),
    "inception": Kind((2, 3, 299, 299), (("init_weights", True),)),
    "googlenet": Kind((2, 3, 64, 64), (("init_weights", True),)),
    "maxvit": Kind((2, 3, 224, 224)),
    "fcn": Kind(task="segmentation", arguments=(("aux_loss", True),)),
    "deeplab": Kind(task="segmentation", arguments=(("aux_loss", True),)),
    "lraspp": Kind(task="segmentation"),
    "r3d": Kind((2, 3, 8, 32, 32)),
    "mc3": Kind((2, 3, 8, 32, 32)),
    "r2plus1d": Kind((2, 3, 8, 32, 32)),
    "s3d": Kind((1, 3, 16, 224, 224)),
    "mvit": Kind((1, 3, 16, 224, 224)),
    "swin3d": Kind((2, 3, 4, 64, 64)),
    **{
        name: Kind(task="detection", arguments=(("min_size", 96), ("max_size", 160)))
        for name in ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos")
    },
    "ssd": Kind(task="detection"),
    "raft": Kind((1, 3, 128, 128), task="flow"),
    "vit_b": Kind((2, 3, 64, 64), (("image_size", 64),)),
    "vit_l": Kind((2, 3, 64, 64), (("image_size", 64),)),
    "vit_h": Kind((2, 3, 56, 56), (("image_size", 56),)),
}
# Builders that torchvision does not have.
OURS = ("resnet26", "resnet38", "res2net50", "res2net101")


def kind_of(name: str) -> Kind:
    """Returns how the model `name` is run."""
    return KINDS[max((k for k in KINDS if name.startswith(k)), key=len)]


def names() -> list[str]:
    """Returns the builders that both sides have, without the quantized."""
    import cupola.models

    return [name for name in cupola.models.list_models() if name not in OURS]


def reference(name: str):
    """Returns the function of torch that makes the model `name`, which has no weights to fetch.

    The residual networks that only Jittor has are torchvision's class with other numbers or blocks.
    """
    models = harness.import_torchvision().models
    if name.startswith("res2net"):
        import res2net

        depth = {"res2net50": [3, 4, 6, 3], "res2net101": [3, 4, 23, 3]}[name]
        return lambda **kwargs: res2net.make(depth, **kwargs)
    depths = {"resnet26": [2, 2, 2, 2], "resnet38": [2, 3, 5, 2]}
    if name in depths:
        block, make = models.resnet.Bottleneck, models.ResNet
        return lambda **kwargs: make(block, depths[name], **kwargs)
    kwargs = {"weights": None}
    if kind_of(name).task in ("segmentation", "detection"):
        kwargs["weights_backbone"] = None
    return lambda **given: models.get_model(name, **kwargs, **given)


def inputs_text(name: str) -> str:
    """Returns what a model is compared on, in words."""
    if kind_of(name).task == "detection":
        return "96×128, 112×90"
    pair = "two of " if kind_of(name).task == "flow" else ""
    return pair + "×".join(map(str, kind_of(name).shape))


def size(name: str) -> tuple[int, float | None]:
    """Returns a model's number of parameters, and the GFLOP that torchvision publishes for it, two
    for a multiplication with addition; None where nothing is published.
    """
    import cupola.models

    with undrawn():
        count = sum(p.numel() for p in cupola.models.get_model(name).parameters())
    if name in OURS:
        return count, None
    published = harness.import_torchvision().models.get_model_weights(name)
    for weights in published:
        return count, 2 * weights.meta["_ops"]
    return count, None


def parameters(name: str) -> int:
    """Returns how many parameters a model has, as published where it is: without making it."""
    import cupola.models

    try:
        return next(iter(cupola.models.get_model_weights(name))).meta["num_params"]
    except ValueError:
        return size(name)[0]


@contextlib.contextmanager
def undrawn():
    """Lets cupola build models without drawing their weights: keys and shapes, but no values."""
    from cupola.nn import init
    from cupola.tensor import Tensor

    with contextlib.ExitStack() as undo:

        def replace(owner, name):
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, lambda tensor, *args, **kwargs: tensor)

        for name in ("uniform_", "normal_", "fill_", "zero_"):
            replace(Tensor, name)
        replace(init, "trunc_normal_")
        yield


@contextlib.contextmanager
def widths_computed():
    """Lets torchvision compute RegNet's widths, with tensors, where tensors have no values."""
    import torch

    params = harness.import_torchvision().models.regnet.BlockParams
    original = params.__dict__["from_init_params"]

    def on_cpu(cls, *args, **kwargs):
        with torch.device("cpu"):
            return original.__func__(cls, *args, **kwargs)

    params.from_init_params = classmethod(on_cpu)
    try:
        yield
    finally:
        params.from_init_params = original


def enliven(detector) -> None:
    """Makes what a torch detector finds differ from box to box, so that it has an order.

    As initialised, thousands of boxes have the same score to eight digits, and rounding decides
    which of them are kept: the heads are drawn anew. (The weights as initialised are compared
    before.)
    """
    import torch

    generator = torch.Generator().manual_seed(5)
    for name, weight in detector.named_parameters():
        if weight.dim() > 1 and not name.startswith("backbone"):
            inputs = weight[0].numel()
            drawn = torch.randn(weight.shape, generator=generator) * math.sqrt(2 / inputs)
            weight.data.copy_(drawn)


def fill(model) -> None:
    """Draws the weights of a torch model that are initialised with zeros (vision transformers'
    heads): behind them all outputs, and before them all gradients, are zero.
    """
    import torch

    generator = torch.Generator().manual_seed(6)
    for weight in model.parameters():
        if weight.dim() > 1 and not weight.any():
            drawn = torch.randn(weight.shape, generator=generator)
            weight.data.copy_(drawn / math.sqrt(weight[0].numel()))


def settle(model, inputs: tuple, name: str) -> None:
    """Gives the batch normalisations of a torch model the statistics of what it is run on.

    As initialised, they divide by one in evaluation mode: in deep models features vanish beside the
    last bias, and the outputs would agree whatever comes before it.
    """
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    # Blocks that chance leaves out in training are there in evaluation mode.
    drops = [m for m in model.modules() if isinstance(getattr(m, "p", None), float)]
    momenta, chances = [m.momentum for m in norms], [m.p for m in drops]
    for norm in norms:
        norm.momentum = 1.0
    still(model)
    if norms:
        with torch.no_grad():
            if kind_of(name).task == "detection":
                model.train()(*inputs)
            else:
                called(model.train(), inputs[0], name)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    for drop, chance in zip(drops, chances):
        drop.p = chance


def layout(module) -> list[tuple[str, tuple[int, ...], str]]:
    """Returns name, shape and dtype of each entry of a state dict, in order."""
    return [(k, tuple(v.shape), str(v.dtype)) for k, v in module.state_dict().items()]


def compare_layout(name: str) -> None:
    """Asserts equal keys, shapes, dtypes and order of state dict and parameters; no values."""
    import torch

    import cupola.models

    with warnings.catch_warnings(), torch.device("meta"), widths_computed():
        warnings.simplefilter("ignore")
        theirs = reference(name)()
    with undrawn():
        ours = cupola.models.get_model(name)
    assert layout(ours) == layout(theirs), name
    assert harness.names(ours.named_parameters()) == harness.names(theirs.named_parameters())
    assert harness.names(ours.named_buffers()) == harness.names(theirs.named_buffers())


def still(model) -> None:
    """Takes chance out of a model: on a GPU torch draws from a generator of that GPU's own."""
    for module in model.modules():
        if isinstance(getattr(module, "p", None), float):  # dropout, stochastic depth
            module.p = 0.0


@contextlib.contextmanager
def host_permutations():
    """torch's detectors choose their samples by randperm on the device: here it draws on the CPU,
    where both sides draw the same.
    """
    import torch

    drawn = torch.randperm
    torch.randperm = lambda n, *, device="cpu", **rest: drawn(n, **rest).to(device)
    try:
        yield
    finally:
        torch.randperm = drawn


@dataclasses.dataclass
class Pair:
    """One model on both sides, made from the same seed."""

    name: str
    ours: object
    theirs: object
    device: str = "cpu"
    alive: bool = False

    @classmethod
    def make(cls, name: str, seed: int = 0, device: str = "cpu", **arguments) -> Pair:
        """Builds both sides after manual_seed(seed)."""
        import torch

        import cupola.models

        classes = {} if kind_of(name).task == "flow" else {"num_classes": SCORES}
        given = {**classes, **dict(kind_of(name).arguments), **arguments}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            theirs = reference(name)(**given)
        cupola.manual_seed(seed)
        ours = cupola.models.get_model(name, **given)
        return cls(name, ours, theirs, device)

    def initial_error(self) -> float:
        """Returns the largest relative difference of the weights that the seed gave."""
        want, got = self.theirs.state_dict(), self.ours.state_dict()
        assert list(want) == list(got)
        return max(
            harness.relative_error(harness.to_numpy(got[k]), harness.to_numpy(v))
            for k, v in want.items()
        )

    def to(self, dtype: str) -> Pair:
        """Moves both sides to the device, in `dtype`, ours with the weights of theirs."""
        import torch

        import cupola

        if not self.alive:
            if kind_of(self.name).task == "detection":
                enliven(self.theirs)
            fill(self.theirs)
            settle(self.theirs, self.inputs("float32", "cpu")[0], self.name)
            self.alive = True
        if kind_of(self.name).task == "flow":
            # torchvision's grid of places is float32 whatever its model is.
            raft = harness.import_torchvision().models.optical_flow.raft
            utils = importlib.import_module("torchvision.models.optical_flow._utils")
            grid = utils.make_coords_grid
            kind = getattr(torch, dtype)
            raft.make_coords_grid = lambda *args, **kwargs: grid(*args, **kwargs).to(kind)
        self.theirs = self.theirs.to(device=self.device, dtype=getattr(torch, dtype))
        self.ours = self.ours.to(device=self.device, dtype=getattr(cupola, dtype))
        harness.copy_weights(self.theirs, self.ours)
        if self.device != "cpu":
            for side in (self.theirs, self.ours):
                still(side)
        return self

    def inputs(self, dtype: str, device: str | None = None):
        """Returns images and targets for either side."""
        import torch

        import cupola

        device = device or self.device
        if kind_of(self.name).task == "detection":
            images, targets = scenes(dtype)
            return tuple(
                [moved(lib, part, device) for part in (images, targets)] for lib in (torch, cupola)
            )
        shape = kind_of(self.name).shape
        rng = np.random.default_rng(3)
        images = rng.standard_normal(shape, dtype=np.float32).astype(dtype)
        targets = rng.integers(0, SCORES, shape[0])
        if kind_of(self.name).task == "flow":  # the second image is the first one, moved
            return tuple(
                [moved(lib, [images, np.roll(images, 3, 3)], device), None]
                for lib in (torch, cupola)
            )
        theirs = [torch.from_numpy(a).to(device) for a in (images, targets)]
        ours = [cupola.from_numpy(a).to(device) for a in (images, targets)]
        return theirs, ours

    def forward_error(self, dtype: str = "float32") -> float:
        """Returns the error of the outputs in evaluation mode."""
        import torch

        import cupola

        theirs, ours = self.inputs(dtype)
        with torch.no_grad():
            want = called(self.theirs.eval(), theirs[0], self.name)
        with cupola.no_grad():
            got = called(self.ours.eval(), ours[0], self.name)
        if kind_of(self.name).task == "detection":
            got = [in_order(*map(arrays, pair)) for pair in zip(got, want, strict=True)]
        pairs = zip(flat(got), flat(want), strict=True)
        return max(harness.relative_error(a, b) for a, b in pairs)

    def backward_error(self, dtype: str = "float32", seed: int = 1) -> tuple[float, float]:
        """Returns the errors of the training loss and of the gradients, the worst of them."""
        import torch

        import cupola

        theirs, ours = self.inputs(dtype)
        want_loss, want = gradients(torch, self.theirs, *theirs, seed)
        got_loss, got = gradients(cupola, self.ours, *ours, seed)
        assert list(want) == list(got), "other parameters have gradients"
        total = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in want.values()))
        count = sum(g.size for g in want.values())
        worst = 0.0
        for name, gradient in want.items():
            assert got[name].shape == gradient.shape, name
            away = np.linalg.norm(got[name].astype(np.float64) - gradient.astype(np.float64))
            least = FLOOR * total * math.sqrt(gradient.size / count)
            worst = max(worst, away / max(float(np.linalg.norm(gradient)), least))
            assert np.isfinite(away), f"the gradient of {name} is not finite"
        return abs(got_loss - want_loss) / abs(want_loss), worst

    def files(self) -> None:
        """Asserts that each side loads, strictly, what the other saves."""
        import torch

        import cupola

        written = io.BytesIO()
        cupola.save(self.ours.state_dict(), written)
        written.seek(0)
        state = torch.load(written, weights_only=True, map_location="cpu")
        self.theirs.load_state_dict(state, strict=True)
        written = io.BytesIO()
        torch.save(self.theirs.state_dict(), written)
        written.seek(0)
        self.ours.load_state_dict(cupola.load(written, map_location="cpu"), strict=True)


def scenes(dtype: str) -> tuple[list, list]:
    """Returns images of two sizes, and the boxes, labels, masks and keypoints in them."""
    rng = np.random.default_rng(3)
    images, targets = [], []
    for height, width, count in ((96, 128, 3), (112, 90, 2)):
        images.append(rng.random((3, height, width)).astype(dtype))
        low = rng.random((count, 2)) * [width * 0.5, height * 0.5]
        size = rng.random((count, 2)) * [width * 0.4, height * 0.4] + 8
        boxes = np.concatenate([low, low + size], 1).astype(dtype)
        masks = np.zeros((count, height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
            mask[y1 : y2 + 1, x1 : x2 + 1] = 1
        at = low[:, None] + rng.random((count, 17, 2)) * size[:, None]
        seen = rng.integers(0, 2, (count, 17, 1))
        targets.append({
            "boxes": boxes,
            "labels": rng.integers(1, 2, count),
            "masks": masks,
            "keypoints": np.concatenate([at, seen], 2).astype(np.float32),
        })  # fmt: skip
    return images, targets


def moved(framework, value, device: str):
    """Returns arrays, in whatever they are nested, as tensors of a framework on a device."""
    if isinstance(value, dict):
        return {k: moved(framework, v, device) for k, v in value.items()}
    if isinstance(value, list):
        return [moved(framework, v, device) for v in value]
    return framework.from_numpy(value.copy()).to(device)


def flat(output) -> list[np.ndarray]:
    """Returns the arrays in a model's output, whatever it is nested in."""
    if isinstance(output, dict):
        return [a for key in sorted(output) for a in flat(output[key])]
    if isinstance(output, (list, tuple)):
        return [a for item in output for a in flat(item)]
    return [output if isinstance(output, np.ndarray) else harness.to_numpy(output)]


def arrays(found: dict) -> dict[str, np.ndarray]:
    """Returns what a detector found in an image, as arrays."""
    return {key: harness.to_numpy(value) for key, value in found.items()}


def in_order(got: dict, want: dict) -> dict:
    """Returns what was found with boxes of the same score in the order in which `want` has them.

    Rounding decides the order of such boxes. Scores are the same when they differ by no more than
    TIE of the larger; among those, each box of `want` is given the nearest one of its label.
    """
    scores, count = want["scores"], len(want["scores"])
    if len(got["scores"]) != count:
        return got  # which the comparison will notice
    order, begin = np.arange(count), 0
    for end in range(1, count + 1):
        if end < count and abs(scores[end - 1] - scores[end]) <= TIE * abs(scores[end - 1]):
            continue
        left = list(range(begin, end))
        for row in range(begin, end) if end - begin > 1 else ():
            away = np.abs(got["boxes"][left] - want["boxes"][row]).sum(1)
            away[got["labels"][left] != want["labels"][row]] = np.inf
            order[row] = left.pop(int(away.argmin()))
        begin = end
    return {key: value[order] for key, value in got.items()}


def called(module, inputs, name: str):
    """Returns what a model gives for its inputs."""
    if kind_of(name).task == "flow":
        return module(*inputs, num_flow_updates=3)
    return module(inputs)


def loss_of(framework, output, targets):
    """Returns the cross entropy of scores; of auxiliary scores too, at 0.3 of the weight."""
    loss = framework.nn.functional.cross_entropy
    if isinstance(output, dict):  # scores of every pixel: each image's target, everywhere
        targets = targets[:, None, None].expand(-1, *output["out"].shape[2:])
        output = tuple(output.values())
    outputs = output if isinstance(output, tuple) else (output,)
    return sum(weight * loss(o, targets) for weight, o in zip((1.0, 0.3, 0.3), outputs))


def gradients(framework, module, inputs, targets, seed):
    """Returns the training loss and the gradient of each parameter that has one."""
    framework.manual_seed(seed)
    module.train()
    module.zero_grad(set_to_none=True)
    if targets is None:  # two images: the mean of each step's flow
        loss = sum(flow.square().mean() for flow in module(*inputs, num_flow_updates=3))
    elif isinstance(inputs, list):  # detectors compute their losses themselves
        with host_permutations():
            loss = sum(module(inputs, targets).values())
    else:
        loss = loss_of(framework, module(inputs), targets)
    loss.backward()
    found = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return float(loss.detach()), {n: harness.to_numpy(g) for n, g in found.items()}
