"""torchvision's face on cupola gives torchvision's results."""

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def theirs():
    return harness.torchvision()


@pytest.fixture(scope="module")
def ours():
    from cupola_compat import torchvision

    return torchvision


@pytest.fixture(scope="module")
def photograph():
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (12, 10, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((50, 60), 2)


def boxes(n=60, seed=0):
    rng = np.random.default_rng(seed)
    corner, size = rng.random((n, 2)) * 80, rng.random((n, 2)) * 40 + 1
    rows = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return rows, rng.random(n).astype(np.float32)


def both(array):
    import cupola

    return torch.from_numpy(array.copy()), cupola.from_numpy(array.copy())


def same(got, want, tolerance=1e-6):
    if not hasattr(want, "detach"):
        got, want = np.asarray(got), np.asarray(want)
        np.testing.assert_array_equal(got, want)
        return
    got, want = harness.to_numpy(got), harness.to_numpy(want)
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms(theirs, ours, threshold):
    rows, scores = boxes()
    (a, x), (b, y) = both(rows), both(scores)
    same(ours.ops.nms(x, y, threshold), theirs.ops.nms(a, b, threshold))


def test_nms_of_equal_scores_and_empty_boxes(theirs, ours):
    rows, scores = boxes()
    scores[:] = scores.round(1)
    rows[5, 2:] = rows[5, :2]
    rows[6] = rows[5]
    (a, x), (b, y) = both(rows), both(scores)
    same(ours.ops.nms(x, y, 0.4), theirs.ops.nms(a, b, 0.4))


@pytest.mark.parametrize("n", [0, 60, 1200])
def test_batched_nms(theirs, ours, n):
    rows, scores = boxes(n)
    classes = np.random.default_rng(1).integers(0, 4, n)
    pairs = [both(v) for v in (rows, scores, classes)]
    want = theirs.ops.boxes.batched_nms(*(p[0] for p in pairs), 0.5)
    same(ours.ops.boxes.batched_nms(*(p[1] for p in pairs), 0.5), want)


@pytest.mark.parametrize(
    "name",
    ["box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"],
)
def test_overlaps(theirs, ours, name):
    (a, x), (b, y) = both(boxes(9)[0]), both(boxes(7, 1)[0])
    same(getattr(ours.ops, name)(x, y), getattr(theirs.ops, name)(a, b), 1e-5)


def test_the_other_box_functions(theirs, ours):
    rows, _ = boxes(9)
    a, x = both(rows)
    same(ours.ops.box_area(x), theirs.ops.box_area(a))
    same(ours.ops.clip_boxes_to_image(x, (50, 60)), theirs.ops.clip_boxes_to_image(a, (50, 60)))
    same(ours.ops.remove_small_boxes(x, 20.0), theirs.ops.remove_small_boxes(a, 20.0))
    for source in ("xyxy", "xywh", "cxcywh"):
        for target in ("xyxy", "xywh", "cxcywh"):
            want = theirs.ops.box_convert(a, source, target)
            same(ours.ops.box_convert(x, source, target), want, 1e-5)
    mask = np.zeros((2, 6, 7), dtype=bool)
    mask[0, 2:4, 3:6] = True
    a, x = both(mask)
    same(ours.ops.masks_to_boxes(x[:1]), theirs.ops.masks_to_boxes(a[:1]))


@pytest.mark.parametrize("size", [(30, 40), 33, (61, 90)])
@pytest.mark.parametrize("kind", ["pil", "tensor", "bytes"])
def test_resize(theirs, ours, photograph, size, kind):
    images = [photograph, photograph]
    if kind != "pil":
        images = [m.transforms.functional.pil_to_tensor(photograph) for m in (theirs, ours)]
    if kind == "tensor":
        images = [image / 255 for image in images]
    want = theirs.transforms.functional.resize(images[0], size)
    # Bytes are rounded from floats: a value on the edge may fall either way.
    same(ours.transforms.functional.resize(images[1], size), want, 1 if kind == "bytes" else 1e-5)


def test_conversions(theirs, ours, photograph):
    F, G = theirs.transforms.functional, ours.transforms.functional
    same(G.to_tensor(photograph), F.to_tensor(photograph))
    floats = np.float32(photograph)
    same(G.to_tensor(floats), F.to_tensor(floats))
    same(G.pil_to_tensor(photograph), F.pil_to_tensor(photograph))
    same(G.to_pil_image(G.to_tensor(photograph)), F.to_pil_image(F.to_tensor(photograph)))
    with pytest.raises(TypeError):
        G.to_tensor("photograph")


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("center_crop", ([20, 30],)),
        ("center_crop", ([80, 30],)),
        ("crop", (5, 6, 20, 21)),
        ("crop", (-3, 40, 20, 21)),
        ("hflip", ()),
        ("vflip", ()),
        ("pad", ([1, 2, 3, 4],)),
        ("pad", (2, 0, "reflect")),
    ],
)
def test_geometry(theirs, ours, photograph, name, arguments):
    F, G = theirs.transforms.functional, ours.transforms.functional
    same(getattr(G, name)(photograph, *arguments), getattr(F, name)(photograph, *arguments))
    a, x = F.to_tensor(photograph), G.to_tensor(photograph)
    same(getattr(G, name)(x, *arguments), getattr(F, name)(a, *arguments))


def test_a_training_pipeline_draws_the_same_image(theirs, ours, photograph):
    import cupola

    def pipeline(transforms):
        return transforms.Compose(
            [
                transforms.RandomResizedCrop(32),
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(28, padding=2),
                transforms.ToTensor(),
                transforms.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]),
            ]
        )

    first, second = pipeline(theirs.transforms), pipeline(ours.transforms)
    for seed in range(5):
        torch.manual_seed(seed)
        cupola.manual_seed(seed)
        same(second(photograph), first(photograph))


def test_unsupported_names_raise_at_the_call(ours):
    import cupola

    build = ours.datasets.Kinetics
    with pytest.raises(cupola.UnsupportedError, match="Kinetics"):
        build("here", 2)


def test_models_under_torchvisions_names(ours):
    """Modules, classes, functions and enumerations of weights are cupola's own."""
    import importlib

    import cupola.models

    name = "cupola_compat.torchvision.models"
    assert ours.models.resnet50 is cupola.models.resnet50
    resnet = importlib.import_module(f"{name}.resnet")
    assert resnet.Bottleneck is cupola.models.Bottleneck
    fast = importlib.import_module(f"{name}.detection.faster_rcnn")
    assert fast.FastRCNNPredictor is cupola.models.detection.faster_rcnn.FastRCNNPredictor
    getter = importlib.import_module(f"{name}._utils").IntermediateLayerGetter
    assert set(getter(ours.models.resnet18(), {"layer2": "x"})(cupola.zeros(1, 3, 32, 32))) == {"x"}
    assert ours.models.ResNet50_Weights.DEFAULT is cupola.models.ResNet50_Weights.IMAGENET1K_V2
    assert ours.models.detection.SSD300_VGG16_Weights.COCO_V1.name == "COCO_V1"
    with pytest.raises(FileNotFoundError, match="downloads nothing"):
        ours.models.resnet18(weights="DEFAULT")
