"""The GPU as users see it (torch.cuda). Nothing here imports CuPy before it is needed."""

from __future__ import annotations

from typing import Any

from cupola import engine
from cupola import random as _generators
from cupola.cuda import nvtx
from cupola.cuda.memory import (
    ipc_collect,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from cupola.cuda.streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
)
from cupola.errors import BackendError, OutOfMemoryError
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


def empty_cache() -> None:
    """Returns unused memory of the pool to the driver; does nothing without a GPU."""
    if is_available():
        engine.backend("cuda").xp.get_default_memory_pool().free_all_blocks()


def manual_seed(seed: int) -> None:
    """Seeds the stream that GPU tensors draw from: the one of the CPU, so this is
    cupola.random.manual_seed.
    """
    _generators.manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Seeds the stream from the system's entropy."""
    _generators.seed()


seed_all = seed


default_generators: tuple[Any, ...] = ()  # one generator, that of the CPU, serves all devices


def initial_seed() -> int:
    """The seed of the stream."""
    return int(_generators.initial_seed())


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the stream, which is that of the CPU."""
    from cupola.functional.sampling import get_rng_state

    return get_rng_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Restores the state of the stream."""
    from cupola.functional.sampling import set_rng_state

    set_rng_state(new_state)


def get_rng_state_all() -> list[Any]:
    """One state for each GPU."""
    return [get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Restores the states of all GPUs."""
    for state in list(new_states)[:1]:
        set_rng_state(state)


class _Properties:
    """What ``get_device_properties`` tells of a GPU."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.name = found["name"].decode()
        self.total_memory = int(found["totalGlobalMem"])
        self.major, self.minor = int(found["major"]), int(found["minor"])
        self.multi_processor_count = int(found["multiProcessorCount"])
        self.warp_size = int(found["warpSize"])

    def __repr__(self) -> str:
        fields = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"_CudaDeviceProperties({fields})"


def get_device_properties(device: Any = None) -> Any:
    """Name, memory, compute capability and multiprocessors of a GPU."""
    runtime = engine.backend("cuda").xp.cuda.runtime
    return _Properties(runtime.getDeviceProperties(_index(device)))


def get_arch_list() -> list[str]:
    """Kernels are compiled for the GPU at hand: its own architecture."""
    return ["sm_{}{}".format(*get_device_capability())] if is_available() else []


def init() -> None:
    """The GPU starts when it is first used."""


def is_tf32_supported() -> bool:
    """Whether the GPU has TF32."""
    return is_available() and get_device_capability()[0] >= 8


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one GPU reads another's memory directly."""
    runtime = engine.backend("cuda").xp.cuda.runtime
    return bool(runtime.deviceCanAccessPeer(_index(device), _index(peer_device)))


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


def __getattr__(name: str) -> Any:
    """``cuda.amp`` needs layers above this one, so it is loaded when it is asked for; kernels in
    source text are rare.
    """
    if name in ("compile_kernel", "_compile_kernel"):
        from cupola.cuda.kernel import compile_kernel

        return compile_kernel
    if name == "amp":
        import importlib

        return importlib.import_module("cupola.cuda.amp")
    raise AttributeError(f"module 'cupola.cuda' has no attribute {name!r}")


__all__ = [name for name in globals() if not name.startswith("_")]
