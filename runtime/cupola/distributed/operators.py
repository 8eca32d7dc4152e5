"""Differentiable operators between processes; each that takes a tensor is also its method.

What they need is loaded when one is called.
"""

from __future__ import annotations

import importlib
from typing import Any

from cupola.functional._register import operator
from cupola.tensor import Tensor


def _collectives() -> Any:
    return importlib.import_module("cupola.distributed.collectives")


@operator(public=False)
def mpi_all_reduce(input: Tensor, op: str = "add", group: Any = None) -> Tensor:
    """The reduction of every rank's tensor, at every rank, over host memory. Differentiable.

    Args:
        op: add, mean, max or min; also prod, band, bor, bxor, which have no gradient.

    Shapes and dtypes must agree between ranks; mean needs floating point.

    Raises:
        ValueError: there is no such reduction.
        TypeError: it is not defined for the dtype.
    """
    return _collectives().all_reduce(input, op, group, "mpi")


@operator(public=False)
def nccl_all_reduce(input: Tensor, op: str = "add", group: Any = None) -> Tensor:
    """``mpi_all_reduce`` between GPUs, by NCCL; by MPI, with one warning, where it cannot be."""
    return _collectives().all_reduce(input, op, group, "nccl")


@operator(public=False)
def mpi_reduce(input: Tensor, op: str = "add", root: int = 0, group: Any = None) -> Tensor:
    """The reduction at rank ``root``, zeros elsewhere, over host memory. Differentiable."""
    return _collectives().reduce(input, op, root, group, "mpi")


@operator(public=False)
def nccl_reduce(input: Tensor, op: str = "add", root: int = 0, group: Any = None) -> Tensor:
    """``mpi_reduce`` between GPUs, by NCCL."""
    return _collectives().reduce(input, op, root, group, "nccl")


@operator(public=False)
def mpi_broadcast(input: Tensor, root: int = 0, group: Any = None) -> Tensor:
    """Rank ``root``'s tensor at every rank, over host memory; the gradient is summed at root."""
    return _collectives().broadcast(input, root, group, "mpi")


@operator(public=False)
def nccl_broadcast(input: Tensor, root: int = 0, group: Any = None) -> Tensor:
    """``mpi_broadcast`` between GPUs, by NCCL."""
    return _collectives().broadcast(input, root, group, "nccl")


@operator(public=False)
def all_gather(input: Tensor, group: Any = None) -> Tensor:
    """Every rank's tensor (*shape), stacked as (size, *shape) at every rank. Differentiable."""
    return _collectives().all_gather(input, group, "auto")


@operator(public=False)
def reduce_scatter(input: Tensor, op: str = "add", group: Any = None) -> Tensor:
    """Row i of the reduction of (size, *shape) tensors, at rank i: (*shape). Differentiable."""
    return _collectives().reduce_scatter(input, op, group, "auto")


@operator(public=False)
def send(input: Tensor, dst: int, tag: int = 0, group: Any = None) -> Tensor:
    """Sends a tensor to rank ``dst``.

    The result is a zero of no dimensions: add it to the loss (or call its ``backward``), and the
    gradient comes back from the receiver.
    """
    return _collectives().send(input, dst, tag, group, "auto")


@operator(public=False)
def recv(like: Tensor, src: int, tag: int = 0, group: Any = None) -> Tensor:
    """The tensor that rank ``src`` sends, with the shape, dtype and device of ``like``.

    Where ``like`` requires a gradient, ``backward`` sends the result's gradient to ``src``.
    """
    return _collectives().receive(like, src, tag, group, "auto")


def barrier(group: Any = None) -> None:
    """Waits until every rank has come here."""
    _collectives().barrier(group)
