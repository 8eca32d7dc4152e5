"""Data sets that read local files give what torchvision's give."""

import gzip
import pickle
import re

import numpy as np
import pytest

import harness

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def theirs():
    return harness.torchvision().datasets


@pytest.fixture(scope="module")
def ours():
    from cupola_compat.torchvision import datasets

    return datasets


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for (x, a), (y, b) in zip(ours, theirs):
        assert a == b
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    assert ours.classes == theirs.classes and ours.class_to_idx == theirs.class_to_idx


def test_image_folder(tmp_path, ours, theirs):
    rng = np.random.default_rng(0)
    for name in ("b/x.png", "b/deep/y.PNG", "a/z.bmp", "a/note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("no image")
        else:
            Image.fromarray(rng.integers(0, 256, (5, 4, 3)).astype("uint8")).save(path)
    mine, other = ours.ImageFolder(str(tmp_path)), theirs.ImageFolder(str(tmp_path))
    same(mine, other)
    assert mine.samples == other.samples and mine.targets == other.targets
    double = ours.ImageFolder(str(tmp_path), transform=lambda i: i.size, target_transform=str)
    assert double[0] == ((4, 5), "0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="classes empty"):
        ours.ImageFolder(str(tmp_path))


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_mnist(tmp_path, ours, theirs, name):
    rng = np.random.default_rng(0)
    raw = tmp_path / name / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        images = rng.integers(0, 256, (7, 28, 28)).astype("uint8")
        (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(rng.integers(0, 10, 7).astype("u1")))
    for train in (True, False):
        same(getattr(ours, name)(tmp_path, train), getattr(theirs, name)(tmp_path, train))
    for path in list(raw.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert len(getattr(ours, name)(tmp_path)) == 7


def test_cifar(tmp_path, ours, theirs, monkeypatch):
    rng = np.random.default_rng(0)
    home = tmp_path / "cifar-10-batches-py"
    home.mkdir()
    for file in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        batch = {"data": rng.integers(0, 256, (3, 3072)).astype("uint8"), "labels": [1, 0, 1]}
        (home / file).write_bytes(pickle.dumps(batch, 2))
    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}, 2))
    monkeypatch.setattr(theirs.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(theirs.cifar, "check_integrity", lambda *a: True)
    for train in (True, False):
        same(ours.CIFAR10(tmp_path, train), theirs.CIFAR10(tmp_path, train))
    (home / "test_batch").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(pickle.UnpicklingError, match="os.system|posix.system"):
        ours.CIFAR10(tmp_path, train=False)


def test_fake_data(ours, theirs):
    options = {"size": 3, "image_size": (3, 6, 5), "num_classes": 4, "random_offset": 2}
    for (x, a), (y, b) in zip(
        [ours.FakeData(**options)[i] for i in range(3)],
        [theirs.FakeData(**options)[i] for i in range(3)],
    ):
        assert a == b
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_nothing_is_downloaded(tmp_path, ours):
    with pytest.raises(RuntimeError, match=re.escape("downloads nothing")):
        ours.MNIST(tmp_path, download=True)
