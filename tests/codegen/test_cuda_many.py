"""A flat CUDA kernel over many sets of arrays, run by the emulator."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.cuda_emulator import GXX, compiled
from cupola import dtypes as dt
from cupola.codegen import form
from cupola.codegen.cuda import many


def update() -> form.Kernel:
    """``m = m + g * s0; p = p - m * s1``, the moment and the parameter stored."""
    f = dt.float32
    whole = form.Affine((1,))
    code = [
        form.Inst("load", f, (), 0),
        form.Inst("load", f, (), 1),
        form.Inst("scalar", f, (), 0),
        form.Inst("mul", f, (1, 2)),
        form.Inst("add", f, (0, 3)),
        form.Inst("load", f, (), 2),
        form.Inst("scalar", f, (), 1),
        form.Inst("mul", f, (4, 6)),
        form.Inst("sub", f, (5, 7)),
    ]
    return form.Kernel(
        outer=1,
        inner=0,
        buffers=(f,) * 5,
        scalars=(f, f),
        integers=0,
        accesses=tuple(form.Access(b, whole) for b in range(5)),
        stages=(form.Stage("point", tuple(code), (), (form.Store(3, 4), form.Store(4, 8))),),
    )


@pytest.mark.skipif(GXX is None, reason="the emulator needs g++")
@pytest.mark.parametrize("shift", [0, 1])
def test_every_set_is_updated(tmp_path: Path, shift: int) -> None:
    """``shift`` elements before the first one: addresses that vectors cannot have."""
    kernel = update()
    assert form.is_flat(kernel)
    rng = np.random.default_rng(0)
    sizes = [5, 1, 2000, 1024, 3, 17]
    sets = []
    for n in sizes:
        room = [np.empty(n + 8, np.float32) for _ in range(5)]
        skip = [-(a.ctypes.data // 4) % 4 + shift for a in room]
        arrays = [a[s : s + n] for a, s in zip(room, skip)]
        for a in arrays:
            a[:] = rng.standard_normal(n)
        sets.append(arrays)
    expected = []
    for m, g, p, _, _ in sets:
        moment = m + g * np.float32(0.5)
        expected.append((moment, p - moment * np.float32(0.1)))
    pointers = [a.ctypes.data for arrays in sets for a in arrays]
    low = 0
    for p in pointers:
        low |= p
    shape = many(kernel, sizes, low & 15)
    assert shape.variant.lanes == (1 if shift else 4)
    library = compiled(shape.source(), shape.name, tmp_path)
    block = shape.pack(pointers, sizes, (0.5, 0.1))
    assert len(block) <= 4096
    parameters = ctypes.create_string_buffer(block + bytes(8))
    grid, threads = (ctypes.c_int * 3)(shape.blocks(sizes)[-1], 1, 1), (ctypes.c_int * 3)(256, 1, 1)
    library.run(parameters, grid, threads)
    for arrays, (moment, value) in zip(sets, expected):
        np.testing.assert_allclose(arrays[3], moment, rtol=1e-6)
        np.testing.assert_allclose(arrays[4], value, rtol=1e-5, atol=1e-6)


def test_only_plain_kernels_are_flat() -> None:
    assert not form.is_flat(replace(update(), inner=1))
    assert many(update(), [10, 100], 0).capacity >= 64
