"""Memory formats and layouts as values; strides as PyTorch would report them."""

from __future__ import annotations

from typing import Any


class _Named:
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __reduce__(self) -> Any:
        return self._text.removeprefix("torch.")


class memory_format(_Named):
    """torch.memory_format: how the dimensions of a tensor are ordered in memory."""


class layout(_Named):
    """torch.layout: strided or sparse."""


contiguous_format = memory_format("torch.contiguous_format")
preserve_format = memory_format("torch.preserve_format")
channels_last = memory_format("torch.channels_last")
channels_last_3d = memory_format("torch.channels_last_3d")
strided = layout("torch.strided")
sparse_coo = layout("torch.sparse_coo")
sparse_csr = layout("torch.sparse_csr")
jagged = layout("torch.jagged")
