"""What tests of several rooms share: torchvision beside the CPU build of torch, comparisons.

torch is the oracle of most tests. It is imported inside the functions that need it, so that the
tests which do not need it also run where it is absent.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import pathlib
import shutil
import sys
import types
from collections.abc import Iterable, Iterator

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"

# The operators that torchvision's import registers fakes for. Its compiled library, which declares
# them, is built against another torch; the declarations alone let the Python sources import.
_ROI = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_EXTENT = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_GRAD = f"Tensor grad, Tensor rois, {{}}float spatial_scale, SymInt ph, SymInt pw, {_EXTENT}"
_DEFORM = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
    "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask"
)
TORCHVISION_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({_ROI}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward({_GRAD.format('')}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({_ROI}) -> (Tensor, Tensor)",
    f"_roi_pool_backward({_GRAD.format('Tensor argmax, ')}) -> Tensor",
    f"ps_roi_align({_ROI}, int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward({_GRAD.format('Tensor mapping, ')}, int sampling_ratio) -> Tensor",
    f"ps_roi_pool({_ROI}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward({_GRAD.format('Tensor mapping, ')}) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    f"{_DEFORM}) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, "
    f"Tensor bias, {_DEFORM}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)


def _nms(boxes, scores, threshold):
    """Greedy non-maximum suppression in NumPy: what the missing compiled operator computes."""
    import torch

    b, order, keep = boxes.numpy(), np.argsort(-scores.numpy(), kind="stable"), []
    area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    while order.size:
        first, order = order[0], order[1:]
        keep.append(int(first))
        low, high = np.maximum(b[first, :2], b[order, :2]), np.minimum(b[first, 2:], b[order, 2:])
        overlap = np.clip(high - low, 0, None).prod(axis=1)
        order = order[overlap <= threshold * (area[first] + area[order] - overlap)]
    return torch.tensor(keep, dtype=torch.int64)


def _roi_align(*args):
    import regions

    return regions.roi_align(*args)


@functools.cache
def import_torchvision() -> types.ModuleType | None:
    """Returns torchvision 0.28.0, imported beside the CPU build of torch, or None without it.

    It is looked for in CUPOLA_TV_DIR, then in the cache that `make test` fills, then as installed.
    The one place that declares its operators: torch accepts only one such declaration a process.
    """
    import torch

    for folder in (os.environ.get("CUPOLA_TV_DIR"), ROOT / ".cache/torchvision", ROOT / ".tv"):
        if folder and pathlib.Path(folder, "torchvision").is_dir():
            sys.path.append(str(pathlib.Path(folder).resolve()))
            break
    else:
        # An installed one that matches the installed torch declares its operators itself.
        installed = importlib.util.find_spec("torchvision") is not None
        return importlib.import_module("torchvision") if installed else None
    library = torch.library.Library("torchvision", "DEF")
    _keep_alive.append(library)
    for schema in TORCHVISION_OPERATORS:
        library.define(schema)
    library.impl("nms", _nms, "CPU")
    module = importlib.import_module("torchvision")
    library.impl("roi_align", _roi_align, "CompositeImplicitAutograd")
    roi = sys.modules["torchvision.ops.roi_align"]
    # Its functions ask whether the compiled library is there; for these two the answer is now yes.
    module.extension._has_ops = roi._has_ops = lambda: True
    return module


def torchvision() -> types.ModuleType:
    """Returns torchvision; skips the test where it, or torch, is absent."""
    import pytest

    pytest.importorskip("torch")
    module = import_torchvision()
    if module is None:
        pytest.skip("torchvision is not installed: make test installs it into .cache/torchvision")
    return module


_keep_alive: list = []


def convert(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copies the folder `source` to `target` and converts the copy in place with `cupola convert`.

    Raises AssertionError, with the converter's report, when something in it is unsupported.
    """
    from cupola_transpiler.cli import main

    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    report = io.StringIO()
    with contextlib.redirect_stdout(report), contextlib.redirect_stderr(report):
        code = main(["convert", str(target), "--force"])
    assert not code, f"cupola convert ended with {code} on {source.name}\n{report.getvalue()}"
    return target


def load(folder: pathlib.Path, name: str, alias: str | None = None) -> types.ModuleType:
    """Imports `folder/name.py` under `alias`: an original and its copy can then both be loaded."""
    alias = alias or f"{folder.name}_{name}"
    spec = importlib.util.spec_from_file_location(alias, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def to_numpy(value) -> np.ndarray:
    """Returns a tensor of torch or of cupola as a NumPy array."""
    value = value.detach()
    if str(value.dtype) == "torch.bfloat16":
        value = value.float()
    return value.cpu().numpy()


def copy_weights(source, target) -> None:
    """Copies a torch module's parameters and buffers into a cupola module, strictly."""
    import cupola

    state = {k: cupola.from_numpy(to_numpy(v).copy()) for k, v in source.state_dict().items()}
    target.load_state_dict(state, strict=True)


def relative_error(got, want) -> float:
    """Returns |got - want| / |want| in the Euclidean norm; inf where the shapes differ."""
    got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    if got.shape != want.shape:
        return float("inf")
    size = np.linalg.norm(want)
    return float(np.linalg.norm(got - want) / size) if size else float(np.linalg.norm(got))


def assert_close(got, want, tolerance: float, what: str) -> None:
    """Asserts a relative error below `tolerance`; NaN never passes. `what` names the value."""
    error = relative_error(got, want)
    assert error < tolerance, f"{what}: relative error {error:.2e}, allowed {tolerance:.0e}"


def gpu() -> str | None:
    """Returns the name of the first NVIDIA GPU that CuPy can use, or None."""
    with contextlib.suppress(Exception):
        import cupy

        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return None


def python_files(*rooms: str) -> Iterator[pathlib.Path]:
    """Yields the Python files of the given rooms of the tree, without converter fixtures."""
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "__pycache__" not in path.parts and "snippets" not in path.parts:
                yield path


def names(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """Returns the first of each pair: the names of named_parameters() and its like."""
    return [name for name, _ in pairs]
