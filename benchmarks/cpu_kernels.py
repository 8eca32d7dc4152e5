"""Kernels on the CPU: cupola beside eager and compiled torch, milliseconds.

usage: cpu_kernels.py [NAME ...] [--threads N] [--seconds S] [--no-compile]

Every case is checked against torch first; then all sides take turns in one process. cupola records
and runs each call anew, as an uncompiled program does. torch.compile needs a C++ compiler and is
left out where there is none.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import _compare
import numpy as np


class Case(NamedTuple):
    """A computation in the names that both libraries share.

    Attributes:
        shapes: of the float32 inputs.
        run: takes the library, its ``nn.functional`` and the inputs.
        gradient: whether the inputs' gradients are what is computed.
    """

    shapes: tuple[tuple[int, ...], ...]
    run: Callable[..., Any]
    gradient: bool = False


ROWS = (4096, 1024)
CASES = {
    "gelu(x*a+b)+c, 16M": Case(((1 << 24,),) * 4, lambda m, f, x, a, b, c: f.gelu(x * a + b) + c),
    "gelu 16M": Case(((1 << 24,),), lambda m, f, x: f.gelu(x)),
    "add 16M": Case(((1 << 24,),) * 2, lambda m, f, x, y: x + y),
    "softmax 4096x1024": Case((ROWS,), lambda m, f, x: f.softmax(x, 1)),
    "log_softmax 4096x1024": Case((ROWS,), lambda m, f, x: f.log_softmax(x, 1)),
    "softmax over rows 4096x1024": Case((ROWS,), lambda m, f, x: f.softmax(x, 0)),
    "layer_norm 4096x1024": Case(
        (ROWS, (1024,), (1024,)), lambda m, f, x, w, b: f.layer_norm(x, (1024,), w, b)
    ),
    "rms_norm 4096x1024": Case((ROWS, (1024,)), lambda m, f, x, w: f.rms_norm(x, (1024,), w)),
    "group_norm 8x64x56x56": Case(
        ((8, 64, 56, 56), (64,), (64,)), lambda m, f, x, w, b: f.group_norm(x, 8, w, b)
    ),
    "batch_norm 8x64x56x56": Case(
        ((8, 64, 56, 56), (64,), (64,)),
        lambda m, f, x, w, b: f.batch_norm(x, None, None, w, b, True),
    ),
    "sum over rows 4096x4096": Case(((4096, 4096),), lambda m, f, x: x.sum(0)),
    "sum over columns 4096x4096": Case(((4096, 4096),), lambda m, f, x: x.sum(1)),
    "sum of all 4096x4096": Case(((4096, 4096),), lambda m, f, x: x.sum()),
    "argmax 4096x1024": Case((ROWS,), lambda m, f, x: x.argmax(1)),
    "var_mean 4096x1024": Case((ROWS,), lambda m, f, x: m.var_mean(x, 1)),
    "transpose 4096x4096": Case(((4096, 4096),), lambda m, f, x: x.t().contiguous()),
    "softmax gradient 4096x1024": Case((ROWS,), lambda m, f, x: f.softmax(x, 1), True),
    "layer_norm gradient 4096x1024": Case(
        (ROWS, (1024,), (1024,)), lambda m, f, x, w, b: f.layer_norm(x, (1024,), w, b), True
    ),
    "gelu gradient 4M": Case(((1 << 22,),), lambda m, f, x: f.gelu(x), True),
}
ADAM = {
    "Adam, 100 parameters, 10M": [(256, 384), (384,)] * 50,
    "Adam, 1 parameter, 16M": [(1 << 24,)],
}


def listed(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


def sides_of(case: Case, compiled: bool) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """The sides of a case, checked against each other, and the seconds that compiling took."""
    import torch

    import cupola
    from cupola import engine

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, dtype=np.float32) for s in case.shapes]

    def side(m: Any, xs: list[Any], run: Callable[..., Any]) -> Callable[[], list[Any]]:
        f = m.nn.functional
        if not case.gradient:
            return lambda: listed(run(m, f, *xs))
        leaves = [x.requires_grad_() for x in xs]
        shape = tuple(run(m, f, *leaves).shape)
        seed = m.tensor(np.random.default_rng(1).standard_normal(shape, dtype=np.float32))

        def call() -> list[Any]:
            for x in leaves:
                x.grad = None
            run(m, f, *leaves).backward(seed)
            return [x.grad for x in leaves]

        return call

    ours = side(cupola, [cupola.tensor(a) for a in arrays], case.run)

    def settled() -> list[Any]:
        out = ours()
        engine.realize([t.node for t in out])
        return out

    copies = [torch.tensor(a) for a in arrays]
    sides = {"cupola": settled, "torch eager": side(torch, copies, case.run)}
    seconds = {}
    start = time.perf_counter()
    got = [t.detach().numpy() for t in settled()]
    seconds["cupola"] = time.perf_counter() - start
    want = [t.detach().numpy() for t in sides["torch eager"]()]
    _compare.same(got, want, 1e-5, "cupola")
    if compiled:
        copies = [torch.tensor(a) for a in arrays]
        sides["torch.compile"] = side(torch, copies, torch.compile(case.run, dynamic=False))
        start = time.perf_counter()
        out = sides["torch.compile"]()
        seconds["torch.compile"] = time.perf_counter() - start
        _compare.same([t.detach().numpy() for t in out], want, 1e-5, "torch.compile")
    return sides, seconds


def adam_sides(shapes: list[tuple[int, ...]]) -> dict[str, Callable[[], Any]]:
    """One step of Adam over parameters whose gradients stay the same."""
    import torch

    import cupola
    from cupola import engine

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, dtype=np.float32) for s in shapes]
    grads = [rng.standard_normal(s, dtype=np.float32) for s in shapes]

    def side(m: Any, **options: Any) -> tuple[list[Any], Callable[[], Any]]:
        params = [m.nn.Parameter(m.tensor(a)) for a in arrays]
        for p, g in zip(params, grads, strict=True):
            p.grad = m.tensor(g)
        return params, m.optim.Adam(params, lr=1e-3, **options).step

    params, step = side(cupola)

    def settled() -> None:
        step()
        engine.realize([p.node for p in params])

    theirs, sides = {}, {"cupola": settled}
    theirs["torch eager"], sides["torch eager"] = side(torch)
    theirs["torch fused"], sides["torch fused"] = side(torch, fused=True)
    for _ in range(3):
        for call in sides.values():
            call()
    for name in theirs:
        want = [p.detach().numpy() for p in theirs[name]]
        _compare.same([p.detach().numpy() for p in params], want, 1e-5, f"Adam, {name}")
    return sides


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # before the libraries start their threads
    import torch

    import cupola

    torch.set_num_threads(given.threads)
    cupola.set_num_threads(given.threads)
    compiled = not given.no_compile and shutil.which("g++") is not None
    columns = ["cupola", "torch eager", "torch.compile", "torch fused"]
    rows, first = [], {}

    def asked(name: str) -> bool:
        return not given.names or any(n in name for n in given.names)

    for name, case in CASES.items():
        if asked(name):
            sides, first[name] = sides_of(case, compiled)
            rows.append(_compare.row(name, _compare.timed(sides, given.seconds), columns))
            print(rows[-1], flush=True)
    for name, shapes in ADAM.items():
        if asked(name):
            times = _compare.timed(adam_sides(shapes), given.seconds)
            rows.append(_compare.row(name, times, columns))
            print(rows[-1], flush=True)
    notes = [f"{given.threads} threads; ratio: the fastest other side's median over cupola's."]
    for side in ("cupola", "torch.compile"):
        spent = [s[side] for s in first.values() if side in s]
        if spent:
            notes.append(
                f"First call with {side}: {min(spent):.2f} to {max(spent):.2f} s, "
                f"{sum(spent):.1f} s in all."
            )
    if not compiled:
        notes.append("torch.compile was left out.")
    _compare.report("cpu_kernels", ["ms", *columns, "ratio"], rows, notes, threads=given.threads)


if __name__ == "__main__":
    main()
