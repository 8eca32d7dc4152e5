"""What the generated code must know about the machine it is written for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A processor.

    Attributes:
        triple: LLVM target triple.
        cpu: LLVM's name of the processor.
        features: LLVM's feature string (``+avx2,-avx512f,...``).
        vector_bytes: bytes of the widest register worth using.
        half: whether float16 converts in hardware.
        fma: whether a multiplication and an addition fuse in hardware.
        masked_bytes: element sizes for which a masked load or store is one instruction.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    half: bool
    fma: bool
    masked_bytes: tuple[int, ...]

    @property
    def key(self) -> str:
        """Text that differs whenever code for one machine may not run on the other."""
        return f"{self.triple}/{self.cpu}/{self.features}"


def target_from_features(triple: str, cpu: str, features: dict[str, bool]) -> Target:
    """The target that a processor's feature flags (as LLVM names them) amount to."""
    text = ",".join(("+" if on else "-") + name for name, on in sorted(features.items()))
    arm = triple.startswith(("aarch64", "arm64"))
    if features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"):
        masked = (1, 2, 4, 8) if features.get("avx512bw") else (4, 8)
        return Target(triple, cpu, text, 64, True, True, masked)
    if features.get("avx2") and features.get("fma"):
        return Target(triple, cpu, text, 32, bool(features.get("f16c")), True, (4, 8))
    return Target(triple, cpu, text, 16, arm, arm, ())
