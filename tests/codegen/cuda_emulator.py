"""Runs generated CUDA C on the CPU: g++ compiles it over a header that plays the GPU, a thread for
a thread.

Slow and only for small sizes, but it executes the real text, barriers and shuffles included, where
there is no GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np

from codegen.cuda_samples import Sample
from cupola.codegen.cuda import Choice, entry, head, plan, prelude, source

GXX = shutil.which("g++")

HEADER = r"""
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>
#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(n)
struct dim { unsigned x, y, z; };
struct uint2 { unsigned x, y; };
struct __align__(16) uint4 { unsigned x, y, z, w; };
static thread_local dim threadIdx, blockIdx;
static dim blockDim;
alignas(16) char shared[1 << 17];
static std::unique_ptr<std::barrier<>> whole;
static std::vector<std::unique_ptr<std::barrier<>>> warps;
static int exchange[2048];
static int linear() { return threadIdx.y * blockDim.x + threadIdx.x; }
static void __syncthreads() { whole->arrive_and_wait(); }
static int __shfl_xor_sync(unsigned, int v, int m) {
  int me = linear(), warp = me / 32;
  exchange[me] = v;
  warps[warp]->arrive_and_wait();
  int other = exchange[me ^ m];
  warps[warp]->arrive_and_wait();
  return other;
}
static unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >>
32); } template<class A, class B> static A bits(B b) { A a; std::memcpy(&a, &b, sizeof(a)); return
a; } static float __int_as_float(int x) { return bits<float>(x); } static float
__uint_as_float(unsigned x) { return bits<float>(x); } static unsigned __float_as_uint(float x) {
return bits<unsigned>(x); }
"""

HALF = r"""
struct f16 { unsigned short x; };
static float to_float(f16 a) { return (float)bits<_Float16>(a.x); }
template<> inline f16 from_float<f16>(float a) { f16 r; r.x = bits<unsigned short>((_Float16)a);
return r; }
"""

FOOTER = r"""
extern "C" void run(const P* p, const int* grid, const int* block) {
  blockDim = {(unsigned)block[0], (unsigned)block[1], 1};
  int threads = block[0] * block[1];
  whole = std::make_unique<std::barrier<>>(threads);
  warps.clear();
  for (int w = 0; w < (threads + 31) / 32; ++w)
    warps.push_back(std::make_unique<std::barrier<>>(std::min(32, threads - 32 * w)));
  for (int by = 0; by < grid[1]; ++by) for (int bx = 0; bx < grid[0]; ++bx) {
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) all.emplace_back([=] {
      threadIdx = {(unsigned)t % blockDim.x, (unsigned)t / blockDim.x, 0};
      blockIdx = {(unsigned)bx, (unsigned)by, 0};
      ENTRY(*p);
    });
    for (auto& t : all) t.join();
  }
}
"""

_loaded: dict[str, ctypes.CDLL] = {}


def compiled(text: str, name: str, folder: Path) -> ctypes.CDLL:
    text = text.replace(prelude.HALF, HALF)
    # NVRTC knows these without a header; <cmath> has them already, in its own namespace's
    # overloads.
    whole = HEADER + text + FOOTER.replace("ENTRY", name)
    key = hashlib.sha256(whole.encode()).hexdigest()[:20]
    if key not in _loaded:
        path, library = folder / f"{key}.cpp", folder / f"{key}.so"
        path.write_text(whole)
        command = [
            GXX,
            "-std=c++20",
            "-O0",
            "-fPIC",
            "-shared",
            "-w",
            "-pthread",
            "-o",
            library,
            path,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:3000] + text
        _loaded[key] = ctypes.CDLL(str(library))
    return _loaded[key]


def emulate(sample: Sample, folder: Path, choice: Choice | None = None) -> list[np.ndarray]:
    """The buffers after a run of the sample's launches."""
    kernel = sample.kernel
    arrays = [_aligned(a) for a in sample.fresh()]
    low = [a.ctypes.data % 16 for a in arrays]
    steps = plan(kernel, sample.meta, low, choice=choice)
    scratch = np.full(steps.scratch + 16, 0xA5, np.uint8)
    integers = sample.meta[len(sample.meta) - kernel.integers :]
    scalars = [
        float(v) if d.is_floating_point else int(v) for v, d in zip(sample.scalars, kernel.scalars)
    ]
    top = head(kernel).pack(
        *(a.ctypes.data for a in arrays), *scalars, *integers, scratch.ctypes.data
    )
    for step in steps.steps:
        library = compiled(source(kernel, step.variant), entry(kernel, step.variant), folder)
        parameters = ctypes.create_string_buffer(top + step.static + bytes(8))
        grid, block = (ctypes.c_int * 3)(*step.grid), (ctypes.c_int * 3)(*step.block)
        library.run(parameters, grid, block)
    return arrays


def _aligned(a: np.ndarray) -> np.ndarray:
    """A copy at an address that is a multiple of 16, as device memory's are."""
    raw = np.empty(a.nbytes + 16, np.uint8)
    start = -raw.ctypes.data % 16
    out = raw[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out
