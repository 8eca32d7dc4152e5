"""Convolutions as cuDNN graphs through its frontend package: a plan a problem, built once.

A problem is everything that a plan depends on: shapes, strides, types, window, epilogue and the
numerical switches.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from cupola.backends.cuda.device import current, require, stream
from cupola.backends.cuda.pause import pause
from cupola.backends.cuda.scratch import scratch

Dims = tuple[int, ...]


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
            self.graph._execute(dict(zip(self.ids, addresses)), room, self.handle)
        if not require().cuda.get_current_stream().is_capturing():
            pause()


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


def _build(problem: Problem, device: int) -> Plan | None:
    cudnn = module()
    if cudnn is None:
        return None
    names = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16", "float64": "DOUBLE"}
    io = getattr(cudnn.data_type, names[problem.dtype])
    compute = io if problem.dtype == "float64" else cudnn.data_type.FLOAT
    try:
        graph = cudnn.pygraph(
            io_data_type=io,
            intermediate_data_type=compute,
            compute_data_type=compute,
            handle=_handle(device),
        )

        def tensor(layout: Layout) -> Any:
            return graph.tensor(dim=list(layout.shape), stride=list(layout.strides), data_type=io)

        first, second = tensor(problem.first), tensor(problem.second)
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
            extra.append(tensor(Layout(shape, strides)))
            result = graph.bias(input=result, bias=extra[-1])
        if problem.residual is not None:
            extra.append(tensor(problem.residual))
            result = graph.add(a=result, b=extra[-1])
        if problem.activation:
            result = getattr(graph, _ACTIVATIONS[problem.activation])(input=result)
        result.set_output(True).set_data_type(io).set_dim(list(problem.result.shape))
        result.set_stride(list(problem.result.strides))
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        unwanted = []
        if problem.dtype == "float32":
            unwanted.append(cudnn.numerical_note.DOWN_CONVERT_INPUTS)
            if not problem.tf32:
                unwanted.append(cudnn.numerical_note.TENSOR_CORE)
        if problem.deterministic:
            unwanted.append(cudnn.numerical_note.NONDETERMINISTIC)
        if unwanted:
            graph.deselect_numeric_notes(unwanted)
        graph.check_support()
        graph.build_plans()
        return Plan(graph, [first, second, result, *extra], device)
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError):
        # The frontend raises plain errors, too, where no engine takes the problem.
        return None
