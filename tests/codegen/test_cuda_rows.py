"""Kernels of whole programs in CUDA C, run by the emulator: stages, several results, carries."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cupola
from codegen.cuda_emulator import GXX, compiled
from cupola import engine
from cupola.codegen.cuda import Choice, entry, head, plan, source
from cupola.codegen.lower import lower, view
from cupola.engine import compiled as engine_compiled
from cupola.nn import functional as F
from cupola.schedule import Lowering
from cupola.schedule import plan as partitioned

pytestmark = pytest.mark.skipif(GXX is None, reason="the emulator needs g++")


def softmax_gradient(x, y):
    leaf = x.detach().requires_grad_()
    F.softmax(leaf, 1).backward(y)
    return [leaf.grad]


def layer_norm_gradient(x, y):
    leaf = x.detach().requires_grad_()
    out = F.layer_norm(leaf, (x.shape[1],))
    out.backward(y)
    return [leaf.grad, out]


def statistics(x, y):
    mean = x.mean(0, keepdim=True)
    centered = x - mean
    var = (centered * centered).mean(0, keepdim=True)
    return [mean, var, centered * (var + 1e-3).rsqrt() * y, (x * y).sum(0)]


def emulated(kernel, meta, scalars, arrays, folder: Path, choice: Choice | None) -> None:
    """Runs a kernel's launches on these arrays."""
    steps = plan(kernel, meta, [a.ctypes.data % 16 for a in arrays], choice=choice)
    scratch = np.full(steps.scratch + 16, 0xA5, np.uint8)
    integers = meta[len(meta) - kernel.integers :]
    top = head(kernel).pack(
        *(a.ctypes.data for a in arrays), *scalars, *integers, scratch.ctypes.data
    )
    for step in steps.steps:
        library = compiled(source(kernel, step.variant), entry(kernel, step.variant), folder)
        parameters = ctypes.create_string_buffer(top + step.static + bytes(8))
        grid, block = (ctypes.c_int * 3)(*step.grid), (ctypes.c_int * 3)(*step.block)
        library.run(parameters, grid, block)


@pytest.mark.parametrize(
    ("function", "choice"),
    [(softmax_gradient, None), (layer_norm_gradient, Choice(parts=2)), (statistics, None)],
)
def test_rows(function, choice, tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    inputs = [cupola.tensor(rng.standard_normal((6, 40), np.float32)) for _ in range(2)]
    runs = []
    call = engine_compiled.Compiled.__call__

    def spy(self, order, *rest):
        before = [n.value for n in order]
        numbers = [n.attrs.get("value") if n.op.name == "const" else None for n in order]
        out = call(self, order, *rest)
        runs.append((self, before, numbers, out))
        return out

    monkeypatch.setattr(engine_compiled.Compiled, "__call__", spy)
    engine.use_backend("cpu", engine.backend("cpu"))  # forget plans: programs are made anew
    outs = function(*inputs)
    engine.realize([o.node for o in outs])
    made, before, numbers, results = runs[-1]
    program = made.plan.program
    again = partitioned(
        replace(program, device_type="cuda", copied=set(), views={}), Lowering(lower, view)
    )
    values, constants = {}, dict(made.fixed)
    for k, p in enumerate(made.place):
        if p >= 0:
            values[p] = before[k]
            constants[p] = numbers[k]
    kernels = 0
    for step in again.steps:
        if step[0] == "view":
            values[step[1]] = np.lib.stride_tricks.as_strided(
                values[step[2].base].reshape(-1)[step[2].offset :],
                program.items[step[1]].shape,
                [4 * s for s in step[2].strides],
            )
        if step[0] != "kernel":
            continue
        kernels += 1
        low = step[1]
        for i in low.outputs:
            values[i] = np.full(program.items[i].shape, np.nan, program.items[i].dtype.np)
        scalars = [
            (float if program.items[i].dtype.is_floating_point else int)(constants[i])
            for i in low.scalars
        ]
        arrays = [values[i] for i in (*low.inputs, *low.outputs)]
        emulated(low.kernel, low.meta, scalars, arrays, tmp_path, choice)
    assert kernels == 1
    for i in program.wanted:
        np.testing.assert_allclose(values[i], results[i], rtol=2e-5, atol=2e-6)
