"""Data sets that read local files; of the others the names import."""

from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.datasets.files import (
    CIFAR10,
    CIFAR100,
    KMNIST,
    MNIST,
    FakeData,
    FashionMNIST,
)
from cupola_compat.torchvision.datasets.folder import DatasetFolder, ImageFolder
from cupola_compat.torchvision.datasets.vision import VisionDataset

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "KMNIST",
    "MNIST",
    "DatasetFolder",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
    "VisionDataset",
]

__getattr__ = module_getattr(
    "datasets", "this data set is not there; read its files with cupola.utils.data.Dataset"
)
