"""Transforms of the second interface change samples as torchvision's do: images, videos, masks,
boxes, points and labels together, with the same draws for the same seed.
"""

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")
PIL = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def sides():
    import cupola
    from cupola_compat.torchvision import tv_tensors as our_kinds
    from cupola_compat.torchvision.transforms import v2 as ours

    harness.torchvision()
    from torchvision import tv_tensors as their_kinds
    from torchvision.transforms import v2 as theirs

    return (cupola, ours, our_kinds), (torch, theirs, their_kinds)


TRANSFORMS = {
    "horizontal flip": lambda m, v: v.RandomHorizontalFlip(1.0),
    "vertical flip": lambda m, v: v.RandomVerticalFlip(0.7),
    "resize": lambda m, v: v.Resize((14, 19)),
    "resize the shorter side": lambda m, v: v.Resize(12, max_size=15),
    "resize the longer side": lambda m, v: v.Resize(None, max_size=17),
    "center crop": lambda m, v: v.CenterCrop((9, 30)),
    "resized crop": lambda m, v: v.RandomResizedCrop(11),
    "crop": lambda m, v: v.RandomCrop(13, padding=[1, 2]),
    "crop of what is too small": lambda m, v: v.RandomCrop((26, 20), pad_if_needed=True),
    "pad": lambda m, v: v.Pad([1, 2, 3, 4], fill=7),
    "pad by type": lambda m, v: v.Pad(2, fill={torch_like(v): 3, "others": 1}),
    "zoom out": lambda m, v: v.RandomZoomOut(side_range=(1.0, 2.0), p=0.9),
    "rotation": lambda m, v: v.RandomRotation(40),
    "rotation with room": lambda m, v: v.RandomRotation(40, expand=True),
    "affine": lambda m, v: v.RandomAffine(20, (0.1, 0.2), (0.7, 1.2), (-5, 5, -4, 4)),
    "perspective": lambda m, v: v.RandomPerspective(0.4, p=0.9),
    "elastic": lambda m, v: v.ElasticTransform(20.0, 3.0),
    "scale jitter": lambda m, v: v.ScaleJitter((24, 20), (0.5, 1.5)),
    "shortest size": lambda m, v: v.RandomShortestSize([10, 14, 18], 20),
    "random resize": lambda m, v: v.RandomResize(10, 20),
    "jitter": lambda m, v: v.ColorJitter(0.3, 0.4, 0.5, 0.1),
    "photometric": lambda m, v: v.RandomPhotometricDistort(p=0.8),
    "channels": lambda m, v: v.RandomChannelPermutation(),
    "grayscale": lambda m, v: v.RandomGrayscale(0.8),
    "rgb": lambda m, v: v.Compose([v.Grayscale(), v.RGB()]),
    "invert": lambda m, v: v.RandomInvert(0.8),
    "posterize": lambda m, v: v.RandomPosterize(3, 0.8),
    "solarize": lambda m, v: v.RandomSolarize(0.4, 0.8),
    "equalize": lambda m, v: v.RandomEqualize(0.8),
    "autocontrast": lambda m, v: v.RandomAutocontrast(0.8),
    "sharpness": lambda m, v: v.RandomAdjustSharpness(1.7, 0.8),
    "blur": lambda m, v: v.GaussianBlur(5),
    "choice": lambda m, v: v.RandomChoice([v.Resize(9), v.RandomCrop(8), v.Pad(1)], [1, 2, 1]),
    "order": lambda m, v: v.RandomOrder([v.Resize(16), v.RandomCrop(8), v.Pad(1)]),
    "apply": lambda m, v: v.RandomApply([v.Resize(16), v.RandomCrop(8)], 0.6),
    "to image": lambda m, v: v.Compose([v.ToImage(), v.ToDtype(m.float32, scale=True)]),
}
OF_TENSORS = {
    "noise": lambda m, v: v.GaussianNoise(0.1, 0.2),
    "erasing": lambda m, v: v.RandomErasing(0.9, value="random"),
    "erasing with colors": lambda m, v: v.RandomErasing(0.9, value=(0.1, 0.2, 0.3)),
    "scaled": lambda m, v: v.ToDtype(m.float64, scale=True),
    "scaled to bytes": lambda m, v: v.ToDtype(m.uint8, scale=True),
    "of sixteen bits": lambda m, v: v.ToDtype(m.int16, scale=True),
    "lambda": lambda m, v: v.Lambda(lambda x: x + 1, m.Tensor),
    "pad in a mirror": lambda m, v: v.Pad((3, 4), padding_mode="symmetric"),
    "pad reflected": lambda m, v: v.Pad((3, 4), padding_mode="reflect"),
    "pad with colors": lambda m, v: v.Pad((3, 4), fill=(1, 2, 3)),
}
AUGMENTS = {
    "auto": lambda m, v: v.AutoAugment(),
    "random": lambda m, v: v.RandAugment(),
    "wide": lambda m, v: v.TrivialAugmentWide(),
}


def torch_like(v):
    """The class of boxes that belongs to a module of transforms."""
    return v.ClampBoundingBoxes._transformed_types[0]


def _arrays(value):
    """Nested values as arrays with their classes' names."""
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_arrays(item) for item in value]
    if isinstance(value, (str, type(None))):
        return type(value).__name__, np.zeros(0), value
    if hasattr(value, "canvas_size"):
        size = tuple(int(side) for side in value.canvas_size)
        more = (size, str(getattr(value, "format", "")), getattr(value, "clamping_mode", None))
    else:
        more = ()
    return type(value).__name__, np.asarray(value), more


def _same(got, want, where=""):
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for key in want:
            _same(got[key], want[key], f"{where}.{key}")
    elif isinstance(want, list):
        assert len(got) == len(want)
        for index, pair in enumerate(zip(got, want, strict=True)):
            _same(*pair, f"{where}.{index}")
    else:
        assert got[0] == want[0] and got[2] == want[2], where
        assert got[1].dtype == want[1].dtype and got[1].shape == want[1].shape, where
        if got[1].dtype.kind in "iub":
            np.testing.assert_array_equal(got[1], want[1], err_msg=where)
        else:
            np.testing.assert_allclose(got[1], want[1], rtol=2e-5, atol=2e-5, err_msg=where)


def _compare(sides, build, sample, seeds=range(4)):
    for seed in seeds:
        results = []
        for m, v, kinds in sides:
            transform = build(m, v)
            m.manual_seed(seed)
            results.append(_arrays([transform(sample(m, kinds)), m.rand(1)]))
        _same(*results, f"seed {seed}")


RNG = np.random.default_rng(3)
# Smooth, so that rounding of positions does not choose other values.
_Y, _X = np.mgrid[:24, :22]
PICTURE = np.stack([_Y * 9 + _X, 250 - _X * 7, (_Y + _X) * 4], -1).astype("uint8")
FLOATS = np.ascontiguousarray(PICTURE.transpose(2, 0, 1), "float32") / 255
BOXES = np.array([[2, 3, 12, 15], [8, 1, 20, 9], [5, 10, 9, 22]], "float32")
POINTS = np.array([[[2, 3], [4, 5]], [[11, 12], [20, 1]]], "float32")


def detection(picture):
    def sample(m, kinds):
        boxes = kinds.BoundingBoxes(m.tensor(BOXES), format="XYXY", canvas_size=(24, 22))
        mask = np.stack([_Y > 9, _X > 7, _X > _Y]).astype("uint8")
        target = {
            "boxes": boxes,
            "masks": kinds.Mask(m.tensor(mask)),
            "points": kinds.KeyPoints(m.tensor(POINTS), canvas_size=(24, 22)),
            "labels": m.tensor([1, 2, 3]),
            "name": "a picture",
        }
        return picture(m, kinds), target

    return sample


def image(m, kinds):
    return kinds.Image(m.tensor(FLOATS))


def plain(m, kinds):
    return m.tensor(FLOATS)


def pil(m, kinds):
    return PIL.fromarray(PICTURE)


def video(m, kinds):
    return kinds.Video(m.tensor(np.stack([FLOATS, FLOATS[::-1]])))


@pytest.mark.parametrize("picture", [image, plain, pil], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_detection_samples(sides, name, picture):
    if name == "solarize" and picture is pil:
        pytest.skip("a threshold for floating point")
    _compare(sides, TRANSFORMS[name], detection(picture))


@pytest.mark.parametrize("name", [*TRANSFORMS, *OF_TENSORS])
def test_videos(sides, name):
    if name in ("grayscale", "rgb"):
        pytest.skip("torchvision has no such function for videos")
    build = {**TRANSFORMS, **OF_TENSORS}[name]
    _compare(sides, build, lambda m, kinds: {"video": video(m, kinds), "number": 3})


@pytest.mark.parametrize("name", OF_TENSORS)
def test_tensors(sides, name):
    _compare(sides, OF_TENSORS[name], lambda m, kinds: (plain(m, kinds), m.tensor([1, 2])))
    if name not in ("scaled to bytes", "of sixteen bits"):
        byte = lambda m, kinds: m.tensor(PICTURE.transpose(2, 0, 1).copy())  # noqa: E731
        _compare(sides, OF_TENSORS[name], byte)


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("picture", [image, pil], ids=lambda f: f.__name__)
def test_augments_change_the_one_picture(sides, name, picture):
    _compare(sides, AUGMENTS[name], lambda m, kinds: (picture(m, kinds), 3), range(8))
    for m, v, kinds in sides:
        with pytest.raises(TypeError, match="not supported by"):
            AUGMENTS[name](m, v)(detection(picture)(m, kinds))


def test_pure_tensors_behind_the_first_stay(sides):
    def sample(m, kinds):
        return [m.arange(4), {"b": plain(m, kinds), "a": (plain(m, kinds) + 1, "text", None)}]

    _compare(sides, lambda m, v: v.Lambda(lambda x: x * 2, m.Tensor), sample)
    _compare(sides, lambda m, v: v.RandomCrop(5), lambda m, k: (plain(m, k), plain(m, k)))
    _compare(sides, lambda m, v: v.Pad(1), lambda m, k: (m.arange(3), image(m, k), plain(m, k)))


DETECTION = {
    "crop by overlap": lambda m, v: v.Compose([v.RandomIoUCrop(), v.SanitizeBoundingBoxes()]),
    "without labels": lambda m, v: v.SanitizeBoundingBoxes(7.0, labels_getter=None),
    "points": lambda m, v: v.Compose(
        [v.RandomCrop(14), v.SanitizeKeyPoints(lambda s: s[1]["labels"][:2])]
    ),
    "clamped points": lambda m, v: v.Compose([v.RandomCrop(14), v.ClampKeyPoints()]),
    "unclamped": lambda m, v: v.Compose([v.SetClampingMode(None), v.RandomCrop(14)]),
    "clamped": lambda m, v: v.Compose(
        [v.SetClampingMode(None), v.RandomCrop(14), v.ClampBoundingBoxes("hard")]
    ),
    "pure": lambda m, v: v.ToPureTensor(),
    "dtypes": lambda m, v: v.ToDtype(
        {torch_like(v): m.float64, "others": None}, scale=False
    ),
    "a detector's": lambda m, v: v.Compose(
        [v.ToImage(), v.ToDtype(m.float32, scale=True), v.RandomPhotometricDistort(),
         v.RandomZoomOut(fill=0.4), v.RandomIoUCrop(), v.RandomHorizontalFlip(),
         v.SanitizeBoundingBoxes()]
    ),
}  # fmt: skip


@pytest.mark.parametrize("picture", [image, pil], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", DETECTION)
def test_detection(sides, name, picture):
    _compare(sides, DETECTION[name], detection(picture), range(8))


@pytest.mark.parametrize("kind", ["int64", "float32"])
@pytest.mark.parametrize("old", ["XYXY", "XYWH", "CXCYWH"])
@pytest.mark.parametrize("new", ["XYXY", "XYWH", "CXCYWH"])
def test_formats(sides, old, new, kind):
    values = np.array([[9, 10, 7, 5], [3, 4, 6, 8], [11, 13, 30, 31]], kind)
    for change in ("convert", "clamp", "horizontal", "vertical", "rotate", "resize", "crop"):
        got = []
        for m, v, kinds in sides:
            boxes = kinds.BoundingBoxes(m.tensor(values), format=old, canvas_size=(20, 22))
            f = v.functional
            changes = {
                "convert": lambda b, v=v: v.ConvertBoundingBoxFormat(new)(b),
                "clamp": f.clamp_bounding_boxes,
                "horizontal": f.horizontal_flip,
                "vertical": f.vertical_flip,
                "rotate": lambda b, f=f: f.rotate(b, 30.0, expand=True),
                "resize": lambda b, f=f: f.resize(b, [10, 33]),
                "crop": lambda b, f=f: f.crop(b, 2, 3, 12, 11),
            }
            got.append(_arrays(changes[change](boxes)))
        _same(*got, change)


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixtures_of_batches(sides, name):
    batch = np.random.default_rng(0).random((4, 3, 8, 9)).astype("float32")
    for labels in (np.array([0, 2, 1, 4]), np.eye(5, dtype="float32")[[1, 0, 3, 3]]):

        def sample(m, kinds, labels=labels):
            return kinds.Image(m.tensor(batch)), {"label": m.tensor(labels), "number": 3}

        _compare(sides, lambda m, v: getattr(v, name)(alpha=0.7, num_classes=5), sample, range(6))
        _compare(
            sides,
            lambda m, v: getattr(v, name)(num_classes=5),
            lambda m, kinds, labels=labels: (m.tensor(batch), m.tensor(labels)),
            range(6),
        )
    for m, v, _ in sides:
        with pytest.raises(ValueError, match="num_classes must be passed"):
            getattr(v, name)()(m.tensor(batch), m.tensor([0, 1, 2, 3]))
        with pytest.raises(ValueError, match="batch size of the labels"):
            getattr(v, name)(num_classes=5)(m.tensor(batch), m.tensor([0, 1, 2]))


def test_transforms_of_ones_own(sides):
    def build(m, v):
        class Shift(v.Transform):
            def make_params(self, flat_inputs):
                return {"by": m.rand(1).item(), "count": len(flat_inputs)}

            def transform(self, inpt, params):
                return inpt + params["by"] * params["count"]

        return Shift()

    _compare(sides, build, lambda m, kinds: {"a": plain(m, kinds), "b": m.arange(3)})


def test_kernels_for_kinds_of_ones_own(sides):
    for m, v, kinds in sides:

        class Depth(kinds.TVTensor):
            pass

        @v.functional.register_kernel("vertical_flip", Depth)
        def flipped(inpt):
            return inpt + 1

        depth = m.zeros(2, 2).as_subclass(Depth)
        assert float(v.RandomVerticalFlip(1.0)(depth).sum()) == 4
        assert v.RandomHorizontalFlip(1.0)(depth) is depth
        with pytest.raises(TypeError, match="supports inputs of type"):
            v.functional.horizontal_flip(depth)


def test_kinds_of_tensors(sides):
    import copy
    import pickle

    for m, _, kinds in sides:
        boxes = kinds.BoundingBoxes([1, 2, 3, 4], format="xywh", canvas_size=(5, 6))
        assert type(boxes + 1) is m.Tensor and type(boxes[0]) is m.Tensor
        kept = (boxes.clone(), boxes.to(m.float64), boxes.detach(), copy.deepcopy(boxes))
        for same in (*kept, pickle.loads(pickle.dumps(boxes))):
            assert type(same) is kinds.BoundingBoxes
            assert same.canvas_size == (5, 6) and same.format == kinds.BoundingBoxFormat.XYWH
        with kinds.set_return_type("TVTensor"):
            assert type(boxes + 1) is kinds.BoundingBoxes and (boxes * 2).canvas_size == (5, 6)
        assert type(boxes * 2) is m.Tensor
        assert kinds.wrap(m.zeros(2, 4), like=boxes, canvas_size=(1, 2)).canvas_size == (1, 2)
        assert kinds.Image(m.zeros(2, 3)).shape == (1, 2, 3)
        assert "canvas_size=(5, 6)" in repr(boxes)
        with pytest.raises(ValueError, match="clamping_mode"):
            kinds.BoundingBoxes([1, 2, 3, 4], format="XYXY", canvas_size=(5, 6), clamping_mode="x")


def test_compression_of_pictures(sides):
    _compare(sides, lambda m, v: v.JPEG((20, 90)), pil)
    import cupola
    from cupola_compat.torchvision.transforms import v2

    cupola.manual_seed(0)
    whole = cupola.tensor(PICTURE.transpose(2, 0, 1).copy())
    want = v2.functional.pil_to_tensor(v2.functional.jpeg(PIL.fromarray(PICTURE), 60))
    assert (v2.functional.jpeg(whole, 60) == want).all()


def test_turned_boxes_are_refused(sides):
    import cupola
    from cupola_compat.torchvision import tv_tensors
    from cupola_compat.torchvision.transforms import v2

    boxes = tv_tensors.BoundingBoxes(
        [[1.0, 2.0, 3.0, 4.0, 30.0]], format="CXCYWHR", canvas_size=(9, 9)
    )
    with pytest.raises(cupola.UnsupportedError, match="turned"):
        v2.Resize(4)(boxes)
