"""The CUDA C dialect: every text compiles (NVRTC or nvcc, no GPU needed), plans choose what they
should.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.cuda_emulator import GXX, emulate
from codegen.cuda_kernels import all_samples, gelu, layer_norm, moments, reduction, softmax
from codegen.cuda_samples import Sample
from cupola import dtypes as dt
from cupola.codegen.cuda import Choice, entry, plan, source
from cupola.codegen.cuda.variant import magic

FORCED = (
    Choice(wide=True), Choice(lanes=1), Choice(mode="row"), Choice(mode="col"), Choice(parts=3),
    Choice(mode="col", parts=3, team=4),
)  # fmt: skip


def choices(sample: Sample) -> list[Choice | None]:
    return [None, *(FORCED if sample.kernel.inner else FORCED[:2])]


def texts() -> dict[str, str]:
    """Every distinct text of every sample, by name."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for sample in all_samples():
        for choice in choices(sample):
            for step in plan(sample.kernel, sample.meta, [0] * 64, choice=choice).steps:
                text = source(sample.kernel, step.variant)
                if text not in seen:
                    seen.add(text)
                    found[f"{entry(sample.kernel, step.variant)}_{len(found)}"] = text
    return found


def nvrtc() -> Callable[[str], str] | None:
    """A function from text to error log (empty: it compiled), where the NVRTC library is found."""
    names = [ctypes.util.find_library("nvrtc")]
    spec = importlib.util.find_spec("nvidia")
    for folder in (
        spec.submodule_search_locations if spec and spec.submodule_search_locations else ()
    ):
        names += sorted(str(p) for p in Path(folder).glob("*/lib/libnvrtc.so.*"))
    for name in filter(None, names):
        try:
            library = ctypes.CDLL(name)
            break
        except OSError:
            continue
    else:
        return None

    def compile(text: str) -> str:
        program = ctypes.c_void_p()
        library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"k.cu", 0, None, None)
        options = (ctypes.c_char_p * 2)(b"-arch=sm_90", b"-std=c++17")
        failed = library.nvrtcCompileProgram(program, 2, options)
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        library.nvrtcDestroyProgram(ctypes.byref(program))
        return log.value.decode() if failed else ""

    return compile


def separate(name: str, text: str) -> str:
    """The text in a namespace of its own, so that many fit in one translation unit."""
    text = text.replace("#define DEV static __device__ __forceinline__\n", "")
    return f"namespace n_{name} {{\n{text}\n}}\n".replace('extern "C" __global__', "__global__")


def test_every_text_compiles(tmp_path: Path) -> None:
    found = texts()
    assert len(found) > 300
    compile = nvrtc()
    if compile is not None:
        # NVRTC takes 0.1 s a text: a sample of them, always the same.
        chosen = random.Random(1).sample(sorted(found), 120)
        for name in chosen:
            log = compile(found[name])
            assert not log, f"{name}: {log}\n{found[name]}"
        return
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("neither NVRTC nor nvcc is installed")
    whole = "#define DEV static __device__ __forceinline__\n"
    whole += "".join(separate(n, t) for n, t in found.items())
    path = tmp_path / "all.cu"
    path.write_text(whole)
    # To PTX without optimisation: the front end checks the text, the rest would only cost time.
    command = [nvcc, "-arch=sm_90", "-std=c++17", "-Xcicc", "-O0", "-ptx", "-w"]
    command += ["-o", tmp_path / "all.ptx", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


def test_magic_divides() -> None:
    g = random.Random(0)
    for _ in range(3000):
        d = g.choice([1, 2, 3, 7, g.randrange(1, 100), g.randrange(1, 2**31)])
        n = g.choice([0, 1, d - 1, d, 2**31 - 1, g.randrange(0, 2**31)])
        m, s = magic(d)
        assert 0 <= m < 2**32
        assert (((n * m) >> 32) + n) >> s == n // d, (n, d)


def variant(sample: Sample, low: int = 0):
    steps = plan(sample.kernel, sample.meta, [low] * 64).steps
    return steps[0].variant, steps


def test_vectors_follow_alignment() -> None:
    assert variant(gelu(1000))[0].lanes == 4
    assert variant(gelu(1000, dt.bfloat16))[0].lanes == 8
    assert variant(gelu(1000, dt.float64))[0].lanes == 2
    assert variant(gelu(1003))[0].tail  # a length that is no multiple still has vectors
    shifted, _ = variant(gelu(1000, dt.float32, 1))
    assert (
        shifted.lanes == 4 and len(shifted.vectors) == 2
    )  # the misaligned input alone is read singly
    assert variant(gelu(1000), 4)[0].lanes == 1


def test_modes_follow_strides() -> None:
    assert variant(softmax(40, 64))[0].mode == "row"
    assert variant(softmax(40, 64, dt.float32, 2))[0].mode == "col"
    assert variant(moments(64, 16, True))[0].mode == "col"
    assert variant(moments(64, 16, False))[0].mode == "row"


def big(sample: Sample, sizes: tuple[int, ...]) -> list[str]:
    """Tasks of the launches if the loops had other sizes (strides as they are)."""
    meta = (*sizes, *sample.meta[len(sizes) :])
    return [s.variant.task for s in plan(sample.kernel, meta, [0] * 64).steps]


def test_large_reductions_are_split() -> None:
    assert big(reduction("sum", (1,), (64,), (0, 1)), (1, 2**26)) == ["part", "join"]
    assert big(reduction("sum", (7,), (64,), (64, 1)), (2**16, 64)) == ["whole"]
    assert big(softmax(1, 64), (1, 2**22)) == ["part", "join", "part", "join", "each"]
    assert big(layer_norm(1, 64), (1, 2**22)) == ["part", "join", "part", "join", "each"]
    assert big(softmax(4, 64), (4096, 1024)) == ["whole"]


@pytest.mark.parametrize("rows", [100, 3136, 20_000, 802_816])
@pytest.mark.parametrize("columns", [3, 64, 512, 2048])
def test_large_teams_have_a_block_to_themselves(rows: int, columns: int) -> None:
    sample = reduction("sum", (64,), (64,), (1, 64))
    meta = list(sample.meta)
    meta[:2] = columns, rows
    for step in plan(sample.kernel, meta, [0] * 64).steps:
        team = step.block[0] if step.variant.mode == "row" else 1
        assert team <= 32 or step.block[1] == 1


def test_wide_indices_only_where_needed() -> None:
    sample = gelu(1000)
    for n, wide in ((2**28, False), (2**32, True)):
        meta = (n, *sample.meta[1:])
        assert plan(sample.kernel, meta, [0] * 3).steps[0].variant.wide is wide


def test_empty_launches_nothing() -> None:
    sample = gelu(1000)
    assert plan(sample.kernel, (0, *sample.meta[1:]), [0] * 3).steps == ()


def test_same_text_for_other_sizes() -> None:
    a, b = softmax(5, 64), softmax(5, 96)
    variants = [plan(s.kernel, s.meta, [0] * 2).steps[0].variant for s in (a, b)]
    b.kernel.__dict__["name"] = a.kernel.name
    assert source(a.kernel, variants[0]) == source(b.kernel, variants[1])


@pytest.mark.skipif(GXX is None, reason="needs g++")
@pytest.mark.parametrize(
    "make, choice",
    [
        (lambda: gelu(50, dt.bfloat16), None),
        (lambda: softmax(3, 70), Choice(mode="row", team=32)),
        (lambda: moments(20, 8), Choice(mode="col", parts=2, team=2)),
    ],
    ids=["flat", "row", "split"],
)
def test_emulated(make, choice, tmp_path: Path) -> None:
    sample = make()
    sample.check(emulate(sample, tmp_path, choice))


def test_unknown_operations_are_named() -> None:
    from codegen.cuda_samples import Builder

    b = Builder((4,))
    x = b.buffer(np.zeros(4, np.float32))
    s = b.stage("point")
    s.store(b.access(x, (1,)), s("frobnicate", dt.float32, s.load(b.access(x, (1,)))))
    s.end()
    sample = b.sample("unknown")
    with pytest.raises(NotImplementedError, match="frobnicate"):
        source(sample.kernel, variant(sample)[0])
