"""Data sets in files of their own formats: MNIST and its kin, CIFAR, and made-up images.

The files have to be there: nothing is downloaded.
"""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cupola
from cupola import Tensor
from cupola_compat.torchvision.datasets.vision import VisionDataset

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _missing(folder: Path) -> RuntimeError:
    return RuntimeError(
        f"Dataset not found in {folder}. Put its files there: cupola downloads nothing"
    )


def read_sn3_pascalvincent_tensor(path: str | os.PathLike, strict: bool = True) -> Tensor:
    """A tensor from a file of MNIST's idx format, compressed or not.

    Raises:
        ValueError: the file is not one, or ends early.
    """
    opener = gzip.open if os.fspath(path).endswith(".gz") else open
    with opener(path, "rb") as file:
        data = file.read()
    kind, dims = data[2], data[3]
    if data[:2] != b"\0\0" or kind not in _IDX_TYPES or not 1 <= dims <= 3:
        raise ValueError(f"{path} is not an idx file")
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
    dtype = np.dtype(_IDX_TYPES[kind])
    array = np.frombuffer(data, dtype, offset=4 + 4 * dims)
    if strict and array.size != int(np.prod(shape)):
        raise ValueError(f"{path} has {array.size} values where {shape} are declared")
    return cupola.from_numpy(array.astype(dtype.newbyteorder("=")).reshape(shape))


class MNIST(VisionDataset):
    """Digits of 28 x 28 pixels, from ``root``/MNIST/raw.

    Raises:
        RuntimeError: the files are not there.
    """

    classes = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six",
        "7 - seven", "8 - eight", "9 - nine",
    ]  # fmt: skip
    _prefix = {True: "train", False: "t10k"}

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self.data = read_sn3_pascalvincent_tensor(self._file("images-idx3-ubyte"))
        self.targets = read_sn3_pascalvincent_tensor(self._file("labels-idx1-ubyte")).long()

    @property
    def raw_folder(self) -> str:
        """Where the files are."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: i for i, name in enumerate(self.classes)}

    def _file(self, kind: str) -> Path:
        for ending in ("", ".gz"):
            path = Path(self.raw_folder, f"{self._prefix[self.train]}-{kind}{ending}")
            if path.is_file():
                return path
        raise _missing(Path(self.raw_folder))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from PIL import Image

        return self._finish(Image.fromarray(self.data[index].numpy()), int(self.targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """Clothes, in MNIST's form, from ``root``/FashionMNIST/raw."""

    classes = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """Japanese characters, in MNIST's form, from ``root``/KMNIST/raw."""

    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


class _Arrays(pickle.Unpickler):
    """Reads CIFAR's batches, which hold NumPy arrays and plain data; it calls nothing else."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    }  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which is not data")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


class CIFAR10(VisionDataset):
    """Photographs of 32 x 32 pixels in ten classes, from ``root``/cifar-10-batches-py.

    Raises:
        RuntimeError: the files are not there.
    """

    base_folder = "cifar-10-batches-py"
    _files = {True: [f"data_batch_{i}" for i in range(1, 6)], False: ["test_batch"]}
    _meta = ("batches.meta", "label_names")

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        rows, self.targets = [], []
        for name in self._files[train]:
            batch = self._read(name)
            rows.append(batch["data"])
            self.targets += batch.get("labels", batch.get("fine_labels"))
        self.data = np.vstack(rows).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.classes = self._read(self._meta[0])[self._meta[1]]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _read(self, name: str) -> dict[str, Any]:
        path = Path(self.root, self.base_folder, name)
        if not path.is_file():
            raise _missing(path.parent)
        with path.open("rb") as file:
            found: dict[str, Any] = _Arrays(file, encoding="latin1").load()
        return found

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from PIL import Image

        return self._finish(Image.fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """Photographs of 32 x 32 pixels in a hundred classes, from ``root``/cifar-100-python."""

    base_folder = "cifar-100-python"
    _files = {True: ["train"], False: ["test"]}
    _meta = ("meta", "fine_label_names")


class FakeData(VisionDataset):
    """Random images, made when they are asked for; the same index gives the same image."""

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(None, transform=transform, target_transform=target_transform)
        self.size = size
        self.num_classes = num_classes
        self.image_size = image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from cupola_compat.torchvision.transforms.functional import to_pil_image

        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        before = cupola.random.get_rng_state()
        cupola.manual_seed(index + self.random_offset)
        image = cupola.randn(*self.image_size)
        target = cupola.randint(0, self.num_classes, size=(1,))[0]
        cupola.random.set_rng_state(before)
        return self._finish(to_pil_image(image), int(target))

    def __len__(self) -> int:
        return self.size
