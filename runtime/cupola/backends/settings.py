"""Switches that programs set under ``torch.backends``."""

from __future__ import annotations

from typing import Any

from cupola.backends.cuda.flags import flags as _gpu

# Switches that the GPU backend reads, and where.
_LINKS = {
    ("cudnn", "allow_tf32"): "cudnn_tf32",
    ("cudnn", "deterministic"): "cudnn_deterministic",
    ("cudnn", "enabled"): "cudnn",
    ("cuda.matmul", "allow_tf32"): "matmul_tf32",
}


class _Settings:
    """Named switches; an unknown one is an error, as it is in PyTorch."""

    def __init__(self, name: str, available: bool, **values: Any) -> None:
        self.__dict__.update(values, _name=name, _available=available)

    def is_available(self) -> bool:
        """Whether the library behind these switches can be used."""
        return bool(self._available)

    def __setattr__(self, key: str, value: Any) -> None:
        if key not in self.__dict__:
            raise AttributeError(f"torch.backends.{self._name} has no setting {key!r}")
        self.__dict__[key] = value
        link = _LINKS.get((self._name, key))
        if link is not None:
            setattr(_gpu, link, bool(value))

    def __getattr__(self, key: str) -> Any:
        raise AttributeError(f"torch.backends.{self.__dict__.get('_name')} has no setting {key!r}")

    def flags(self, **values: Any) -> Any:
        """A context in which switches have other values."""
        import contextlib

        @contextlib.contextmanager
        def change() -> Any:
            old = {k: self.__dict__[k] for k in values if k in self.__dict__}
            try:
                for key, value in values.items():
                    setattr(self, key, value)
                yield
            finally:
                for key, value in old.items():
                    setattr(self, key, value)

        return change()


cudnn = _Settings(
    "cudnn",
    True,
    enabled=True,
    benchmark=False,
    benchmark_limit=10,
    deterministic=False,
    allow_tf32=True,
    rnn=None,
    conv=None,
)
matmul = _Settings(
    "cuda.matmul",
    True,
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
    fp32_precision="ieee",
)
mps = _Settings("mps", False, is_built=lambda: False)
mkldnn = _Settings("mkldnn", True, enabled=True, allow_tf32=False, deterministic=False)
mkl = _Settings("mkl", False)
openmp = _Settings("openmp", True)
opt_einsum = _Settings("opt_einsum", False, enabled=False, strategy=None)
xeon = _Settings("xeon", False)
quantized = _Settings("quantized", False, engine="none", supported_engines=["none"])
