"""Data sets with boxes and masks, and their samples for the second interface of transforms."""

import json
import pickle

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>20</xmax><ymax>25</ymax>"
    "</bndbox><part>a</part><part>b</part></object>"
)


@pytest.fixture(scope="module")
def sides():
    import cupola
    from cupola_compat import torchvision as ours

    return (cupola, ours), (torch, harness.torchvision())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sets")
    voc, rng = place / "VOCdevkit/VOC2012", np.random.default_rng(0)
    for name in ("ImageSets/Main", "ImageSets/Segmentation", "JPEGImages", "Annotations",
                 "SegmentationClass"):  # fmt: skip
        (voc / name).mkdir(parents=True)
    for name in ("Main", "Segmentation"):
        (voc / f"ImageSets/{name}/train.txt").write_text("a\nb\n")
    for k, name in enumerate("ab"):
        picture = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype("uint8"))
        picture.save(voc / f"JPEGImages/{name}.jpg")
        picture.save(place / f"{name}.png")
        classes = Image.fromarray(rng.integers(0, 20, (30, 40)).astype("uint8"))
        classes.save(voc / f"SegmentationClass/{name}.png")
        objects = "".join(OBJECT.format(c, 3 + k) for c in ("cat", "tvmonitor")[: k + 1])
        text = f"<annotation>\n <size><width>40</width></size>{objects}</annotation>"
        (voc / f"Annotations/{name}.xml").write_text(text)
    shape = [[5.0, 4.0, 25.0, 4.0, 25.0, 19.0]]
    (place / "coco.json").write_text(json.dumps({
        "images": [{"id": k, "file_name": f"{n}.png"} for k, n in enumerate("aba")],
        "annotations": [
            {"id": k, "image_id": k // 2, "bbox": [5.0 + k, 4, 20, 15], "category_id": k,
             "area": 1.0, "iscrowd": 0, "segmentation": shape, "caption": f"c{k}"}
            for k in range(4)
        ],
        "categories": [{"id": k, "name": str(k)} for k in range(4)],
    }))  # fmt: skip
    return place


def plain(x):
    """What is compared: types' names, values, sizes of pictures."""
    if hasattr(x, "getbands"):
        return x.mode, x.size, np.asarray(x).tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if hasattr(x, "dtype"):
        more = [str(getattr(x, n, "")) for n in ("format", "canvas_size")]
        return type(x).__name__, str(x.dtype), x.tolist(), more
    return x


def both(data):
    return [data[0], data[1]]


PROGRAMS = {
    "detection": lambda v, f: both(v.datasets.VOCDetection(f)),
    "segmentation": lambda v, f: both(v.datasets.VOCSegmentation(f)),
    "wrapped": lambda v, f: both(
        v.datasets.wrap_dataset_for_transforms_v2(v.datasets.VOCDetection(f))
    ),
    "all keys": lambda v, f: both(
        v.datasets.wrap_dataset_for_transforms_v2(v.datasets.VOCDetection(f), "all")
    ),
    "masks": lambda v, f: both(
        v.datasets.wrap_dataset_for_transforms_v2(
            v.datasets.VOCSegmentation(f, transforms=v.transforms.v2.RandomHorizontalFlip(1.0))
        )
    ),
    "pickled": lambda v, f: both(
        pickle.loads(
            pickle.dumps(
                v.datasets.wrap_dataset_for_transforms_v2(
                    v.datasets.VOCDetection(f, transforms=v.transforms.v2.Resize((15, 20)))
                )
            )
        )
    ),
    "printed": lambda v, f: repr(
        v.datasets.VOCDetection(
            f,
            transform=v.transforms.Compose([v.transforms.ToTensor()]),
            target_transform=v.transforms.PILToTensor(),
        )
    ).replace(str(f), ""),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_pascal_voc(sides, folder, name):
    for _, v in sides:
        for each in (v.datasets.VOCDetection, v.datasets.VOCSegmentation):
            assert len(each(folder)) == 2
    got, want = (plain(PROGRAMS[name](v, folder)) for _, v in sides)
    assert got == want


def test_coco(sides, folder):
    pytest.importorskip("pycocotools")
    for options in ({}, {"target_keys": "all"}, {"target_keys": ["masks", "area"]}):
        got, want = (
            [
                plain(wrapped[k])
                for wrapped in [
                    v.datasets.wrap_dataset_for_transforms_v2(
                        v.datasets.CocoDetection(folder, folder / "coco.json"), **options
                    )
                ]
                for k in range(3)
            ]
            for _, v in sides
        )
        assert got == want
    got, want = (plain(v.datasets.CocoCaptions(folder, folder / "coco.json")[0]) for _, v in sides)
    assert got == want


def test_what_cannot_be_wrapped(sides, folder):
    for _, v in sides:
        wrap = v.datasets.wrap_dataset_for_transforms_v2
        with pytest.raises(TypeError, match="No wrapper exists"):
            wrap(v.datasets.FakeData(2))
        with pytest.raises(TypeError, match="subclasses of"):
            wrap([1, 2])
        with pytest.raises(ValueError, match="Target keys"):
            wrap(v.datasets.VOCDetection(folder), ["boxes", "shapes"])
        with pytest.raises(ValueError, match="only supported for"):
            wrap(v.datasets.VOCSegmentation(folder), ["boxes"])
        with pytest.raises(ValueError, match="can be None"):
            wrap(v.datasets.VOCDetection(folder), 3)
        with pytest.raises(ValueError, match="Valid values are"):
            v.datasets.VOCDetection(folder, year="1999")
        with pytest.raises(RuntimeError, match="not found or corrupted"):
            v.datasets.VOCDetection(folder, year="2008")
