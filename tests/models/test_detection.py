"""The parts of detectors compute what torchvision's compute: coders, matchers, anchors, losses."""

import importlib

import numpy as np
import pytest

import cupola
import harness
import zoo

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def reference():
    harness.torchvision()


def module(name):
    """The module of that name on both sides."""
    return [
        importlib.import_module(f"{root}.models.detection.{name}")
        for root in ("torchvision", "cupola")
    ]


def boxes(count, side=100.0):
    low = RNG.random((count, 2)) * side
    return np.concatenate([low, low + RNG.random((count, 2)) * side + 1], 1).astype(np.float32)


def same(first, second, tolerance=1e-5):
    first, second = zoo.flat(first), zoo.flat(second)
    assert len(first) == len(second)
    for want, got in zip(first, second):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def given(*arrays):
    """The arrays as tensors of both sides."""
    return [[lib.from_numpy(np.array(a)) for a in arrays] for lib in (torch, cupola)]


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_box_coder(weights):
    codes = RNG.standard_normal((5, 12)).astype(np.float32)
    found = []
    for side, (a, b, c) in zip(module("_utils"), given(boxes(5), boxes(5), codes)):
        coder = side.BoxCoder(weights)
        found.append([coder.encode([a[:2], a[2:]], [b[:2], b[2:]]), coder.decode(c, [b])])
    same(*found, 1e-4)


@pytest.mark.parametrize("scaled", [True, False])
def test_box_linear_coder(scaled):
    codes = RNG.random((5, 4)).astype(np.float32)
    found = []
    for side, (a, b, c) in zip(module("_utils"), given(boxes(5), boxes(5), codes)):
        coder = side.BoxLinearCoder(scaled)
        found.append([coder.encode(a, b), coder.decode(c, a)])
    same(*found, 1e-4)


@pytest.mark.parametrize("low_quality", [True, False])
def test_matchers(low_quality):
    quality = RNG.random((4, 30)).astype(np.float32).round(2)
    found = []
    for side, (q,) in zip(module("_utils"), given(quality)):
        found.append([side.Matcher(0.8, 0.5, low_quality)(q), side.SSDMatcher(0.7)(q)])
    same(*found, 0)


def test_sampler_draws_the_same():
    labels = RNG.integers(-1, 3, (2, 50)).astype(np.float32)
    found = []
    for lib, side, (a,) in zip((torch, cupola), module("_utils"), given(labels)):
        lib.manual_seed(4)
        sampler = side.BalancedPositiveNegativeSampler(20, 0.5)
        found.append([[m.int() for m in masks] for masks in sampler([a[0], a[1]])])
    same(*found, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_anchors(dtype):
    found = []
    for lib, side, lists in zip((torch, cupola), module("anchor_utils"), module("image_list")):
        kind = getattr(lib, dtype)
        levels = [lib.zeros(2, 1, n, n + 1, dtype=kind) for n in (12, 6)]
        images = lists.ImageList(lib.zeros(2, 3, 96, 104, dtype=kind), [(96, 100), (90, 104)])
        plain = side.AnchorGenerator(((32, 48), (64, 90)), ((0.5, 1.0, 2.0),) * 2)
        steps = side.DefaultBoxGenerator([[2], [2, 3]], steps=[8, 16], scales=[0.1, 0.3, 0.6])
        even = side.DefaultBoxGenerator([[2], [2, 3]], clip=False)
        found.append([make(images, levels) for make in (plain, steps, even)])
        found[-1].append([lib.tensor(plain.num_anchors_per_location())])
    same(*found, 1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_transform(training):
    found = []
    images, targets = zoo.scenes("float32")
    for lib, side in zip((torch, cupola), module("transform")):
        lib.manual_seed(1)
        make = side.GeneralizedRCNNTransform((60, 80, 100), 120, [0.5] * 3, [0.2, 0.3, 0.4])
        batch, fitting = make.train(training)(
            zoo.moved(lib, images, "cpu"), zoo.moved(lib, targets, "cpu")
        )
        sizes = lib.tensor([list(size) for size in batch.image_sizes])
        found.append([batch.tensors, sizes, fitting])
    same(*found, 1e-4)


def test_masks_are_pasted_where_their_boxes_are():
    rows = np.array([[5.2, 3.1, 20.7, 18.4], [-4.0, -3.0, 8.0, 9.0], [30.0, 20.0, 48.0, 39.0]])
    masks = RNG.random((3, 1, 7, 7)).astype(np.float32)
    theirs = importlib.import_module("torchvision.models.detection.roi_heads")
    ours = module("transform")[1]
    (a, b), (x, y) = given(masks, rows.astype(np.float32))
    same(theirs.paste_masks_in_image(a, b, (32, 40)), ours.paste_masks_in_image(x, y, (32, 40)))


def test_keypoints():
    theirs, ours = module("roi_heads")
    maps = RNG.standard_normal((3, 4, 7, 7)).astype(np.float32)
    points = np.concatenate([RNG.random((2, 4, 2)) * 90, RNG.integers(0, 2, (2, 4, 1))], 2)
    index = np.array([0, 1, 1])
    (m, b, p, i), (x, y, z, j) = given(maps, boxes(3), points.astype(np.float32), index)
    same(theirs.heatmaps_to_keypoints(m, b), ours.keypoints_of(x, y), 1e-4)
    same(theirs.keypointrcnn_loss(m, [b], [p], [i]), ours.keypoint_loss(x, [y], [z], [j]), 1e-4)


def test_wrong_targets_are_refused():
    from cupola.models import detection

    with zoo.undrawn():
        model = detection.ssdlite320_mobilenet_v3_large(num_classes=3)
    images = [cupola.zeros(3, 20, 20)]
    with pytest.raises(AssertionError, match="targets should not be none"):
        model.train()(images)
    flat = {"boxes": cupola.tensor([[1.0, 1, 1, 5]]), "labels": cupola.tensor([1])}
    with pytest.raises(AssertionError, match="positive height and width"):
        model(images, [flat])
