"""Kernels as text: the lowered loop form and its two dialects (LLVM IR, CUDA C)."""
