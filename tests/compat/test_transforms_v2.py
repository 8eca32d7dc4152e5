"""The second interface of transforms gives what torchvision's gives, on images and tensors."""

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def sides():
    import cupola
    from cupola_compat.torchvision.transforms import v2 as ours

    harness.torchvision()
    from torchvision.transforms import v2 as theirs

    return (cupola, ours), (torch, theirs)


PIPELINES = {
    "to image and back": lambda m, v: v.Compose([v.ToImage(), v.ToDtype(m.float32, scale=True)]),
    "no scale": lambda m, v: v.Compose([v.ToImage(), v.ToDtype(m.float32)]),
    "a classifier's": lambda m, v: v.Compose(
        [v.Resize(16), v.CenterCrop(12), v.ToImage(), v.ToDtype(m.float32, scale=True),
         v.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), v.Identity()]
    ),
    "functions": lambda m, v: lambda image: v.functional.normalize(
        v.functional.to_dtype(
            v.functional.pad(v.functional.to_image(image), [1, 2]), m.float32, scale=True
        ),
        [0.5, 0.5, 0.5], [0.5, 0.5, 0.5],
    ),
    "flips": lambda m, v: lambda image: v.functional.vertical_flip(
        v.functional.horizontal_flip(v.functional.to_image(image))
    ),
    "size": lambda m, v: lambda image: m.tensor(v.functional.get_size(image)),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines(sides, name):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (20, 18, 3)).astype("uint8"))
    got, want = (np.asarray(PIPELINES[name](*side)(image)) for side in sides)
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_what_is_not_there_imports():
    import cupola
    from cupola_compat.torchvision.datasets import Kinetics

    with pytest.raises(cupola.UnsupportedError):
        Kinetics("here", 2)
