"""Which kernels attention may use: switches of ``torch.backends.cuda`` and ``nn.attention``.

Here one library call stands for PyTorch's flash, memory-efficient and cuDNN kernels: it is used
while any of the three is enabled. The others are compositions, which are always there.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from cupola.backends.cuda.flags import flags

__all__ = [
    "cudnn_sdp_enabled",
    "enable_cudnn_sdp",
    "enable_flash_sdp",
    "enable_math_sdp",
    "enable_mem_efficient_sdp",
    "flash_sdp_enabled",
    "math_sdp_enabled",
    "mem_efficient_sdp_enabled",
    "sdp_kernel",
]


def flash_sdp_enabled() -> bool:
    """Whether attention may use a flash kernel."""
    return flags.flash_attention


def enable_flash_sdp(enabled: bool) -> None:
    """Lets attention use a flash kernel, or not."""
    flags.flash_attention = bool(enabled)


def mem_efficient_sdp_enabled() -> bool:
    """Whether attention may use a memory-efficient kernel."""
    return flags.efficient_attention


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Lets attention use a memory-efficient kernel, or not."""
    flags.efficient_attention = bool(enabled)


def cudnn_sdp_enabled() -> bool:
    """Whether attention may use cuDNN."""
    return flags.cudnn_attention


def enable_cudnn_sdp(enabled: bool) -> None:
    """Lets attention use cuDNN, or not."""
    flags.cudnn_attention = bool(enabled)


def math_sdp_enabled() -> bool:
    """Whether attention may be composed of products and a softmax."""
    return flags.math_attention


def enable_math_sdp(enabled: bool) -> None:
    """Lets attention be composed of products and a softmax; where nothing else fits, it is."""
    flags.math_attention = bool(enabled)


@contextlib.contextmanager
def choice(flash: bool, efficient: bool, cudnn: bool, math: bool) -> Iterator[None]:
    """A context in which the four switches have these values."""
    names = ("flash_attention", "efficient_attention", "cudnn_attention", "math_attention")
    old = [getattr(flags, name) for name in names]
    try:
        for name, value in zip(names, (flash, efficient, cudnn, math), strict=True):
            setattr(flags, name, bool(value))
        yield
    finally:
        for name, value in zip(names, old, strict=True):
            setattr(flags, name, value)


def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> contextlib.AbstractContextManager[None]:
    """A context in which attention may use these kernels (deprecated: ``nn.attention``)."""
    warnings.warn(
        "torch.backends.cuda.sdp_kernel() is deprecated. In the future, this context manager will "
        "be removed. Please see torch.nn.attention.sdpa_kernel() for the new context manager, "
        "with updated signature.",
        FutureWarning,
        stacklevel=2,
    )
    return choice(enable_flash, enable_mem_efficient, enable_cudnn, enable_math)
