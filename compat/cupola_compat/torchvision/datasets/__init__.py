"""Data sets that read local files; of the others the names import."""

from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.datasets.detection import (
    CocoCaptions,
    CocoDetection,
    VOCDetection,
    VOCSegmentation,
)
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
from cupola_compat.torchvision.datasets.wrapping import wrap_dataset_for_transforms_v2

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "KMNIST",
    "MNIST",
    "CocoCaptions",
    "CocoDetection",
    "DatasetFolder",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
    "VOCDetection",
    "VOCSegmentation",
    "VisionDataset",
    "wrap_dataset_for_transforms_v2",
]

__getattr__ = module_getattr(
    "datasets", "this data set is not there; read its files with cupola.utils.data.Dataset"
)
