"""Conversions, noise, erasing and functions of one's own (second interface)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision import transforms as v1
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.transforms.random_color import uniform
from cupola_compat.torchvision.transforms.random_geometry import drawn_rectangle
from cupola_compat.torchvision.transforms.v2 import functional as F
from cupola_compat.torchvision.transforms.v2.base import (
    RandomTransform,
    Transform,
    has_any,
    number_pair,
    query_chw,
)
from cupola_compat.torchvision.transforms.v2.dispatch import is_pil, is_pure_tensor
from cupola_compat.torchvision.transforms.v2.geometry import warn_of_passing
from cupola_compat.torchvision.transforms.v2.sizes import pair

PICTURES = (tv_tensors.Image, tv_tensors.Video)


class Identity(Transform):
    """Returns its input."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return inpt


class Lambda(Transform):
    """Applies a function to all inputs of the given types."""

    _transformed_types = (object,)

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        super().__init__()
        self.lambd, self.types = lambd, types or self._transformed_types

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.lambd(inpt) if isinstance(inpt, self.types) else inpt

    def extra_repr(self) -> str:
        name = getattr(self.lambd, "__name__", "")
        types = f"types={[kind.__name__ for kind in self.types]}"
        return f"{name}, {types}" if name else types


class _OfTensors(Transform):
    """Transforms that PIL images are not accepted by."""

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if has_any(flat_inputs, is_pil):
            raise TypeError(f"{type(self).__name__}() does not support PIL images.")


class LinearTransformation(_OfTensors):
    """Takes `mean_vector` from the flattened picture and multiplies it by a square matrix.

    Raises:
        TypeError: a PIL image.
        ValueError: the sizes of picture, matrix and vector do not agree.
    """

    _v1_transform_cls = v1.LinearTransformation
    _transformed_types = (is_pure_tensor, *PICTURES)

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        if transformation_matrix.dtype != mean_vector.dtype:
            raise ValueError(
                "Input tensors should have the same dtype. Got "
                f"{transformation_matrix.dtype} and {mean_vector.dtype}"
            )
        self._change = v1.LinearTransformation(transformation_matrix, mean_vector)
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        output = self._change(inpt.as_subclass(Tensor))
        return output if is_pure_tensor(inpt) else tv_tensors.wrap(output, like=inpt)


class Normalize(_OfTensors):
    """`functional.normalize`.

    Raises:
        TypeError: a PIL image.
    """

    _v1_transform_cls = v1.Normalize

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = list(mean), list(std), inplace

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.normalize, inpt, self.mean, self.std, self.inplace)


class GaussianBlur(Transform):
    """`functional.gaussian_blur` with a random deviation.

    Raises:
        ValueError: sizes that are not odd and positive, or a range that is empty or not positive.
    """

    _v1_transform_cls = v1.GaussianBlur

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size, self.sigma = pair(kernel_size), number_pair(sigma, "sigma")
        if any(size <= 0 or size % 2 == 0 for size in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(
                f"sigma values should be positive and of the form (min, max). Got {self.sigma}"
            )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"sigma": [uniform(*self.sigma)] * 2}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.gaussian_blur, inpt, list(self.kernel_size), **params)


class GaussianNoise(Transform):
    """`functional.gaussian_noise`."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.gaussian_noise, inpt, self.mean, self.sigma, self.clip)


class JPEG(Transform):
    """`functional.jpeg` with a random quality from one number, or from a range of two.

    Raises:
        TypeError: a quality that is neither a number nor a sequence of two.
        ValueError: one outside 1 to 100.
    """

    def __init__(self, quality: int | Sequence[int]) -> None:
        super().__init__()
        if isinstance(quality, bool):
            raise TypeError("quality can't be bool")
        values = [quality] * 2 if isinstance(quality, int) else quality
        if not isinstance(values, Sequence):
            raise TypeError("quality should be a sequence of length 2.")
        if len(values) != 2:
            raise ValueError("quality should be a sequence of length 2.")
        whole = all(isinstance(value, int) for value in values)
        if not (whole and 1 <= values[0] <= values[1] <= 100):
            raise ValueError(f"quality must be an integer from 1 to 100, got quality={quality}")
        self.quality = values

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"quality": int(cupola.randint(self.quality[0], self.quality[1] + 1, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.jpeg, inpt, params["quality"])


class RandomErasing(RandomTransform):
    """Overwrites a random rectangle with `value`, with probability `p`.

    Raises:
        TypeError: a value that is neither a number, "random", nor a sequence.
        ValueError: areas or a probability outside [0, 1], or a value of the wrong length.
    """

    _shown = ("p", "scale", "ratio", "value", "inplace")
    _v1_transform_cls = v1.RandomErasing

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0.0,
        inplace: bool = False,
    ) -> None:
        super().__init__(p)
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        values = value if isinstance(value, (tuple, list)) else [value]
        self.value = None if isinstance(value, str) else [float(v) for v in values]
        self.scale, self.ratio, self.inplace = scale, ratio, inplace

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = query_chw(flat_inputs)
        if self.value is not None and len(self.value) not in (1, size[0]):
            raise ValueError(
                "If value is a sequence, it should have either a single value or "
                f"{size[0]} (number of inpt channels)"
            )
        drawn = drawn_rectangle(size, self.scale, self.ratio, self.value)
        return {} if drawn is None else dict(zip("ijhwv", drawn, strict=True))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params:
            return inpt
        warn_of_passing(self, inpt)
        return self._call_kernel(F.erase, inpt, **params, inplace=self.inplace)


class ToDtype(Transform):
    """Converts to a dtype; with ``scale``, pictures from one dtype's range to the other's.

    One dtype is for pictures; a dictionary has dtypes by type, and "others" for the rest.

    Raises:
        ValueError: neither a dtype nor a dictionary, or one without an entry for an input.
    """

    _transformed_types = (Tensor,)

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        if not isinstance(dtype, (dict, cupola.dtype)):
            raise ValueError(f"dtype must be a dict or a torch.dtype, got {type(dtype)} instead")
        if isinstance(dtype, dict) and Tensor in dtype and any(kind in dtype for kind in PICTURES):
            warnings.warn(
                "Got `dtype` values for `torch.Tensor` and either `tv_tensors.Image` or "
                "`tv_tensors.Video`. Note that a plain `torch.Tensor` will *not* be transformed by "
                "this (or any other transformation) in case a `tv_tensors.Image` or "
                "`tv_tensors.Video` is present in the input.",
                stacklevel=2,
            )
        self.dtype, self.scale = dtype, scale

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        picture = is_pure_tensor(inpt) or isinstance(inpt, PICTURES)
        if isinstance(self.dtype, dict):
            if type(inpt) not in self.dtype and "others" not in self.dtype:
                raise ValueError(
                    f"No dtype was specified for type {type(inpt)}. If you only need to convert "
                    "the dtype of images or videos, you can just pass e.g. dtype=torch.float32. "
                    'If you\'re passing a dict as dtype, you can use "others" as a catch-all key.'
                )
            dtype = self.dtype.get(type(inpt), self.dtype.get("others"))
        else:
            dtype = self.dtype if picture else None
        if dtype is None:
            if isinstance(self.dtype, dict) and self.scale and picture:
                warnings.warn(
                    "scale was set to True but no dtype was specified for images or videos: no "
                    "scaling will be done.",
                    stacklevel=2,
                )
            return inpt
        if isinstance(inpt, tv_tensors.TVTensor) and not picture:
            return inpt.to(dtype)
        return self._call_kernel(F.to_dtype, inpt, dtype, self.scale)


class ConvertImageDtype(Transform):
    """`functional.convert_image_dtype`."""

    _v1_transform_cls = v1.ConvertImageDtype
    _transformed_types = (Tensor,)

    def __init__(self, dtype: Any = cupola.float32) -> None:
        super().__init__()
        self.dtype = dtype

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.to_dtype, inpt, self.dtype, True)


class PILToTensor(Transform):
    """`functional.pil_to_tensor`."""

    _transformed_types = (is_pil,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.pil_to_tensor(inpt)


class ToImage(Transform):
    """`functional.to_image`."""

    _transformed_types = (is_pure_tensor, is_pil, np.ndarray)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_image(inpt)


class ToPILImage(Transform):
    """`functional.to_pil_image`."""

    _transformed_types = (is_pure_tensor, tv_tensors.Image, np.ndarray)

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_pil_image(inpt, self.mode)


class ToTensor(Transform):
    """`functional.to_tensor`."""

    _transformed_types = (is_pil, np.ndarray)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.to_tensor(inpt)


class ToPureTensor(Transform):
    """Images, masks, boxes and so on as plain tensors."""

    _transformed_types = (tv_tensors.TVTensor,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return inpt.as_subclass(Tensor)


class UniformTemporalSubsample(Transform):
    """`functional.uniform_temporal_subsample`."""

    _transformed_types = (Tensor,)

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        self.num_samples = num_samples

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.uniform_temporal_subsample, inpt, self.num_samples)
