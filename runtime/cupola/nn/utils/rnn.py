"""Sequences of different lengths: padding and packing."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

import cupola.dtypes as dtypes
from cupola.functional.creation import arange
from cupola.functional.joining import cat, stack
from cupola.tensor import Tensor, tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

_Fields = namedtuple(
    "PackedSequence",
    ["data", "batch_sizes", "sorted_indices", "unsorted_indices"],
    defaults=(None, None, None),
)


class PackedSequence(_Fields):
    """Rows of several sequences, time step after time step, longest sequence first.

    Attributes:
        data: (sum of lengths, *).
        batch_sizes: (longest,) int64 on the CPU: how many sequences each step has.
        sorted_indices, unsorted_indices: order of the sequences before packing, or None.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence "
                "and pack_padded_sequences in nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move or cast the rows and move the indices."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [
            None if i is None else i.to(data.device)
            for i in (self.sorted_indices, self.unsorted_indices)
        ]
        return type(self)(data, self.batch_sizes, *indices)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move to a GPU."""
        return self.to(*args, device="cuda", **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move to the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def double(self) -> PackedSequence:
        """Cast to float64."""
        return self.to(dtype=dtypes.float64)

    def float(self) -> PackedSequence:
        """Cast to float32."""
        return self.to(dtype=dtypes.float32)

    def half(self) -> PackedSequence:
        """Cast to float16."""
        return self.to(dtype=dtypes.float16)

    def long(self) -> PackedSequence:
        """Cast to int64."""
        return self.to(dtype=dtypes.int64)

    def int(self) -> PackedSequence:
        """Cast to int32."""
        return self.to(dtype=dtypes.int32)

    def pin_memory(self) -> PackedSequence:
        """Page-locked copy of the rows."""
        return type(self)(self.data.pin_memory(), *self[1:])

    @property
    def is_cuda(self) -> bool:
        """Whether the rows are on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the rows are page-locked."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes a permutation; None for None."""
    if permutation is None:
        return None
    order = arange(permutation.numel(), device=permutation.device)
    return order.new_empty(order.shape).scatter_(0, permutation, order)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack (T, N, *), or (N, T, *) with batch_first, whose sequences have the given lengths."""
    sizes = [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    if not sizes or min(sizes) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    order = None
    if not enforce_sorted:
        order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
        sizes = [sizes[i] for i in order]
    elif any(a < b for a, b in itertools.pairwise(sizes)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
            "You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    sequence = input.transpose(0, 1) if batch_first else input
    if len(sizes) != sequence.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
            f"(batch_size={sequence.shape[1]})"
        )
    if sizes[0] > sequence.shape[0]:
        raise RuntimeError(
            f"Expected lengths of at most {sequence.shape[0]} time steps, but got {sizes[0]}"
        )
    sorted_indices = None
    if order is not None:
        sorted_indices = tensor(order, device=input.device)
        sequence = sequence.index_select(1, sorted_indices)
    counts = [sum(size > t for size in sizes) for t in range(sizes[0])]
    rows = [sequence[t, :count] for t, count in enumerate(counts)]
    return PackedSequence(cat(rows, 0), tensor(counts), sorted_indices, None)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Undo packing: the padded batch and the lengths (N,) int64 on the CPU."""
    data, batch_sizes, _, unsorted_indices = sequence
    counts = batch_sizes.tolist()
    longest, batch = len(counts), counts[0]
    if total_length is not None and total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, "
            f"but got total_length={total_length} and max sequence length being {longest}"
        )
    steps, start = [], 0
    for count in counts:
        rows = data[start : start + count]
        if count < batch:
            shape = (batch - count, *data.shape[1:])
            rows = cat([rows, data.new_full(shape, padding_value)], 0)
        steps.append(rows)
        start += count
    empty_step = (batch, *data.shape[1:])
    steps += [data.new_full(empty_step, padding_value)] * ((total_length or longest) - longest)
    padded = stack(steps, 0)
    lengths = tensor([sum(count > i for count in counts) for i in range(batch)])
    if unsorted_indices is not None:
        padded = padded.index_select(1, unsorted_indices)
        lengths = lengths.index_select(0, unsorted_indices.cpu())
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (L_i, *), padded to the longest: (T, N, *), or (N, T, *)."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if padding_side not in ("right", "left"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    items = sequences.unbind(0) if isinstance(sequences, Tensor) else list(sequences)
    if not items:
        raise RuntimeError("received an empty list of sequences")
    longest = max(item.shape[0] for item in items)
    rows = []
    for item in items:
        missing = longest - item.shape[0]
        if missing:
            filler = items[0].new_full((missing, *item.shape[1:]), padding_value)
            item = cat([item, filler] if padding_side == "right" else [filler, item], 0)
        rows.append(item)
    return stack(rows, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded batch, each with its own length."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [
        sequence[: int(length)]
        for sequence, length in zip(padded_sequences.unbind(0), lengths.tolist(), strict=True)
    ]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (L_i, *)."""
    lengths = [sequence.shape[0] for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list of sequences of a packed one."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
