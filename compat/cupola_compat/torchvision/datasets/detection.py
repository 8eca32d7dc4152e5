"""Data sets with boxes and masks: COCO's files, Pascal VOC's folders (torchvision.datasets).

The files have to be there: nothing is downloaded. COCO's are read by the package pycocotools.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cupola_compat.torchvision.datasets.folder import pil_loader
from cupola_compat.torchvision.datasets.vision import VisionDataset


class CocoDetection(VisionDataset):
    """Pictures in a folder, and lists of annotations from a file in COCO's format.

    Raises:
        ModuleNotFoundError: pycocotools is not installed.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        annFile: str,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        transforms: Callable | None = None,
    ) -> None:
        super().__init__(root, transforms, transform, target_transform)
        from pycocotools.coco import COCO

        self.coco = COCO(annFile)
        self.ids = sorted(self.coco.imgs)

    def _load_image(self, id: int) -> Any:
        return pil_loader(os.path.join(self.root, self.coco.loadImgs(id)[0]["file_name"]))

    def _load_target(self, id: int) -> list[Any]:
        return list(self.coco.loadAnns(self.coco.getAnnIds(id)))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not isinstance(index, int):
            raise ValueError(f"Index must be of type integer, got {type(index)} instead.")
        id = self.ids[index]
        return self._changed(self._load_image(id), self._load_target(id))

    def __len__(self) -> int:
        return len(self.ids)


class CocoCaptions(CocoDetection):
    """Pictures and their captions, from a file in COCO's format."""

    def _load_target(self, id: int) -> list[Any]:
        return [annotation["caption"] for annotation in super()._load_target(id)]


class _Voc(VisionDataset):
    """Pictures and files beside them, as ``ImageSets`` lists them.

    Raises:
        ValueError: a year or a part that does not exist.
        RuntimeError: the folder is not there.
    """

    _splits = _targets = _ending = ""

    def __init__(
        self,
        root: str | os.PathLike,
        year: str = "2012",
        image_set: str = "train",
        download: bool = False,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        transforms: Callable | None = None,
    ) -> None:
        super().__init__(root, transforms, transform, target_transform)
        self.year = _one_of(year, "year", [str(y) for y in range(2007, 2013)])
        parts = ["train", "trainval", "val"] + (["test"] if year == "2007" else [])
        self.image_set = _one_of(image_set, "image_set", parts)
        inner = "TrainVal/VOCdevkit" if year == "2011" else "VOCdevkit"
        folder = Path(self.root) / inner / f"VOC{year}"
        if not folder.is_dir():
            raise RuntimeError(
                f"Dataset not found or corrupted: there is no folder {folder}, and cupola "
                "downloads nothing"
            )
        text = (folder / "ImageSets" / self._splits / f"{image_set}.txt").read_text()
        names = [line.strip() for line in text.splitlines()]
        self.images = [str(folder / "JPEGImages" / f"{name}.jpg") for name in names]
        self.targets = [str(folder / self._targets / f"{name}{self._ending}") for name in names]

    def __len__(self) -> int:
        return len(self.images)


def _one_of(value: str, name: str, known: list[str]) -> str:
    if not isinstance(value, str):
        raise ValueError(f"Expected type str for argument {name}, but got type {type(value)}.")
    if value not in known:
        raise ValueError(
            f"Unknown value '{value}' for argument {name}. Valid values are {{{str(known)[1:-1]}}}."
        )
    return value


class VOCSegmentation(_Voc):
    """Pictures and pictures of their classes."""

    _splits, _targets, _ending = "Segmentation", "SegmentationClass", ".png"

    @property
    def masks(self) -> list[str]:
        return self.targets

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from PIL import Image

        return self._changed(pil_loader(self.images[index]), Image.open(self.masks[index]))


class VOCDetection(_Voc):
    """Pictures and their annotations, as dictionaries."""

    _splits, _targets, _ending = "Main", "Annotations", ".xml"

    @property
    def annotations(self) -> list[str]:
        return self.targets

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        root = ElementTree.parse(self.annotations[index]).getroot()
        return self._changed(pil_loader(self.images[index]), self.parse_voc_xml(root))

    @staticmethod
    def parse_voc_xml(node: Any) -> dict[str, Any]:
        """A node's children by name, in a list where there are several, objects always; its text
        where it has no children.
        """
        children = list(node)
        if not children:
            return {node.tag: node.text.strip()} if node.text else {}
        found: dict[str, list[Any]] = {}
        for child in children:
            for name, value in VOCDetection.parse_voc_xml(child).items():
                found.setdefault(name, []).append(value)
        whole = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
        if node.tag == "annotation":
            whole["object"] = found.get("object", [])
        return {node.tag: whole}
