"""Data sets whose samples the second interface of transforms understands."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import cupola
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.datasets.detection import (
    CocoCaptions,
    CocoDetection,
    VOCDetection,
    VOCSegmentation,
)
from cupola_compat.torchvision.datasets.files import CIFAR10, CIFAR100, MNIST, FashionMNIST
from cupola_compat.torchvision.datasets.folder import DatasetFolder, ImageFolder
from cupola_compat.torchvision.datasets.vision import VisionDataset

_AS_IT_IS = (
    CIFAR10, CIFAR100, MNIST, FashionMNIST, DatasetFolder, ImageFolder, CocoCaptions,
)  # fmt: skip
_NATIVE = {
    CocoDetection: {"segmentation", "area", "iscrowd", "image_id", "bbox", "category_id"},
    VOCDetection: {"annotation"},
}
_ADDED = {CocoDetection: {"boxes", "masks", "labels"}, VOCDetection: {"boxes", "labels"}}
_DEFAULT = {CocoDetection: {"image_id", "boxes", "labels"}, VOCDetection: {"boxes", "labels"}}
VOC_CLASSES = (
    "__background__ aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor"
).split()


def wrap_dataset_for_transforms_v2(
    dataset: VisionDataset, target_keys: Collection[str] | str | None = None
) -> Any:
    """The data set with boxes and masks as such, before its transforms see them.

    Args:
        dataset: a data set that is known here; it loses its transforms to the wrapper.
        target_keys: what of a target to give, "all", or what is needed for detection.

    Raises:
        ValueError: keys that are no strings, that there are not, or for a data set without.
        TypeError: no data set of images, or one whose samples nobody knows.
    """
    keys = target_keys
    listed = isinstance(keys, Collection) and all(isinstance(key, str) for key in keys)
    if not (keys is None or keys == "all" or listed):
        raise ValueError(
            "`target_keys` can be None, 'all', or a collection of strings denoting the keys to be "
            f"returned, but got {keys}"
        )
    name = type(dataset).__name__
    if not isinstance(dataset, VisionDataset):
        raise TypeError(
            "This wrapper is meant for subclasses of `torchvision.datasets.VisionDataset`, but got "
            f"a '{name}' instead."
        )
    return type(f"Wrapped{name}", (_Wrapped, type(dataset)), {})(dataset, target_keys)


class _Wrapped:
    """A data set's samples in tensors of their kinds; all else is the data set's."""

    def __init__(self, dataset: Any, target_keys: Any) -> None:
        self._dataset, self._target_keys = dataset, target_keys
        self._wrapper = _wrapper_of(dataset, target_keys)
        for name in ("transform", "target_transform", "transforms"):
            setattr(self, name, getattr(dataset, name))
            setattr(dataset, name, None)

    def __getattr__(self, name: str) -> Any:
        if name == "_dataset":
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __getitem__(self, index: int) -> Any:
        sample = self._wrapper(index, self._dataset[index])
        return sample if self.transforms is None else self.transforms(*sample)

    def __len__(self) -> int:
        return len(self._dataset)

    def __reduce__(self) -> tuple[Any, ...]:
        dataset = copy.copy(self._dataset)
        for name in ("transform", "target_transform", "transforms"):
            setattr(dataset, name, getattr(self, name))
        return wrap_dataset_for_transforms_v2, (dataset, self._target_keys)


def _wrapper_of(dataset: Any, target_keys: Any) -> Callable[[int, Any], Any]:
    for known in type(dataset).__mro__:
        if known in _NATIVE:
            keys = _keys(known, target_keys)
            make = _coco if known is CocoDetection else _voc
            return lambda index, sample: make(dataset, keys, index, *sample)
        if known is VOCSegmentation or known in _AS_IT_IS:
            if target_keys is not None:
                raise ValueError(
                    "`target_keys` is currently only supported for `CocoDetection`, "
                    f"`VOCDetection`, `Kitti`, and `WIDERFace`, but got {known.__name__}."
                )
            if known is VOCSegmentation:
                return lambda index, sample: (sample[0], tv_tensors.Mask(sample[1]))
            return lambda index, sample: sample
    raise TypeError(
        f"No wrapper exists for dataset class {type(dataset).__name__}. "
        "Please wrap the output yourself."
    )


def _keys(known: type, wanted: Any) -> set[str]:
    available = _NATIVE[known] | _ADDED[known]
    keys = available if wanted == "all" else set(_DEFAULT[known] if wanted is None else wanted)
    if keys - available:
        raise ValueError(f"Target keys {sorted(keys - available)} are not available")
    return keys


def _coco(dataset: Any, keys: set[str], index: int, image: Any, found: list[Any]) -> Any:
    id = dataset.ids[index]
    if not found:
        return image, {"image_id": id}
    size = (image.height, image.width)
    columns: dict[str, list[Any]] = {}
    for annotation in found:
        for name, value in annotation.items():
            columns.setdefault(name, []).append(value)
    target: dict[str, Any] = {"image_id": id} if "image_id" in keys else {}
    if "boxes" in keys:
        from cupola_compat.torchvision.transforms.v2.functional import convert_bounding_box_format

        boxes = tv_tensors.BoundingBoxes(columns["bbox"], format="XYWH", canvas_size=size)
        target["boxes"] = convert_bounding_box_format(
            boxes, new_format=tv_tensors.BoundingBoxFormat.XYXY
        )
    if "masks" in keys:
        masks = [_mask(shape, size) for shape in columns["segmentation"]]
        target["masks"] = tv_tensors.Mask(cupola.stack(masks))
    if "labels" in keys:
        target["labels"] = cupola.tensor(columns["category_id"])
    own = keys - {"image_id", *_ADDED[CocoDetection]}
    return image, target | {key: columns[key] for key in own}


def _mask(shape: Any, size: tuple[int, int]) -> cupola.Tensor:
    """A mask (H, W) from COCO's polygons or run lengths."""
    from pycocotools import mask

    if isinstance(shape, dict):
        packed = isinstance(shape["counts"], str)
        runs = shape if packed else mask.frPyObjects(shape, *size)
    elif isinstance(shape, list):
        runs = mask.merge(mask.frPyObjects(shape, *size))
    else:
        raise ValueError(f"COCO segmentation expected to be a dict or a list, got {type(shape)}")
    return cupola.from_numpy(mask.decode(runs))


def _voc(dataset: Any, keys: set[str], index: int, image: Any, found: dict[str, Any]) -> Any:
    objects = found["annotation"]["object"]
    target = found if "annotation" in keys else {}
    if "boxes" in keys:
        sides = ("xmin", "ymin", "xmax", "ymax")
        target["boxes"] = tv_tensors.BoundingBoxes(
            [[int(each["bndbox"][side]) for side in sides] for each in objects],
            format="XYXY", canvas_size=(image.height, image.width),
        )  # fmt: skip
    if "labels" in keys:
        target["labels"] = cupola.tensor([VOC_CLASSES.index(each["name"]) for each in objects])
    return image, target
