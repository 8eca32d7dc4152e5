"""Transforms print as torchvision's do; padding and resampling give torchvision's bytes."""

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

FIRST = {
    "Resize": lambda v: [v.Resize(20), v.Resize((3, 4), v.InterpolationMode.NEAREST, None, False)],
    "crops": lambda v: [
        v.CenterCrop(3), v.RandomCrop((3, 4), padding=2), v.FiveCrop(3), v.TenCrop(4, True),
        v.RandomResizedCrop(8),
    ],
    "Pad": lambda v: [v.Pad(3), v.Pad((1, 2), 7, "reflect")],
    "gray": lambda v: [v.Grayscale(3), v.RandomGrayscale(0.2)],
    "flips": lambda v: [v.RandomHorizontalFlip(), v.RandomVerticalFlip(0.1)],
    "turns": lambda v: [
        v.RandomRotation(10, center=(1, 2)), v.RandomAffine(3), v.RandomPerspective(),
        v.RandomAffine(3, (0.1, 0.2), interpolation=v.InterpolationMode.BILINEAR, fill=4),
        v.ElasticTransform(),
    ],
    "colours": lambda v: [
        v.RandomPosterize(3), v.RandomSolarize(9, 1.0), v.RandomAdjustSharpness(2),
        v.RandomInvert(),
    ],
    "augment": lambda v: [
        v.AutoAugment(), v.RandAugment(), v.TrivialAugmentWide(), v.AugMix(), v.RandomErasing(),
    ],
    "conversions": lambda v: [v.ToPILImage(), v.ToPILImage("L"), v.ToTensor(), v.Lambda(str)],
    "several": lambda v: [
        v.Compose([v.CenterCrop(3)]), v.RandomApply([v.CenterCrop(3)]),
        v.RandomOrder([v.CenterCrop(3)]), v.RandomChoice([v.CenterCrop(3)]),
    ],
}  # fmt: skip
SECOND = {
    "crop": lambda v: [v.RandomCrop(3, padding=1, fill=2)],
    "turns": lambda v: [v.RandomRotation(10, center=(1, 2)), v.RandomAffine(3, shear=2, fill=1)],
    "sizes": lambda v: [v.ScaleJitter((4, 5)), v.RandomShortestSize(4), v.RandomResize(2, 3)],
    "places": lambda v: [v.SanitizeBoundingBoxes(), v.RandomErasing()],
    "several": lambda v: [v.RandomOrder([v.Identity()]), v.RandomChoice([v.Identity()])],
}


@pytest.fixture(scope="module")
def sides():
    import cupola
    from cupola_compat.torchvision import transforms as ours

    harness.torchvision()
    from torchvision import transforms as theirs
    from torchvision.transforms import v2  # noqa: F401

    return (cupola, ours), (torch, theirs)


@pytest.mark.parametrize("name", FIRST)
def test_the_first_interface_prints(sides, name):
    got, want = ([repr(t) for t in FIRST[name](v)] for _, v in sides)
    assert got == want


@pytest.mark.parametrize("name", SECOND)
def test_the_second_interface_prints(sides, name):
    got, want = ([repr(t) for t in SECOND[name](v.v2)] for _, v in sides)
    assert got == want


def picture(mode="RGB"):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (21, 18, 3)).astype("uint8")).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("kind", ["constant", "edge", "reflect", "symmetric"])
def test_padding_of_pictures(sides, mode, kind):
    got, want = (v.Pad((1, 2, 3, 4), 7, kind)(picture(mode)) for _, v in sides)
    assert got.mode == want.mode and got.getpalette() == want.getpalette()
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_padding_that_cuts_and_mirrors(sides):
    got, want = (np.asarray(v.Pad((-2, 1, 3, -1), 0, "edge")(picture())) for _, v in sides)
    np.testing.assert_array_equal(got, want)
    got, want = (
        v.Pad((4, 2), 0, "symmetric")(m.from_numpy(np.array(picture())).permute(2, 0, 1)).numpy()
        for m, v in sides
    )
    np.testing.assert_array_equal(got, want)


def test_what_is_not_a_tensor_is_refused(sides):
    for transform in (
        lambda m, v: v.Normalize([0.5], [0.5])(picture()),
        lambda m, v: v.ConvertImageDtype(m.float32)(picture()),
        lambda m, v: v.PILToTensor()(m.zeros(3, 4, 4)),
        lambda m, v: v.ToPILImage()(picture()),
    ):
        for side in sides:
            with pytest.raises(TypeError):
                transform(*side)
    assert sides[0][1].v2.ConvertImageDtype()(picture()).size == (18, 21)


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [9, (30, 11), (21, 40)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_bytes_are_resampled_as_bytes(sides, how, size, channels):
    if "AVX2" not in torch.backends.cpu.get_cpu_capability() and how == "bilinear":
        pytest.skip("torchvision takes torch's kernel for bytes where there is AVX2")
    array = np.random.default_rng(1).integers(0, 256, (2, channels, 21, 18)).astype("uint8")
    got, want = (
        v.v2.functional.resize(m.from_numpy(array), size, v.InterpolationMode(how)).numpy()
        for m, v in sides
    )
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "lanczos"])
def test_interpolating_bytes(sides, how):
    array = np.random.default_rng(2).integers(0, 256, (2, 3, 9, 7)).astype("uint8")
    for antialias in (True, False) if how != "lanczos" else (True,):
        for align in (True, False) if how != "lanczos" else (False,):
            for size in ((5, 4), (20, 15), (9, 3)):
                options = {"mode": how, "antialias": antialias, "align_corners": align}
                got, want = (
                    m.nn.functional.interpolate(m.from_numpy(array), size, **options).numpy()
                    for m, _ in sides
                )
                np.testing.assert_array_equal(got, want, err_msg=str(options))


def test_lanczos_of_floats_and_what_cannot_be_interpolated(sides):
    array = np.random.default_rng(3).random((1, 3, 9, 7)).astype("float32")
    for size in ((5, 4), (20, 15)):
        got, want = (
            m.nn.functional.interpolate(
                m.from_numpy(array), size, mode="lanczos", antialias=True
            ).numpy()
            for m, _ in sides
        )
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    for m, v in sides:
        interpolate = m.nn.functional.interpolate
        with pytest.raises(ValueError, match="requires antialias"):
            interpolate(m.zeros(1, 1, 4, 4), (2, 2), mode="lanczos")
        with pytest.raises(ValueError, match="LANCZOS requires antialias"):
            v.v2.Resize(3, v.InterpolationMode.LANCZOS, antialias=False)(m.zeros(3, 6, 6))
        for dtype in (m.int8, m.int64, m.bool):
            with pytest.raises(NotImplementedError, match="not implemented for"):
                interpolate(m.zeros(1, 1, 4, 4, dtype=dtype), (2, 2), mode="bilinear")
