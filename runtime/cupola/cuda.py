"""The GPU as users see it (torch.cuda). Nothing here imports CuPy before it is needed."""

from __future__ import annotations

from typing import Any

from cupola import engine, random
from cupola.errors import BackendError
from cupola.ir.device import device as Device
from cupola.ir.device import resolve


def is_available() -> bool:
    """Whether CuPy is installed and a GPU answers."""
    try:
        engine.backend("cuda")
    except BackendError:
        return False
    return True


def device_count() -> int:
    """Number of GPUs; 0 without CuPy."""
    if not is_available():
        return 0
    return int(engine.backend("cuda").xp.cuda.runtime.getDeviceCount())


def _index(device: Any = None) -> int:
    return resolve("cuda" if device is None else device).index or 0


def current_device() -> int:
    """Index of the current GPU."""
    return int(engine.backend("cuda").xp.cuda.runtime.getDevice())


def set_device(device: Any) -> None:
    """Makes a GPU the current one."""
    engine.backend("cuda").xp.cuda.Device(_index(device)).use()


def synchronize(device: Any = None) -> None:
    """Waits for all work on a GPU."""
    engine.backend("cuda").synchronize(_index(device))


def get_device_name(device: Any = None) -> str:
    """The GPU's name."""
    properties = engine.backend("cuda").xp.cuda.runtime.getDeviceProperties(_index(device))
    return str(properties["name"].decode())


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Compute capability, such as (9, 0)."""
    text = engine.backend("cuda").xp.cuda.Device(_index(device)).compute_capability
    return int(text[:-1]), int(text[-1])


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by CuPy's memory pool."""
    return int(engine.backend("cuda").xp.get_default_memory_pool().used_bytes())


def memory_reserved(device: Any = None) -> int:
    """Bytes that CuPy's memory pool holds."""
    return int(engine.backend("cuda").xp.get_default_memory_pool().total_bytes())


def empty_cache() -> None:
    """Returns unused memory of the pool to the driver; does nothing without a GPU."""
    if is_available():
        engine.backend("cuda").xp.get_default_memory_pool().free_all_blocks()


def manual_seed(seed: int) -> None:
    """Seeds the stream that GPU tensors draw from: the one of the CPU, so this is
    random.manual_seed.
    """
    random.manual_seed(seed)


manual_seed_all = manual_seed


def is_initialized() -> bool:
    """Whether the GPU backend is in use."""
    return "cuda" in engine._backends


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 runs on the GPU."""
    return is_available()


class device:
    """Makes a GPU the current one inside a ``with`` block (torch.cuda.device)."""

    def __init__(self, device: Any) -> None:
        self.index = _index(device)

    def __enter__(self) -> None:
        self.previous = current_device() if is_available() else 0
        if is_available():
            set_device(self.index)

    def __exit__(self, *exc: object) -> None:
        if is_available():
            set_device(self.previous)


__all__ = [
    "Device",
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "memory_allocated",
    "memory_reserved",
    "set_device",
    "synchronize",
]
