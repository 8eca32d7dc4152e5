"""What data sets of images have in common (torchvision.datasets.vision)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cupola.utils.data import Dataset


class StandardTransform:
    """Applies one function to the image and another to the target."""

    def __init__(
        self, transform: Callable | None = None, target_transform: Callable | None = None
    ) -> None:
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for head, function in (
            ("Transform: ", self.transform),
            ("Target transform: ", self.target_transform),
        ):
            if function is not None:
                first, *more = repr(function).splitlines()
                lines += [head + first, *(" " * len(head) + line for line in more)]
        return "\n".join(lines)


class VisionDataset(Dataset):
    """Base of the data sets: a folder and the transforms of its samples.

    Raises:
        ValueError: ``transforms`` is given together with one of the others.
    """

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        transforms: Callable | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError(
                "Only transforms or transform/target_transform can be passed as argument"
            )
        self.transform = transform
        self.target_transform = target_transform
        if transform is not None or target_transform is not None:
            transforms = StandardTransform(transform, target_transform)
        self.transforms = transforms

    def _finish(self, image: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def _changed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """A sample after ``transforms``, which changes both at once."""
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        if self.root is not None:
            lines.append(f"    Root location: {self.root}")
        lines += [f"    {line}" for line in self.extra_repr().splitlines()]
        if self.transforms is not None:
            # As torchvision has it, only the first line is moved to the right.
            lines.append(f"    {self.transforms!r}")
        return "\n".join(lines)

    def extra_repr(self) -> str:
        """More lines for ``repr``."""
        return ""
