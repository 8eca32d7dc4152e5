"""cupola: a lazy, differentiable runtime with PyTorch's names and semantics.

This file only re-exports. Functions come from ``functional`` (one declaration each), layers from
``nn``.
"""

from math import e, inf, nan, pi

# First: under mpirun it sets what the libraries below read when they are loaded.
import cupola.distributed as distributed  # isort: skip

from cupola import autograd, backends, cuda, functional, jit, random, version
from cupola import unsupported as _unsupported
from cupola.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from cupola.code import CompileError, code
from cupola.dtypes import (
    bfloat16,
    bool,
    cdouble,
    cfloat,
    complex32,
    complex64,
    complex128,
    double,
    dtype,
    float,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
    uint16,
    uint32,
    uint64,
)
from cupola.errors import BackendError, UnsupportedError
from cupola.functional.creation import sizes as _sizes  # noqa: F401
from cupola.functional.info import finfo, iinfo
from cupola.functional.printing import set_printoptions
from cupola.functional.sampling import Generator
from cupola.io import CheckpointError, load, save
from cupola.ir.device import device
from cupola.jit import compile, explain
from cupola.random import default_generator, initial_seed, manual_seed, seed
from cupola.tensor import Size, Tensor, as_tensor, from_numpy, is_inference_mode_enabled, tensor
from cupola.tensor import legacy as _legacy
from cupola.tensor.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    sparse_coo,
    strided,
)
from cupola.version import __version__, torch_version

globals().update(functional.PUBLIC)
globals().update(_legacy.CPU)
for _name, _type in _legacy.CUDA.items():
    setattr(cuda, _name, _type)
    cuda.__all__.append(_name)

from cupola import (  # noqa: E402
    amp,
    interop,
    linalg,
    nn,
    optim,
    overrides,
    types,
    utils,
)
from cupola.amp import GradScaler, autocast, is_autocast_enabled  # noqa: E402
from cupola.amp.state import (  # noqa: E402
    clear_autocast_cache,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_cache_enabled,
    is_autocast_cpu_enabled,
    set_autocast_cache_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from cupola.distributed.operators import (  # noqa: E402
    mpi_all_reduce,
    mpi_broadcast,
    mpi_reduce,
    nccl_all_reduce,
    nccl_broadcast,
    nccl_reduce,
)
from cupola.settings import (  # noqa: E402
    are_deterministic_algorithms_enabled,
    compiled_with_cxx11_abi,
    get_deterministic_debug_mode,
    get_device_module,
    get_float32_matmul_precision,
    get_num_interop_threads,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_deterministic_algorithms_warn_only_enabled,
    is_warn_always_enabled,
    set_default_tensor_type,
    set_deterministic_debug_mode,
    set_float32_matmul_precision,
    set_flush_denormal,
    set_warn_always,
    use_deterministic_algorithms,
)
from cupola.symbolic import (  # noqa: E402
    Future,
    SymBool,
    SymFloat,
    SymInt,
    cond,
    fork,
    sym_float,
    sym_int,
    sym_ite,
    sym_max,
    sym_min,
    sym_not,
    sym_sqrt,
    sym_sum,
    wait,
    while_loop,
)
from cupola.threads import (  # noqa: E402
    get_default_device,
    get_num_threads,
    set_default_device,
    set_num_interop_threads,
    set_num_threads,
)
from cupola.utils.dlpack import from_dlpack, to_dlpack  # noqa: E402

OutOfMemoryError = cuda.OutOfMemoryError
has_mkl = has_openmp = False
has_lapack = has_spectral = True
legacy_contiguous_format = contiguous_format
asarray = as_tensor
newaxis = None
interop.install()

_unsupported.install()

__all__ = [name for name in globals() if not name.startswith("_")]


# Namespaces that are loaded when they are first asked for.
_LATER = {
    "__config__",
    "accelerator",
    "array_api",
    "compiler",
    "cpu",
    "distributions",
    "fft",
    "func",
    "fx",
    "hub",
    "library",
    "masked",
    "models",
    "mpi",
    "multiprocessing",
    "profiler",
    "serialization",
    "signal",
    "special",
    "testing",
    "vision",
}


def __getattr__(name: str):  # type: ignore[no-untyped-def]
    """Names that PyTorch has and cupola does not: they fail when they are called, not before."""
    from cupola.unsupported import lookup

    if name == "vmap":
        return __getattr__("func").vmap
    if name in ("graph", "summary"):
        from cupola import inspection

        return getattr(inspection, name)
    if name in _LATER:
        import importlib

        return importlib.import_module(f"cupola.{name}")
    return lookup("cupola", name)


distributed.start()
