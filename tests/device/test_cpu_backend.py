"""The CPU backend as a whole: other processors, threads, forks, memory."""

from __future__ import annotations

import itertools
import os
import platform
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from codegen import cpu
from codegen.cpu import ALL, FLOATS, FUNCTIONS, UNARY, launch, many, reduction, sample, softmax
from codegen.oracle import Maker
from cupola import dtypes as D
from cupola.backends.cache import DiskCache
from cupola.backends.cpu import CPUBackend, threads
from cupola.backends.cpu.jit import Jit
from cupola.backends.cpu.launch import Launcher
from cupola.backends.cpu.pool import Pool, size_class
from cupola.codegen.form import Inst
from cupola.codegen.llvm import generate, library_function, target_from_features


@pytest.fixture
def oldest(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Code for the first 64-bit x86 processors: 16-byte vectors, no fused products, no half
    conversion, no rounding.
    """
    if platform.machine() != "x86_64":
        pytest.skip("an x86-64 processor")
    target = target_from_features("x86_64-unknown-linux-gnu", "x86-64", {})
    backend = CPUBackend()
    backend._launcher = Launcher(Jit(DiskCache("cpu", tmp_path), target))
    monkeypatch.setattr(cpu, "BACKEND", backend)


def test_oldest_processor(oldest: None) -> None:
    for d in FLOATS:
        many([(op, d) for op in UNARY] + [("isnan", D.bool)], d, 333, 1)
        many([("cast", to) for to in ALL], d, 41, 1)
    many([("fma", D.float32)], D.float32, 33, 3)
    functions = [op for op in FUNCTIONS if op not in ("lgamma", "tgamma")]
    for d in (D.float32, D.float64):
        many([(op, d) for op in functions], d, 333, 1)
        many([(op, d) for op in ("pow", "atan2", "hypot")], d, 333, 2)
    for d in (D.float16, D.bfloat16):
        bits = np.arange(65536, dtype=np.uint16).view(d.np)
        code = [Inst("load", d, (), 0), Inst("cast", D.float32, (0,)), Inst("cast", d, (1,))]
        m = Maker((65536,))
        for k, stored in enumerate((d, D.float32, d)):
            assert m.access(m.buffer(stored), (1,)) == k
        m.stage("point", code, stores=[(1, 1), (2, 2)])
        launch(m, [bits, np.zeros(65536, np.float32), np.zeros(65536, d.np)], what=d.name)
    for order, shape in itertools.product(("rows", "columns"), (((5,), (33,)), ((40,), (2, 3)))):
        m, whole = softmax(*shape, order)
        x = np.clip(np.nan_to_num(sample(D.float32, whole)), -50, 50)
        launch(m, [x, np.zeros(whole, np.float32)], ulps=16, what=f"softmax {shape}")


@pytest.mark.parametrize(
    "triple, cpu, features",
    [
        (
            "x86_64-unknown-linux-gnu",
            "skylake-avx512",
            "fma avx2 f16c avx512f avx512vl avx512dq avx512bw",
        ),
        ("x86_64-unknown-linux-gnu", "haswell", "fma avx2 f16c"),
        ("aarch64-unknown-linux-gnu", "neoverse-n1", "neon"),
    ],
)
def test_other_processors_compile(triple: str, cpu: str, features: str) -> None:
    """Code for processors that this machine is not: LLVM accepts it and has instructions for all of
    it.
    """
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = target_from_features(triple, cpu, dict.fromkeys(features.split(), True))
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=target.features, opt=2, codemodel="small"
    )
    kernels = [softmax((4,), (9,), order)[0].kernel for order in ("rows", "columns")]
    for d in (D.float32, D.float16, D.bfloat16, D.int64, D.bool):
        ops = ["max", "argmin"] if d is D.bool else ["sum", "max", "argmin"]
        kernels += [reduction((4,), (9,), d, ops, order)[0].kernel for order in ("rows", "columns")]
    for kernel in kernels:
        program = generate(kernel, target)
        assert machine.emit_assembly(llvm.parse_assembly(program.text))
        for symbol, (op, type_, lanes) in program.needs.items():
            text = library_function(target, symbol, op, type_, lanes)
            assert symbol in machine.emit_assembly(llvm.parse_assembly(text))


def test_a_forked_child_computes() -> None:
    """The parent's threads are not there in the child, which must not wait for them."""
    m, shape = reduction((1,), (3_000_001,), D.float32, ["sum"], "rows")
    x = np.ones(shape, np.float32)

    def total() -> float:
        out = np.zeros(1, np.float32)
        cpu.BACKEND.compile(m.kernel)([x, out], m.meta, ())
        return float(out[0])

    before = threads.count
    threads.set(2)
    try:
        assert total() == 3_000_001
        child = os.fork()
        if child == 0:
            os._exit(0 if total() == 3_000_001 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        threads.set(before)


def test_launches_from_many_python_threads() -> None:
    m, shape = reduction((64,), (1000,), D.float32, ["sum"], "rows")
    kernel = m.kernel
    wrong = []

    def work(seed: int) -> None:
        x = np.full(shape, seed, np.float32)
        for _ in range(200):
            out = np.zeros(64, np.float32)
            cpu.BACKEND.compile(kernel)([x, out], m.meta, ())
            if (out != 1000 * seed).any():
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_memory_is_reused_and_bounded() -> None:
    pool = Pool(limit=1 << 24)
    a = pool.empty((1000, 1000), np.dtype(np.float32))
    address = a.ctypes.data
    assert address % 64 == 0 and a.flags.c_contiguous and pool.live >= 4_000_000
    view = a[10:]
    del a
    assert pool.live >= 4_000_000  # a view keeps it
    del view
    assert pool.live == 0 and pool.held >= 4_000_000
    b = pool.empty((999, 1001), np.dtype(np.float32))
    assert b.ctypes.data == address
    many_arrays = [pool.empty((1 << 22,), np.dtype(np.uint8)) for _ in range(8)]
    del many_arrays, b
    assert pool.held <= 1 << 24 and pool.live == 0
    pool.trim()
    assert pool.held == 0
    assert pool.empty((0, 5), np.dtype(np.float64)).shape == (0, 5)
    assert pool.empty((), np.dtype(np.float64)).shape == ()
    for size in (1 << 15, (1 << 15) + 1, 100_000, 3 << 20, (1 << 30) + 1):
        assert size <= size_class(size) <= size * 1.2 + (1 << 21)
    with pytest.raises(MemoryError, match="cannot allocate"):
        pool.empty((1 << 60,), np.dtype(np.uint8))


def test_from_numpy_copies_only_what_code_cannot_address() -> None:
    x = np.arange(12, dtype=np.float32)
    assert np.shares_memory(cpu.BACKEND.from_numpy(x[::2]), x)
    swapped = cpu.BACKEND.from_numpy(x.astype(">f4"))
    assert swapped.dtype.isnative and (swapped == x).all()
    packed = np.zeros(4, dtype=np.dtype([("a", "u1"), ("b", "<f4")]))["b"]
    assert cpu.BACKEND.from_numpy(packed).flags.aligned


def test_types_without_generated_code_say_so() -> None:
    m = Maker((4,))
    x = m.buffer(D.complex64)
    m.stage("point", [Inst("const", D.float32, (), 1.0)], stores=[(m.access(x, (1,)), 0)])
    with pytest.raises(NotImplementedError, match="complex64"):
        cpu.BACKEND.compile(m.kernel)([np.zeros(4, np.complex64)], m.meta, ())


def test_constants_that_compare_equal_are_told_apart() -> None:
    for value in (0.0, -0.0, 0.0):
        m = Maker((9,))
        y = m.buffer(D.float32)
        code = [Inst("const", D.float32, (), value)]
        m.stage("point", code, stores=[(m.access(y, (1,)), 0)])
        out = np.ones(9, np.float32)
        cpu.BACKEND.compile(m.kernel)([out], m.meta, ())
        assert (np.signbit(out) == (np.copysign(1, value) < 0)).all()
