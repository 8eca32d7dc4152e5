"""Numerical switches of the vendor libraries (torch.backends.cuda.matmul, torch.backends.cudnn)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Flags:
    """Process-wide; read at every library call.

    Attributes:
        matmul_tf32: float32 matrix products may round their operands to TF32
            (torch.backends.cuda.matmul.allow_tf32).
        cudnn_tf32: float32 convolutions may (torch.backends.cudnn.allow_tf32, on by default there
            too).
        cudnn_deterministic, all_deterministic: only algorithms that give the same bits every time
            (torch.backends.cudnn.deterministic, torch.use_deterministic_algorithms).
        cudnn: use cuDNN at all (torch.backends.cudnn.enabled).
        check_indices: gather and scatter wait for the device and raise IndexError for positions out
            of bounds; without it such positions are undefined.
        flash_attention, efficient_attention, cudnn_attention, math_attention: kernels that
            scaled_dot_product_attention may use (torch.backends.cuda.enable_flash_sdp and others);
            here the first three are one.
    """

    matmul_tf32: bool = False
    cudnn_tf32: bool = True
    cudnn_deterministic: bool = False
    all_deterministic: bool = False
    cudnn: bool = True
    check_indices: bool = False
    flash_attention: bool = True
    efficient_attention: bool = True
    cudnn_attention: bool = True
    math_attention: bool = True

    @property
    def deterministic(self) -> bool:
        """Whether either switch asks for it."""
        return self.cudnn_deterministic or self.all_deterministic

    @property
    def fused_attention(self) -> bool:
        """Whether attention may be one library call."""
        return self.flash_attention or self.efficient_attention or self.cudnn_attention


flags = Flags()
