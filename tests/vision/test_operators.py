"""cupola.vision gives torchvision's results: its compiled operators' as recorded, the rest live."""

import inspect

import numpy as np
import pytest

import cupola
import harness
import vision_samples as samples
from cupola import vision

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def theirs():
    return harness.torchvision().ops


def close(got, want, tolerance=1e-5):
    got, want = harness.to_numpy(got), harness.to_numpy(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", samples.CASES)
def test_compiled_operators(name):
    recorded = np.load(samples.RECORDED)
    for number, got in enumerate(samples.run(cupola, vision, samples.CASES[name])):
        want = recorded[f"{name}/{number}"]
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=f"{name}/{number}")


@pytest.mark.parametrize("name", [name for name in samples.CASES if name.startswith("roi_align")])
def test_the_stand_in_for_the_compiled_operator(theirs, name):
    """The detectors' comparison uses it where torchvision's compiled operators are missing."""
    recorded = np.load(samples.RECORDED)
    for number, got in enumerate(samples.run(torch, theirs, samples.CASES[name])):
        want = recorded[f"{name}/{number}"]
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=f"{name}/{number}")


def test_regions_of_a_list_and_in_pieces(monkeypatch):
    """Boxes by image, and few regions at a time, give what rows give at once."""
    from cupola.vision import roi

    _, (image, rows), kwargs = samples.CASES["roi_align"]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    x = cupola.from_numpy(image)
    whole = vision.roi_align(x, cupola.from_numpy(rows), **kwargs)
    lists = [cupola.from_numpy(rows[rows[:, 0] == i, 1:].copy()) for i in range(2)]
    close(vision.roi_align(x, lists, **kwargs), whole, 0)
    monkeypatch.setattr(roi, "ELEMENTS", 1000)
    close(vision.roi_align(x, cupola.from_numpy(rows), **kwargs), whole, 1e-6)
    with pytest.raises(AssertionError):
        vision.roi_align(x, lists[0], 2)
    none = vision.roi_align(x, cupola.zeros(0, 5), 2)
    assert none.shape == (0, 3, 2, 2)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    "name",
    ["generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss"],
)
def test_losses_of_boxes(theirs, name, reduction):
    rng = np.random.default_rng(0)
    low = rng.random((2, 9, 2)) * 20
    pairs = np.concatenate([low, low + rng.random((2, 9, 2)) * 15 + 1], -1).astype(np.float32)
    found = []
    for lib, operators in ((torch, theirs), (cupola, vision)):
        a, b = (lib.from_numpy(p.copy()).requires_grad_() for p in pairs)
        loss = getattr(operators, name)(a, b, reduction=reduction)
        loss.sum().backward()
        found.append([loss, a.grad, b.grad])
    for got, want in zip(found[1], found[0]):
        close(got, want)


@pytest.mark.parametrize("alpha, gamma", [(0.25, 2), (-1, 2), (0.6, 1.5)])
def test_focal_loss(theirs, alpha, gamma):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((5, 4)).astype(np.float32)
    targets = rng.integers(0, 2, (5, 4)).astype(np.float32)
    found = []
    for lib, operators in ((torch, theirs), (cupola, vision)):
        x = lib.from_numpy(logits.copy()).requires_grad_()
        loss = operators.sigmoid_focal_loss(x, lib.from_numpy(targets), alpha, gamma, "mean")
        loss.backward()
        found.append([loss, x.grad])
    for got, want in zip(found[1], found[0]):
        close(got, want)
    with pytest.raises(ValueError, match="alpha"):
        vision.sigmoid_focal_loss(x, x, alpha=3)


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_stochastic_depth_and_drop_block_draw_the_same(theirs, mode):
    x = np.ones((6, 2, 9, 9), np.float32)
    for name, arguments in (
        ("stochastic_depth", (0.4, mode)),
        ("drop_block2d", (0.3, 3)),
    ):
        torch.manual_seed(3)
        cupola.manual_seed(3)
        want = getattr(theirs, name)(torch.from_numpy(x), *arguments)
        close(getattr(vision, name)(cupola.from_numpy(x), *arguments), want)


def test_pyramid_and_its_regions(theirs):
    rng = np.random.default_rng(0)
    levels = {
        str(i): rng.standard_normal((2, 4 + i, 32 >> i, 40 >> i)).astype(np.float32)
        for i in range(3)
    }
    boxes = np.abs(rng.standard_normal((2, 5, 4))).astype(np.float32) * 20
    boxes[..., 2:] += boxes[..., :2] + np.array([1, 10, 50, 90, 120], np.float32)[:, None]
    found = []
    for lib, operators in ((torch, theirs), (cupola, vision)):
        lib.manual_seed(0)
        extra = "torchvision.ops" if lib is torch else "cupola.vision"
        module = "feature_pyramid_network" if lib is torch else "pyramid"
        pool = __import__(f"{extra}.{module}", fromlist=["x"]).LastLevelMaxPool()
        net = operators.FeaturePyramidNetwork([4, 5, 6], 8, pool)
        out = net({k: lib.from_numpy(v) for k, v in levels.items()})
        align = operators.MultiScaleRoIAlign(["0", "1", "2"], 3, 2)
        found.append([out, align, [lib.from_numpy(b) for b in boxes]])
    assert list(found[0][0]) == list(found[1][0]) == ["0", "1", "2", "pool"]
    for name, want in found[0][0].items():
        close(found[1][0][name], want)
    assert repr(found[0][1]) == repr(found[1][1])
    # torchvision's regions need its compiled operator: levels are compared, regions one by one.
    out, align, lists = found[1]
    got = align(out, lists, [(128, 160), (100, 120)])
    mapper = found[0][1]
    scales, levels_of = __import__("torchvision.ops.poolers", fromlist=["x"])._setup_scales(
        [found[0][0][n] for n in "012"], [(128, 160), (100, 120)], 224, 4
    )
    assert mapper is not None and align.scales == scales
    chosen = levels_of(found[0][2]).numpy()
    for row in range(10):
        image, level = row // 5, int(chosen[row])
        one = [cupola.from_numpy(boxes[i][row % 5 :][:1] if i == image else boxes[i][:0])
               for i in range(2)]  # fmt: skip
        want = vision.roi_align(out[str(level)], one, 3, scales[level], 2)
        close(got[row : row + 1], want, 1e-6)


def test_blocks_have_torchvisions_arguments(theirs):
    for name in vision.__all__:
        want = inspect.signature(getattr(theirs, name))
        got = inspect.signature(getattr(vision, name))
        assert list(got.parameters) == list(want.parameters), name
        for ours, original in zip(got.parameters.values(), want.parameters.values()):
            kinds = (bool, int, float, str, type(None))
            if isinstance(original.default, kinds) or original.default is inspect.Parameter.empty:
                assert ours.default == original.default, f"{name}: {ours.name}"


def test_frozen_normalisation_and_deformable_layer(theirs):
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 4)).astype(np.float32)
    ours, original = vision.FrozenBatchNorm2d(5), theirs.FrozenBatchNorm2d(5)
    original.running_mean += 0.5
    harness.copy_weights(original, ours)
    close(ours(cupola.from_numpy(x)), original(torch.from_numpy(x)))
    assert repr(ours) == repr(original)
    torch.manual_seed(0)
    cupola.manual_seed(0)
    first = theirs.DeformConv2d(4, 6, 3, padding=1, groups=2)
    second = vision.DeformConv2d(4, 6, 3, padding=1, groups=2)
    assert repr(second) == repr(first)
    close(second.weight, first.weight, 0)
    close(second.bias, first.bias, 0)


@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
@pytest.mark.parametrize("count", [(4,), (2, 3), (0,)])
def test_rotated_boxes(theirs, kind, count):
    rng = np.random.default_rng(2)
    start = (rng.random((*count, 5)) * [50, 50, 40, 40, 180] + 1).astype(kind)
    names = ("xywhr", "cxcywhr", "xyxyxyxy")
    given = {name: theirs.box_convert(torch.from_numpy(start), "xywhr", name) for name in names}
    for first in names:
        for second in names:
            boxes = harness.to_numpy(given[first]).copy()
            found = []
            for lib, operators in ((torch, theirs), (cupola, vision)):
                x = lib.from_numpy(boxes)
                x = x.requires_grad_() if kind.startswith("float") else x
                out = operators.box_convert(x, first, second)
                found.append([out])
                if x.requires_grad:
                    (out * out.detach().cos()).sum().backward()
                    found[-1].append(x.grad)
            for got, want in zip(found[1], found[0], strict=True):
                assert str(got.dtype) == str(want.dtype)
                close(got, want, 1e-4)
    with pytest.raises(NotImplementedError):
        vision.box_convert(cupola.ones(2, 5), "xywhr", "xyxy")
