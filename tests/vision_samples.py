"""Inputs of the operators that torchvision compiles, and how they are run on either side.

`scripts/record_vision.py` writes what torchvision's compiled operators give for them to
fixtures/vision/operators.npz; the tests compare cupola with that file.
"""

from __future__ import annotations

import pathlib

import numpy as np

RECORDED = pathlib.Path(__file__).resolve().parents[1] / "fixtures/vision/operators.npz"
RNG_SEED = 7


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng([RNG_SEED, *name.encode()])


def _regions(rng: np.random.Generator, count: int = 7, side: float = 60.0) -> np.ndarray:
    """Rows (image, x1, y1, x2, y2): some beyond the image, one without area, one reversed."""
    low = rng.uniform(-8, side * 0.7, (count, 2))
    rows = np.concatenate(
        [rng.integers(0, 2, (count, 1)), low, low + rng.uniform(2, side * 0.5, (count, 2))], axis=1
    )
    rows[1, 3:] = rows[1, 1:3]
    rows[2, 1:3], rows[2, 3:] = rows[2, 3:].copy(), rows[2, 1:3].copy()
    return rows.astype(np.float32)


def _region_case(name: str, channels: int, **kwargs) -> tuple:
    rng = _rng(name)
    image = rng.standard_normal((2, channels, 14, 17)).astype(np.float32)
    if name.startswith("roi_pool"):
        image = np.maximum(image, 0)  # equal maxima: the first one gets the gradient
    return name.partition(":")[0], [image, _regions(rng)], {"spatial_scale": 0.25, **kwargs}


def _deform_case(name: str, groups: int, moved: int, mask: bool, bias: bool, **kwargs) -> tuple:
    rng = _rng(name)

    def normal(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    stride, padding, dilation = (kwargs.get(k, d) for k, d in
                                 (("stride", 1), ("padding", 0), ("dilation", 1)))  # fmt: skip
    oh, ow = ((s + 2 * padding - 2 * dilation - 1) // stride + 1 for s in (9, 8))
    arrays = [
        normal(2, 4, 9, 8),
        normal(2, 2 * moved * 9, oh, ow, scale=2.0),
        normal(6, 4 // groups, 3, 3),
        normal(6) if bias else None,
    ]
    if mask:
        arrays.append(rng.random((2, moved * 9, oh, ow)).astype(np.float32))
    return "deform_conv2d", arrays, kwargs


CASES = {
    "roi_align": _region_case("roi_align", 3, output_size=(3, 2), sampling_ratio=2),
    "roi_align:adaptive": _region_case("roi_align:adaptive", 3, output_size=4),
    "roi_align:aligned": _region_case("roi_align:aligned", 3, output_size=3, aligned=True),
    "roi_align:one": _region_case(
        "roi_align:one", 3, output_size=(2, 3), sampling_ratio=1, aligned=True
    ),
    "roi_pool": _region_case("roi_pool", 3, output_size=(3, 4)),
    "ps_roi_align": _region_case("ps_roi_align", 12, output_size=(3, 2), sampling_ratio=2),
    "ps_roi_align:adaptive": _region_case("ps_roi_align:adaptive", 12, output_size=(2, 3)),
    "ps_roi_pool": _region_case("ps_roi_pool", 12, output_size=(2, 3)),
    "deform_conv2d": _deform_case("deform_conv2d", 1, 1, False, False),
    "deform_conv2d:mask": _deform_case("deform_conv2d:mask", 2, 2, True, True, padding=1),
    "deform_conv2d:stride": _deform_case(
        "deform_conv2d:stride", 1, 4, True, True, stride=2, padding=2, dilation=2
    ),
}


def run(framework, operators, case: tuple, device: str = "cpu") -> list[np.ndarray]:
    """Returns the operator's output, then its gradients with respect to each floating input.

    Regions have no gradient; the incoming gradient is a fixed pattern.
    """
    name, arrays, kwargs = case
    tensors = [a if a is None else framework.from_numpy(a.copy()).to(device) for a in arrays]
    wanted = [t for t in tensors if t is not None]
    if name != "deform_conv2d":
        wanted = wanted[:1]
    for tensor in wanted:
        tensor.requires_grad_()
    if len(tensors) == 5:
        kwargs = {**kwargs, "mask": tensors.pop()}
    out = getattr(operators, name)(*tensors, **kwargs)
    pattern = np.sin(np.arange(out.numel(), dtype=np.float32)).reshape(tuple(out.shape))
    (out * framework.from_numpy(pattern).to(device)).sum().backward()
    return [out.detach().cpu().numpy(), *(t.grad.cpu().numpy() for t in wanted)]
