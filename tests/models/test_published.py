"""What is published with weights: meta data, and how images are prepared for them."""

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def theirs():
    return harness.torchvision().models


def members(models):
    for name in models.list_models():
        if not name.startswith(("quantized_", "res2net", "resnet26", "resnet38")):
            yield from ((name, member) for member in models.get_model_weights(name))


def test_meta(theirs):
    from cupola import models

    ours = {(name, m.name): m for name, m in members(models)}
    count = 0
    for name, member in members(theirs):
        want = {k: v for k, v in member.meta.items() if k != "_docs" and v is not None}
        got = ours[name, member.name].meta
        assert got.keys() == want.keys(), member
        for key, value in want.items():
            # As text, for there is a metric that is not a number.
            found, value = (list(v) if isinstance(v, tuple) else v for v in (got[key], value))
            assert repr(found) == repr(value), (member, key)
        count += 1
    assert count == len(ours) > 100


def test_every_preset_has_torchvisions_settings(theirs):
    from cupola import models

    ours = {(name, m.name): m for name, m in members(models)}
    for name, member in members(theirs):
        want, got = member.transforms(), ours[name, member.name].transforms()
        assert type(got).__name__ == type(want).__name__
        for key in ("crop_size", "resize_size", "mean", "std"):
            assert getattr(got, key, None) == getattr(want, key, None), (member, key)
        if hasattr(want, "interpolation"):
            assert got.interpolation == want.interpolation.value


IMAGES = [(3, 90, 130), (2, 3, 70, 60)]


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize(
    "member",
    [
        "ResNet50_Weights.IMAGENET1K_V2",
        "EfficientNet_B1_Weights.IMAGENET1K_V1",
        "FCN_ResNet50_Weights.DEFAULT",
        "SSD300_VGG16_Weights.DEFAULT",
    ],
)
def test_preparation_of_tensors(theirs, member, shape, kind):
    import cupola
    from cupola import models

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    image = image if kind == "uint8" else (image / 255).astype(np.float32)
    want = theirs.get_weight(member).transforms()(torch.from_numpy(image))
    got = models.get_weight(member).transforms()(cupola.from_numpy(image))
    assert got.shape == want.shape
    away = np.abs(got.numpy() - want.numpy())
    # A value between two integers may be rounded to either.
    assert np.quantile(away, 0.999) < 1e-4 and away.max() < (0.02 if kind == "uint8" else 1e-4)


def test_preparation_of_pictures_clips_and_pairs(theirs):
    import cupola
    from cupola import models

    image_class = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(1)
    for mode, shape in (("RGB", (200, 310, 3)), ("RGB", (90, 300, 3))):
        picture = image_class.fromarray(rng.integers(0, 256, shape).astype(np.uint8), mode)
        name = "ResNet18_Weights.DEFAULT"
        want = theirs.get_weight(name).transforms()(picture)
        got = models.get_weight(name).transforms()(picture)
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-5)
    small = theirs.get_weight(name).transforms(crop_size=40, resize_size=30)(picture)
    ours = models.get_weight(name).transforms(crop_size=40, resize_size=30)(picture)
    np.testing.assert_allclose(ours.numpy(), small.numpy(), atol=1e-5)
    clip = rng.integers(0, 256, (4, 3, 60, 80)).astype(np.uint8)
    name = "R3D_18_Weights.DEFAULT"
    want = theirs.video.R3D_18_Weights.DEFAULT.transforms()(torch.from_numpy(clip))
    got = models.video.R3D_18_Weights.DEFAULT.transforms()(cupola.from_numpy(clip))
    assert got.shape == want.shape and np.abs(got.numpy() - want.numpy()).max() < 0.02
    pair = [rng.integers(0, 256, (3, 16, 16)).astype(np.uint8) for _ in range(2)]
    want = theirs.optical_flow.Raft_Small_Weights.DEFAULT.transforms()(*map(torch.tensor, pair))
    got = models.optical_flow.Raft_Small_Weights.DEFAULT.transforms()(*map(cupola.tensor, pair))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
    text = repr(models.get_weight("ResNet18_Weights.DEFAULT").transforms())
    assert text.startswith("ImageClassification(\n    crop_size=[224]\n    resize_size=[256]")
