"""cuDNN graphs through its frontend package, convolutions above all: a plan a problem, built once.

A problem is everything that a plan depends on: shapes, strides, types, window, epilogue and the
numerical switches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from cupola.backends.cuda.device import capturing, current, require, stream
from cupola.backends.cuda.pause import pause
from cupola.backends.cuda.scratch import scratch

Dims = tuple[int, ...]

ALIGNED = 16
"""What addresses are multiples of, in bytes: the frontend tells cuDNN so of every operand."""
# Scratch memory that an engine may ask for. A ring of blocks is kept for each stream.
_WORKSPACE = 1 << 30


class NoPlan(Exception):
    """cuDNN is absent or switched off, or has no engine for a problem."""


@dataclass(frozen=True)
class Layout:
    """Shape and strides, in elements."""

    shape: Dims
    strides: Dims


@dataclass(frozen=True)
class Problem:
    """One convolution, or one of its adjoints.

    Attributes:
        kind: ``fprop`` (x, w -> y), ``dgrad`` (y's gradient, w -> x's) or ``wgrad`` (x, y's
            gradient -> w's).
        dtype: NumPy name of the element type.
        first, second, result: the two operands in the order above and the result.
        padding: the same on both sides of a dimension.
        bias: added to each channel of the result (fprop only).
        residual: layout of an array added after the bias.
        activation: ``relu``, ``gelu``, ``gelu_tanh``, ``silu``, ``sigmoid``, ``tanh`` or empty;
            applied last.
    """

    kind: str
    dtype: str
    first: Layout
    second: Layout
    result: Layout
    stride: Dims
    padding: Dims
    dilation: Dims
    bias: bool = False
    residual: Layout | None = None
    activation: str = ""
    tf32: bool = True
    deterministic: bool = False


_ACTIVATIONS = {
    "relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_approx_tanh", "silu": "swish",
    "sigmoid": "sigmoid", "tanh": "tanh",
}  # fmt: skip


@lru_cache(maxsize=1)
def module() -> Any:
    """The frontend package, or None where it or cuDNN itself is missing."""
    try:
        import cudnn

        cudnn.backend_version()
    except Exception:
        return None
    return cudnn


@cache
def _handle(device: int) -> int:
    return int(module().create_handle())


class Plan:
    """A built graph; called with addresses: first, second, result, then bias, residual if any."""

    def __init__(self, graph: Any, tensors: list[Any], device: int) -> None:
        self.graph = graph
        self.ids = [t.get_uid() for t in tensors]
        self.workspace = int(graph.get_workspace_size())
        self.handle = _handle(device)

    def __call__(self, addresses: list[int]) -> None:
        room = scratch.address(self.workspace) if self.workspace else 0
        with _lock:
            module().set_stream(handle=self.handle, stream=stream())
            self._run(dict(zip(self.ids, addresses)), room)
        if not capturing():
            pause()

    def _run(self, pack: dict[int, int], room: int) -> None:
        try:
            self.graph._execute(pack, room, self.handle)
        except RuntimeError:
            if capturing():
                raise
            # cuDNN loads kernels when they are first used: into memory that the pool may hold.
            require().cuda.get_current_stream().synchronize()
            require().get_default_memory_pool().free_all_blocks()
            self.graph._execute(pack, room, self.handle)


_lock = threading.Lock()
_plans: dict[tuple[Problem, int], Plan | None] = {}


def plan(problem: Problem) -> Plan | None:
    """The plan for a problem on the current device, or None: cuDNN is absent or has no engine."""
    key = (problem, current())
    if key not in _plans:
        if len(_plans) >= 4096:
            _plans.clear()
        _plans[key] = _build(problem, key[1])
    return _plans[key]


def tensor(graph: Any, layout: Layout) -> Any:
    """An operand of a graph, of the graph's element type."""
    return graph.tensor(dim=list(layout.shape), stride=list(layout.strides))


def give(result: Any, layout: Layout) -> None:
    """Makes a value of a graph one of its results."""
    result.set_output(True).set_dim(list(layout.shape)).set_stride(list(layout.strides))


def build(
    dtype: str,
    describe: Callable[[Any, Any], list[Any]],
    device: int,
    unwanted: Callable[[Any], list[Any]] = lambda cudnn: [],
) -> Plan | None:
    """A plan for what ``describe(graph, cudnn)`` writes down, or None: cuDNN is absent or refuses.

    ``describe`` returns the tensors in the order of the addresses that the plan is called with;
    ``unwanted(cudnn)`` the numerical notes that no engine may have.
    """
    cudnn = module()
    if cudnn is None:
        return None
    names = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16", "float64": "DOUBLE"}
    io = getattr(cudnn.data_type, names[dtype])
    compute = io if dtype == "float64" else cudnn.data_type.FLOAT
    try:
        graph = cudnn.pygraph(
            io_data_type=io,
            intermediate_data_type=compute,
            compute_data_type=compute,
            handle=_handle(device),
        )
        tensors = describe(graph, cudnn)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        notes = unwanted(cudnn)
        if notes:
            graph.deselect_numeric_notes(notes)
        graph.deselect_workspace_greater_than(_WORKSPACE)
        graph.check_support()
        graph.build_plans()
        return Plan(graph, tensors, device)
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError):
        # The frontend raises plain errors, too, where no engine takes the problem.
        return None


def _build(problem: Problem, device: int) -> Plan | None:
    def describe(graph: Any, cudnn: Any) -> list[Any]:
        first, second = tensor(graph, problem.first), tensor(graph, problem.second)
        window = {
            "padding": list(problem.padding),
            "stride": list(problem.stride),
            "dilation": list(problem.dilation),
        }
        if problem.kind == "fprop":
            result = graph.conv_fprop(image=first, weight=second, **window)
        elif problem.kind == "dgrad":
            result = graph.conv_dgrad(loss=first, filter=second, **window)
        else:
            result = graph.conv_wgrad(image=first, loss=second, **window)
        result.set_dim(list(problem.result.shape))
        extra = []
        if problem.bias:
            channels, rest = problem.result.shape[1], len(problem.result.shape) - 2
            shape, strides = (1, channels, *(1,) * rest), (channels, 1, *(channels,) * rest)
            extra.append(tensor(graph, Layout(shape, strides)))
            result = graph.bias(input=result, bias=extra[-1])
        if problem.residual is not None:
            extra.append(tensor(graph, problem.residual))
            result = graph.add(a=result, b=extra[-1])
        if problem.activation:
            result = getattr(graph, _ACTIVATIONS[problem.activation])(input=result)
        give(result, problem.result)
        return [first, second, result, *extra]

    def unwanted(cudnn: Any) -> list[Any]:
        notes = []
        if problem.dtype == "float32":
            notes.append(cudnn.numerical_note.DOWN_CONVERT_INPUTS)
            if not problem.tf32:
                notes.append(cudnn.numerical_note.TENSOR_CORE)
        if problem.deterministic:
            notes.append(cudnn.numerical_note.NONDETERMINISTIC)
        return notes

    return build(problem.dtype, describe, device, unwanted)
