"""Scaled dot-product attention of float32 in one kernel, on tensor cores in TF32.

One pass over the keys with a running maximum (Milakov and Gimelshein, 2018; Dao et al., 2022): the
scores never reach memory. A warp holds 16 queries; keys and values of a tile lie in shared memory.
Operands are rounded to TF32 once, as they are staged; everything else is float32. Operands and
results as in ``ops.attention``.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from functools import lru_cache
from typing import Any

from cupola.backends.cuda import compiler
from cupola.backends.cuda.device import capability, current, require, stream
from cupola.backends.cuda.driver import Call

_WIDEST, _UNIT = 128, 8  # features a head, and what they are a multiple of
_LEAST = 80  # the compute capability that has these instructions
_WARPS, _QUERIES = 4, 16  # warps in a block, queries of a warp
_LOG2_E = 1.4426950408889634

# Before it stand the definitions of TILE (keys), E and V (features), CAUSAL and WARPS.
# Fragments of mma.sync: a lane holds rows lane / 4 and 8 more, columns lane % 4 and 4 more of the
# first operand, and two neighbours of each row of the result.
_TEXT = r"""
#define PAD 4  // elements behind a row, so that the lanes of a warp read from different banks
#define ALL 0xffffffffu
#define INFINITE __int_as_float(0x7f800000)
typedef unsigned int Word;

struct Given {
    const float *q, *k, *v;
    float *out, *stats;
    long long q0, q1, q2, k0, k1, k2, v0, v1, v2;
    int heads, share, length, source, blocks;
    float scale;  // times the logarithm of e to the base 2
};

__device__ __forceinline__ Word rounded(float x) {
    Word y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ void multiply(float c[4], const Word a[4], Word b0, Word b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Rows of a tile into shared memory, zeros behind the last.
template <int WIDTH>
__device__ __forceinline__ void stage(
    Word (*to)[WIDTH + PAD], const float *from, long long step, int rows
) {
    #pragma unroll
    for (int i = threadIdx.x; i < TILE * WIDTH / 4; i += WARPS * 32) {
        int row = i / (WIDTH / 4), column = i % (WIDTH / 4) * 4;
        float4 x = make_float4(0, 0, 0, 0);
        if (row < rows) x = *(const float4 *)(from + row * step + column);
        *(uint4 *)&to[row][column] =
            make_uint4(rounded(x.x), rounded(x.y), rounded(x.z), rounded(x.w));
    }
}

// Where a warp stands: its queries, and what it has found for them.
struct Warp {
    int first;
    Word query[E / 8][4];
    float sum[V / 8][4], top[2], total[2];
};

// The first N * 8 keys of the tile at ``start``, of which ``here`` are there: no conditions between
// the instructions, which wait for each other as little as they can.
template <int N>
__device__ __forceinline__ void attend_to(
    Warp &at, const Word (*keys)[E + PAD], const Word (*values)[V + PAD], float scale, int start,
    int here
) {
    const int lane = threadIdx.x % 32, row = lane / 4, place = lane % 4;
    float score[N][4] = {};
    #pragma unroll
    for (int e = 0; e < E / 8; e++)
        #pragma unroll
        for (int n = 0; n < N; n++) {
            const Word *from = &keys[n * 8 + row][e * 8 + place];
            multiply(score[n], at.query[e], from[0], from[4]);
        }

    float high[2] = {at.top[0], at.top[1]};
    const bool edge = here < N * 8 || (CAUSAL && start + N * 8 > at.first);
    #pragma unroll
    for (int n = 0; n < N; n++)
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            float x = score[n][i] * scale;
            if (edge) {
                int column = n * 8 + place * 2 + i % 2;
                bool hidden = column >= here;
                if (CAUSAL) hidden |= start + column > at.first + row + i / 2 * 8;
                if (hidden) x = -INFINITE;
            }
            score[n][i] = x;
            high[i / 2] = fmaxf(high[i / 2], x);
        }
    float base[2];
    #pragma unroll
    for (int r = 0; r < 2; r++) {
        high[r] = fmaxf(high[r], __shfl_xor_sync(ALL, high[r], 1));
        high[r] = fmaxf(high[r], __shfl_xor_sync(ALL, high[r], 2));
        base[r] = high[r] == -INFINITE ? 0 : high[r];  // no score so far is finite
        float shrink = exp2f(at.top[r] - base[r]);
        at.top[r] = high[r];
        at.total[r] *= shrink;
        #pragma unroll
        for (int d = 0; d < V / 8; d++) {
            at.sum[d][r * 2] *= shrink;
            at.sum[d][r * 2 + 1] *= shrink;
        }
    }
    #pragma unroll
    for (int n = 0; n < N; n++)
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            score[n][i] = exp2f(score[n][i] - base[i / 2]);
            at.total[i / 2] += score[n][i];
        }
    // A sum over keys may be in any order: the two neighbours that a lane holds are taken for
    // columns place and place + 4 of the first operand, with their rows of the second.
    #pragma unroll
    for (int n = 0; n < N; n++) {
        Word power[4] = {rounded(score[n][0]), rounded(score[n][2]),
                         rounded(score[n][1]), rounded(score[n][3])};
        const Word *from = &values[n * 8 + place * 2][row];
        #pragma unroll
        for (int d = 0; d < V / 8; d++)
            multiply(at.sum[d], power, from[d * 8], from[d * 8 + V + PAD]);
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) attend(const __grid_constant__ Given p) {
    __shared__ __align__(16) Word keys[TILE][E + PAD], values[TILE][V + PAD];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4, place = lane % 4;
    const int block = blockIdx.x % p.blocks, plane = blockIdx.x / p.blocks;
    const int head = plane % p.heads, item = plane / p.heads;
    const float *q = p.q + item * p.q0 + head * p.q1;
    const float *k = p.k + item * p.k0 + head / p.share * p.k1;
    const float *v = p.v + item * p.v0 + head / p.share * p.v1;

    Warp at = {(block * WARPS + warp) * 16};
    at.top[0] = at.top[1] = -INFINITE;
    #pragma unroll
    for (int e = 0; e < E / 8; e++)
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            int l = at.first + row + i % 2 * 8, column = e * 8 + place + i / 2 * 4;
            at.query[e][i] = l < p.length ? rounded(q[l * p.q2 + column]) : 0;
        }

    const int stop = CAUSAL ? min(p.source, (block + 1) * WARPS * 16) : p.source;
    for (int start = 0; start < stop; start += TILE) {
        const int here = min(TILE, p.source - start);
        __syncthreads();  // everybody has done with the tile before
        stage<E>(keys, k + start * p.k2, p.k2, here);
        stage<V>(values, v + start * p.v2, p.v2, here);
        __syncthreads();
        if (at.first >= p.length || (CAUSAL && start > at.first + 15)) continue;
        if (here > TILE / 2) attend_to<TILE / 8>(at, keys, values, p.scale, start, here);
        else if (here > TILE / 4) attend_to<TILE / 16>(at, keys, values, p.scale, start, here);
        else attend_to<TILE / 32>(at, keys, values, p.scale, start, here);
    }
    #pragma unroll
    for (int r = 0; r < 2; r++) {
        float total = at.total[r];
        total += __shfl_xor_sync(ALL, total, 1);
        total += __shfl_xor_sync(ALL, total, 2);
        const int l = at.first + row + r * 8;
        if (l >= p.length) continue;
        float share = 1 / total;
        float *to = p.out + (((long long)item * p.length + l) * p.heads + head) * V + place * 2;
        #pragma unroll
        for (int d = 0; d < V / 8; d++)
            *(float2 *)(to + d * 8) =
                make_float2(at.sum[d][r * 2] * share, at.sum[d][r * 2 + 1] * share);
        if (place == 0)
            p.stats[(long long)plane * p.length + l] =
                (at.top[r] + log2f(total)) * 0.69314718055994530942f;
    }
}
"""

_GIVEN = struct.Struct("<5Q9q5if")


def available(widths: tuple[int, int]) -> bool:
    """Whether the kernel takes these features a head, on the current device."""
    fit = all(0 < w <= _WIDEST and w % _UNIT == 0 for w in widths)
    return fit and capability(current()) >= _LEAST


@lru_cache(maxsize=256)
def _function(widths: tuple[int, int], causal: bool, device: int) -> int:
    settings = {
        "TILE": 32 if max(widths) > 64 else 64,
        "E": widths[0],
        "V": widths[1],
        "CAUSAL": int(causal),
        "WARPS": _WARPS,
    }
    text = "".join(f"#define {name} {value}\n" for name, value in settings.items())
    return compiler.function(text + _TEXT, "attend")


_lock = threading.Lock()
_calls: dict[tuple[int, int], Call] = {}


def attention(q: Any, k: Any, v: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    """``(out, stats)``; features are neighbours in memory, rows begin at multiples of 16 bytes."""
    xp = require()
    (n, h, length, e), width = q.shape, v.shape[-1]
    out = xp.empty((n, length, h, width), xp.float32)
    stats = xp.empty((n, h, length, 1), xp.float32)
    blocks = -(-length // (_WARPS * _QUERIES))
    grid = blocks * n * h
    if not grid:
        return out, stats
    steps = [s // x.dtype.itemsize for x in (q, k, v) for s in x.strides[:3]]
    function = _function((e, width), causal, current())
    with _lock:  # the parameter block is shared
        call = _calls.get((function, grid))
        if call is None:
            if len(_calls) >= 1024:
                _calls.clear()
            block = ctypes.create_string_buffer(_GIVEN.size)
            call = Call(function, (grid, 1, 1), (32 * _WARPS, 1, 1), 0, block)
            _calls[function, grid] = call
        _GIVEN.pack_into(
            call.parameters, 0, *(x.data.ptr for x in (q, k, v, out, stats)), *steps,
            h, h // k.shape[1], length, k.shape[2], blocks, scale * _LOG2_E,
        )  # fmt: skip
        call(stream())
    return out, stats
