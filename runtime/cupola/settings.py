"""Process-wide switches of PyTorch's that choose between kernels.

On a GPU, deterministic algorithms and the precision of products hold; on the CPU they change
nothing: its results are the same at every setting.
"""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.backends.cuda.flags import flags
from cupola.backends.settings import matmul
from cupola.dtypes import set_default_dtype
from cupola.ir.device import default_stack
from cupola.ir.device import device as Device

_state: dict[str, Any] = {
    "deterministic": 0,
    "warn_only": False,
    "precision": "highest",
    "warn": False,
}
_PRECISIONS = ("highest", "high", "medium")
_FLOATING = {
    "FloatTensor": dtypes.float32,
    "DoubleTensor": dtypes.float64,
    "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16,
}
_MODES = ("default", "warn", "error")


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Asks for deterministic kernels (torch.use_deterministic_algorithms)."""
    _state["deterministic"] = (1 if warn_only else 2) if mode else 0
    _state["warn_only"] = warn_only
    flags.all_deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether deterministic kernels were asked for."""
    return bool(_state["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether they were asked for with ``warn_only``."""
    return bool(_state["warn_only"])


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same by a number or a word: 0 "default", 1 "warn", 2 "error".

    Raises:
        RuntimeError: another number or word.
    """
    mode = _MODES.index(debug_mode) if debug_mode in _MODES else debug_mode
    if mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, 2 or one of {', '.join(_MODES)}, "
            f"but got {debug_mode}"
        )
    _state["deterministic"] = mode
    _state["warn_only"] = mode == 1
    flags.all_deterministic = bool(mode)


def get_deterministic_debug_mode() -> int:
    """The number that was set."""
    return int(_state["deterministic"])


def set_float32_matmul_precision(precision: str) -> None:
    """How exact float32 products have to be; all but "highest" let a GPU round operands to TF32.

    Raises:
        RuntimeError: none of "highest", "high" and "medium".
    """
    if precision not in _PRECISIONS:
        raise RuntimeError(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current value is "
            f"{_state['precision']}"
        )
    _state["precision"] = precision
    matmul.allow_tf32 = precision != "highest"


def get_float32_matmul_precision() -> str:
    """The precision in force; ``backends.cuda.matmul.allow_tf32`` sets it too."""
    if not matmul.allow_tf32:
        return "highest"
    return "high" if _state["precision"] == "highest" else str(_state["precision"])


def set_warn_always(b: bool, /) -> None:
    """Accepts whether warnings are repeated."""
    _state["warn"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What was set."""
    return bool(_state["warn"])


def set_flush_denormal(mode: bool) -> bool:
    """Returns False: the processor's handling of denormal numbers stays as it is."""
    return False


def set_default_tensor_type(t: Any, /) -> None:
    """Sets dtype and device of new tensors by a class of tensors, such as FloatTensor, or its name.

    Raises:
        TypeError: not a class of floating-point tensors.
    """
    text = t if isinstance(t, str) else t.__name__
    name = text.rpartition(".")[2]
    if name not in _FLOATING:
        raise TypeError(f"invalid type object: only floating-point types are supported, got {t!r}")
    place = "cuda" if ".cuda." in text else getattr(t, "place", "cpu")
    set_default_dtype(_FLOATING[name])
    default_stack[0] = Device(place)


def get_num_interop_threads() -> int:
    """One: operators run one after another."""
    return 1


def is_anomaly_enabled() -> bool:
    """Whether gradients are checked for NaN as they are computed: no."""
    return False


is_anomaly_check_nan_enabled = is_anomaly_enabled


def compiled_with_cxx11_abi() -> bool:
    """Whether PyTorch's C++ library was built with the newer ABI; nothing here is."""
    return True


def get_device_module(device: Any = None) -> Any:
    """The module of functions for a device's kind: ``torch.cuda`` or ``torch.cpu``.

    Without a device, that of the GPU if there is one (torch.get_device_module).

    Raises:
        RuntimeError: cupola has no such module.
    """
    import importlib

    if device is None:
        device = "cuda" if importlib.import_module("cupola.cuda").is_available() else "cpu"
    kind = device.type if isinstance(device, Device) else str(device).partition(":")[0]
    if kind not in ("cuda", "cpu"):
        raise RuntimeError(f"Device '{kind}' does not have a corresponding module registered")
    return importlib.import_module(f"cupola.{kind}")
