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

import conditioned
import harness

# Counts changes of what is compared, or on what: results of an earlier one are compared again.
VERSION = 2
SCORES = 10
FLOOR = 1e-4
TIE = 1e-6


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a family of models is run: shape of an input, further arguments, its task."""

    shape: tuple[int, ...] = (2, 3, 64, 64)
    arguments: tuple[tuple[str, object], ...] = ()
    task: str = "scores"


# Detectors with random weights find thousands of boxes where trained ones find a few, and among
# thousands rounding chooses between neighbours: a torch detector does not find in float32 what it
# finds in float64. So only the best are kept. (In training, fewer make it quicker.)
SMALL = (("min_size", 96), ("max_size", 160))
ONE = (("topk_candidates", 40), ("detections_per_img", 20))
TWO = (
    ("rpn_pre_nms_top_n_test", 40),
    ("rpn_post_nms_top_n_test", 40),
    ("rpn_pre_nms_top_n_train", 200),
    ("rpn_post_nms_top_n_train", 200),
    ("box_batch_size_per_image", 64),
    ("box_detections_per_img", 20),
)
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
    **dict.fromkeys(("fasterrcnn", "maskrcnn", "keypointrcnn"), Kind((), SMALL + TWO, "detection")),
    **dict.fromkeys(("retinanet", "fcos"), Kind((), SMALL + ONE, "detection")),
    "ssd": Kind((), ONE, "detection"),
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
        import cupola

        if not self.alive:
            self.condition()
            self.alive = True
        self.theirs_to(dtype)
        self.ours = self.ours.to(device=self.device, dtype=getattr(cupola, dtype))
        harness.copy_weights(self.theirs, self.ours)
        if self.device != "cpu":
            for side in (self.theirs, self.ours):
                conditioned.still(side)
        return self

    def condition(self) -> None:
        """Gives torch's side weights and statistics on which a comparison means something."""
        detection = kind_of(self.name).task == "detection"
        if detection:
            conditioned.enliven(self.theirs)
        conditioned.fill(self.theirs)
        few, _ = self.inputs("float32", "cpu")
        many, _ = self.inputs("float32", "cpu", seed=17, times=2 if detection else 4)

        def run(inputs):
            return self.theirs(*inputs) if detection else called(self.theirs, inputs[0], self.name)

        conditioned.shorten(self.theirs, lambda: flat_tensors(run(few)))
        conditioned.settle(self.theirs, lambda: run(many))

    def theirs_to(self, dtype: str) -> None:
        """Moves torch's side to the device, in `dtype`."""
        import torch

        if kind_of(self.name).task == "flow":
            # torchvision's grid of places is float32 whatever its model is.
            raft = harness.import_torchvision().models.optical_flow.raft
            utils = importlib.import_module("torchvision.models.optical_flow._utils")
            grid = utils.make_coords_grid
            kind = getattr(torch, dtype)
            raft.make_coords_grid = lambda *args, **kwargs: grid(*args, **kwargs).to(kind)
        self.theirs = self.theirs.to(device=self.device, dtype=getattr(torch, dtype))

    def inputs(self, dtype: str, device: str | None = None, seed: int = 3, times: int = 1):
        """Returns images and targets for either side; `times` as many as are compared."""
        import torch

        import cupola

        device = device or self.device
        if kind_of(self.name).task == "detection":
            images, targets = scenes(dtype, seed, times)
            return tuple(
                [moved(lib, part, device) for part in (images, targets)] for lib in (torch, cupola)
            )
        shape = kind_of(self.name).shape
        shape = (shape[0] * times, *shape[1:])
        rng = np.random.default_rng(seed)
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

    def their_outputs(self, dtype: str = "float32", seed: int = 3) -> list:
        """Returns torch's outputs in evaluation mode; a detector's as a dict an image."""
        import torch

        theirs, _ = self.inputs(dtype, seed=seed)
        with torch.no_grad():
            return self.arrays_of(called(self.theirs.eval(), theirs[0], self.name))

    def our_outputs(self, dtype: str = "float32") -> list:
        """Returns cupola's."""
        import cupola

        _, ours = self.inputs(dtype)
        with cupola.no_grad():
            return self.arrays_of(called(self.ours.eval(), ours[0], self.name))

    def arrays_of(self, output) -> list:
        """Returns what a model gave, as arrays."""
        detection = kind_of(self.name).task == "detection"
        return [arrays(found) for found in output] if detection else flat(output)

    def forward_error(self, dtype: str = "float32") -> float:
        """Returns the error of the outputs in evaluation mode."""
        return away(self.our_outputs(dtype), self.their_outputs(dtype))

    def forward_errors(self) -> dict[str, float]:
        """Returns errors of float32 outputs in evaluation mode: cupola's beside torch's, each
        side's beside torch's in float64, and how far torch's outputs for other images are.
        """
        got, want = self.our_outputs(), self.their_outputs()
        found = {"forward": away(got, want), "depends": away(self.their_outputs(seed=4), want)}
        self.theirs_to("float64")  # and back: the same numbers
        exact = self.their_outputs("float64")
        self.theirs_to("float32")
        return {**found, "forward_ours": away(got, exact), "forward_torch": away(want, exact)}

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
            apart = np.linalg.norm(got[name].astype(np.float64) - gradient.astype(np.float64))
            least = FLOOR * total * math.sqrt(gradient.size / count)
            worst = max(worst, apart / max(float(np.linalg.norm(gradient)), least))
            assert np.isfinite(apart), f"the gradient of {name} is not finite"
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


def scenes(dtype: str, seed: int = 3, times: int = 1) -> tuple[list, list]:
    """Returns images of two sizes, and the boxes, labels, masks and keypoints in them."""
    rng = np.random.default_rng(seed)
    images, targets = [], []
    for height, width, count in ((96, 128, 3), (112, 90, 2)) * times:
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


def flat_tensors(output) -> list:
    """Returns the tensors in a model's output, whatever it is nested in."""
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for item in output for tensor in flat_tensors(item)]
    return [output]


def away(got: list, want: list) -> float:
    """Returns the largest relative difference of outputs; boxes of one score have no order."""
    pairs = list(zip(got, want, strict=True))
    if isinstance(want[0], dict):
        got = [in_order(*pair) for pair in pairs]
    return max(harness.relative_error(a, b) for a, b in zip(flat(got), flat(want), strict=True))


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
