"""Recurrent networks: Elman, LSTM and GRU cells, and stacks of layers over sequences.

A sequence is handled as rows of one matrix, time step after time step; ``sizes`` gives the number
of rows of each step. Padded batches have equal sizes, packed ones (shorter and shorter) do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola.functional._register import operator
from cupola.functional.activation import relu
from cupola.functional.convolution import linear
from cupola.functional.dropout import dropout as drop
from cupola.functional.joining import cat, stack
from cupola.ir.mode import mode
from cupola.ops import matmul as matmul_ops
from cupola.ops import movement
from cupola.tensor import Tensor, apply


def _steps(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The rows of each time step; not views, since nothing is written through them."""
    parts, start = [], 0
    for size in sizes:
        box = {"starts": (start, 0), "stops": (start + size, x.shape[1]), "steps": (1, 1)}
        parts.append(apply(movement.slice, x, **box))
        start += size
    return parts


# -- cells: one step, given the projected input --------------------------------------------------


def _low(device: str) -> Any:
    """What autocast casts products to on a device type; None where it is off."""
    return None if mode.casts is None else mode.casts.get(device)


def _cast(values: Sequence[Any], low: Any) -> list[Any]:
    """Tensors of 16- or 32-bit floating point in the region's dtype, once for all steps."""
    return [
        v if v is None or not v.is_floating_point() or v.dtype.itemsize > 4 else v.to(low)
        for v in values
    ]


def _affine(x: Tensor, w: Tensor, b: Any) -> Tensor:
    """``x w + b`` with a weight (in, out) that was transposed once for all steps."""
    if mode.casts is not None:
        return linear(x, w.t(), b)
    result = apply(matmul_ops.matmul, x, w)
    return result if b is None else result + b


def _columns(x: Tensor, start: int, count: int) -> Tensor:
    """Some columns of a matrix; not a view, since nothing is written through it."""
    return apply(
        movement.slice, x, starts=(0, start), stops=(x.shape[0], start + count), steps=(1, 1)
    )


def _lstm_step(
    gates: Tensor, state: tuple[Tensor, Tensor], w_hh: Tensor, b_hh: Any, w_hr: Any
) -> tuple[Tensor, Tensor]:
    h, c = state
    gates = gates + _affine(h, w_hh, b_hh)
    size = c.shape[-1]
    i, f, g, o = (_columns(gates, k * size, size) for k in range(4))
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if w_hr is None else linear(h, w_hr)), c


def _gru_step(
    gates: Tensor, state: tuple[Tensor], w_hh: Tensor, b_hh: Any, w_hr: Any
) -> tuple[Tensor]:
    (h,) = state
    hidden = _affine(h, w_hh, b_hh)
    size = h.shape[-1]
    both = (_columns(gates, 0, 2 * size) + _columns(hidden, 0, 2 * size)).sigmoid()
    r, z = _columns(both, 0, size), _columns(both, size, size)
    n = (_columns(gates, 2 * size, size) + r * _columns(hidden, 2 * size, size)).tanh()
    return (n + z * (h - n),)


def _elman_step(activation: Callable[[Tensor], Tensor]) -> Callable:
    def step(
        gates: Tensor, state: tuple[Tensor], w_hh: Tensor, b_hh: Any, w_hr: Any
    ) -> tuple[Tensor]:
        return (activation(gates + _affine(state[0], w_hh, b_hh)),)

    return step


_STEPS: dict[str, Callable] = {
    "LSTM": _lstm_step,
    "GRU": _gru_step,
    "RNN_TANH": _elman_step(lambda x: x.tanh()),
    "RNN_RELU": _elman_step(relu),
}

# -- layers ------------------------------------------------------------------------------------


def _forward_in_time(
    step: Callable, x: Tensor, state: tuple, sizes: Sequence[int], weights: tuple
) -> tuple[Tensor, tuple]:
    outputs, finished = [], []
    rows = sizes[0]
    for part, size in zip(_steps(x, sizes), sizes, strict=True):
        if size < rows:
            # The shortest sequences end here: their state is final.
            finished.append(tuple(s.narrow(0, size, rows - size) for s in state))
            state = tuple(s.narrow(0, 0, size) for s in state)
            rows = size
        state = step(part, state, *weights)
        outputs.append(state[0])
    finished.append(state)
    if len(finished) > 1:
        state = tuple(cat(parts, 0) for parts in zip(*reversed(finished), strict=True))
    return cat(outputs, 0), state


def _backward_in_time(
    step: Callable, x: Tensor, initial: tuple, sizes: Sequence[int], weights: tuple
) -> tuple[Tensor, tuple]:
    outputs: list[Tensor] = []
    rows = sizes[-1]
    state = initial
    if rows < sizes[0]:
        state = tuple(s.narrow(0, 0, rows) for s in initial)
    for part, size in zip(reversed(_steps(x, sizes)), reversed(sizes), strict=True):
        if size > rows:
            # Longer sequences have reached their last element: they start here.
            state = tuple(
                cat([s, s0.narrow(0, rows, size - rows)], 0)
                for s, s0 in zip(state, initial, strict=True)
            )
            rows = size
        state = step(part, state, *weights)
        outputs.append(state[0])
    return cat(outputs[::-1], 0), state


def run_layers(
    kind: str,
    data: Tensor,
    sizes: Sequence[int],
    states: tuple[Tensor, ...],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a stack of recurrent layers over rows ``data`` (sum of sizes, features).

    ``states`` are the initial states (num_layers * directions, N, *): h, and c for LSTM. Returns
    the last layer's rows and the final states.
    """
    step = _STEPS[kind]
    directions = 2 if bidirectional else 1
    per_layer = len(params) // (num_layers * directions)
    low = _low(data.device.type)
    if low is not None:
        params = _cast(params, low)
        if data.device.type != "cpu" or kind == "LSTM" and per_layer in (2, 4):
            # One operator of PyTorch; on the CPU the others are composed of those that it casts.
            data, states = _cast([data], low)[0], tuple(_cast(states, low))
    finals: list[tuple] = []
    for layer in range(num_layers):
        results = []
        for direction in range(directions):
            place = layer * directions + direction
            own = list(params[place * per_layer : (place + 1) * per_layer])
            w_ih, w_hh = own[:2]
            b_ih, b_hh = own[2:4] if has_biases else (None, None)
            w_hr = own[-1] if per_layer in (3, 5) else None
            if has_biases and kind != "GRU":
                # Both biases only ever appear as their sum; GRU scales one of them.
                b_ih, b_hh = b_ih + b_hh, None
            x = linear(data, w_ih, b_ih)
            initial = tuple(s.select(0, place) for s in states)
            walk = _backward_in_time if direction else _forward_in_time
            rows, final = walk(step, x, initial, sizes, (w_hh.t(), b_hh, w_hr))
            results.append(rows)
            finals.append(final)
        data = results[0] if directions == 1 else cat(results, -1)
        if dropout > 0 and train and layer < num_layers - 1:
            data = drop(data, dropout, True)
    return data, tuple(stack(list(parts), 0) for parts in zip(*finals, strict=True))


# -- torch's functions -------------------------------------------------------------------------


def _run(kind: str, args: tuple) -> tuple[Tensor, ...]:
    """Tell apart ``(input, hx, params, ..., batch_first)`` and ``(data, batch_sizes, hx, ...)``."""
    if isinstance(args[2], Tensor) or (
        kind == "LSTM" and isinstance(args[1], Tensor) and args[1].dim() == 1
    ):
        data, batch_sizes, hx, params, biases, layers, dropout, train, both = args
        states = tuple(hx) if kind == "LSTM" else (hx,)
        rows, finals = run_layers(
            kind, data, batch_sizes.tolist(), states, params, biases, layers, dropout, train, both
        )
        return (rows, *finals)
    input, hx, params, biases, layers, dropout, train, both, batch_first = args
    states = tuple(hx) if kind == "LSTM" else (hx,)
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.shape[:2]
    rows, finals = run_layers(
        kind,
        input.reshape(steps * batch, input.shape[2]),
        [batch] * steps,
        states,
        params,
        biases,
        layers,
        dropout,
        train,
        both,
    )
    output = rows.reshape(steps, batch, rows.shape[1])
    return (output.transpose(0, 1) if batch_first else output, *finals)


@operator(method=False)
def lstm(*args: Any) -> tuple[Tensor, ...]:
    """Stacked LSTM: (output, h_n, c_n); padded or packed arguments as in ``torch.lstm``."""
    return _run("LSTM", args)


@operator(method=False)
def gru(*args: Any) -> tuple[Tensor, ...]:
    """Stacked GRU: (output, h_n); padded or packed arguments as in ``torch.gru``."""
    return _run("GRU", args)


@operator(method=False)
def rnn_tanh(*args: Any) -> tuple[Tensor, ...]:
    """Stacked Elman network with tanh: (output, h_n)."""
    return _run("RNN_TANH", args)


@operator(method=False)
def rnn_relu(*args: Any) -> tuple[Tensor, ...]:
    """Stacked Elman network with ReLU: (output, h_n)."""
    return _run("RNN_RELU", args)


@operator(method=False)
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One LSTM step (Hochreiter and Schmidhuber, 1997): (h, c)."""
    return _lstm_step(linear(input, w_ih, b_ih), tuple(hx), w_hh.t(), b_hh, None)


@operator(method=False)
def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One GRU step (Cho et al., 2014)."""
    return _gru_step(linear(input, w_ih, b_ih), (hx,), w_hh.t(), b_hh, None)[0]


@operator(method=False)
def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One Elman step with tanh."""
    return _STEPS["RNN_TANH"](linear(input, w_ih, b_ih), (hx,), w_hh.t(), b_hh, None)[0]


@operator(method=False)
def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One Elman step with ReLU."""
    return _STEPS["RNN_RELU"](linear(input, w_ih, b_ih), (hx,), w_hh.t(), b_hh, None)[0]
