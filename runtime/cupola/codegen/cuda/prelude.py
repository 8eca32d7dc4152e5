"""Device functions that generated kernels call, as CUDA C text; each kernel gets what it needs."""

from __future__ import annotations

from collections.abc import Iterable

from cupola.dtypes import dtype

CORE = r"""
#define DEV static __device__ __forceinline__
template<int B> struct word;
template<> struct word<1> { typedef unsigned char t; };
template<> struct word<2> { typedef unsigned short t; };
template<> struct word<4> { typedef unsigned int t; };
template<> struct word<8> { typedef uint2 t; };
template<> struct word<16> { typedef uint4 t; };
template<class T, int V> DEV void copy(T* to, const T* from) {
  typedef typename word<(sizeof(T) * V < 16 ? sizeof(T) * V : 16)>::t w;
  #pragma unroll
  for (int k = 0; k < (int)(sizeof(T) * V / sizeof(w)); ++k) ((w*)to)[k] = ((const w*)from)[k];
}
template<class A, class B> DEV A bit_cast(B b) {
  union { B b; A a; } u;
  u.b = b;
  return u.a;
}
DEV int magic(int n, int m, int s) {
  return (int)((__umulhi((unsigned)n, (unsigned)m) + (unsigned)n) >> s);
}
"""
# magic: n / d for 0 <= n < 2**31 by a multiplication with numbers worked out at launch.

FLOAT = r"""
template<class T> __device__ __forceinline__ T from_float(float a);
template<class T> DEV T nan_max(T a, T b) { return (a > b || a != a) ? a : b; }
template<class T> DEV T nan_min(T a, T b) { return (a < b || a != a) ? a : b; }
"""

HALF = r"""
struct f16 { unsigned short x; };
DEV float to_float(f16 a) { float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(a.x)); return r; }
template<> __device__ __forceinline__ f16 from_float<f16>(float a) {
  f16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.x) : "f"(a)); return r;
}
"""

BRAIN = r"""
struct bf16 { unsigned short x; };
DEV float to_float(bf16 a) { return __uint_as_float((unsigned)a.x << 16); }
template<> __device__ __forceinline__ bf16 from_float<bf16>(float a) {
  bf16 r;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.x) : "f"(a));
#else
  unsigned u = __float_as_uint(a);
  r.x = a != a ? 0x7fff : (unsigned short)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
#endif
  return r;
}
"""

EIGHT = r"""
struct f8e4 { unsigned char x; };
struct f8e5 { unsigned char x; };
DEV float half_bits(unsigned short x) {
  float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x)); return r;
}
DEV float to_float(f8e5 a) { return half_bits((unsigned short)(a.x << 8)); }
DEV float to_float(f8e4 a) {
  if ((a.x & 0x7f) == 0x7f) return __int_as_float(0x7fc00000);
  return 256.0f * half_bits((unsigned short)(((a.x & 0x80) << 8) | ((a.x & 0x7f) << 7)));
}
template<int E, int M> DEV unsigned char eight(float a, unsigned char top, unsigned char over) {
  const int bias = (1 << (E - 1)) - 1;
  unsigned u = __float_as_uint(a), sign = (u >> 24) & 0x80, size = u & 0x7fffffff, q;
  if (size > 0x7f800000) return 0x7f;
  if (size < (unsigned)(128 - bias) << 23)
    q = (unsigned)rintf(__uint_as_float(size) * (float)(1 << (bias - 1 + M)));
  else
    q = ((size + (1 << (22 - M)) - 1 + ((size >> (23 - M)) & 1)) >> (23 - M)) - ((127 - bias) << M);
  return (unsigned char)(sign | (q > top ? over : q));
}
template<> __device__ __forceinline__ f8e4 from_float<f8e4>(float a) {
  f8e4 r; r.x = eight<4, 3>(a, 0x7e, 0x7f); return r;
}
template<> __device__ __forceinline__ f8e5 from_float<f8e5>(float a) {
  f8e5 r; r.x = eight<5, 2>(a, 0x7b, 0x7c); return r;
}
"""

COMPLEX = r"""
struct NAME { REAL x, y; };
DEV NAME operator+(NAME a, NAME b) { NAME r = {a.x + b.x, a.y + b.y}; return r; }
DEV NAME operator-(NAME a, NAME b) { NAME r = {a.x - b.x, a.y - b.y}; return r; }
DEV NAME operator-(NAME a) { NAME r = {-a.x, -a.y}; return r; }
DEV NAME operator*(NAME a, NAME b) {
  NAME r = {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
  return r;
}
DEV NAME operator/(NAME a, NAME b) {
  const bool wide = FABS(b.x) > FABS(b.y);  // scaled, so that the squares do not overflow
  const REAL s = wide ? b.y / b.x : b.x / b.y, d = wide ? b.x + b.y * s : b.x * s + b.y;
  NAME r = {(wide ? a.x + a.y * s : a.x * s + a.y) / d, (wide ? a.y - a.x * s : a.y * s - a.x) / d};
  return r;
}
DEV bool operator==(NAME a, NAME b) { return a.x == b.x && a.y == b.y; }
DEV bool operator!=(NAME a, NAME b) { return !(a == b); }
"""

REDUCE = r"""
template<class T, class I> struct best { T v; I i; };  // i = -1: nothing yet
template<class T, bool MAX> DEV bool beats(T a, T b) { return MAX ? a > b : a < b; }
template<bool MAX, class T, class I> DEV best<T, I> better(best<T, I> a, best<T, I> b) {
  const bool an = a.v != a.v, bn = b.v != b.v, tie = an ? bn : a.v == b.v;
  const bool early = (unsigned long long)a.i <= (unsigned long long)b.i;
  return (tie ? early : an || (!bn && beats<T, MAX>(a.v, b.v))) ? a : b;
}
// For positions that grow from call to call: ties keep the earlier one.
template<bool MAX, class T, class I> DEV best<T, I> step(best<T, I> a, T v, I i) {
  const bool win = beats<T, MAX>(v, a.v) || (v != v && a.v == a.v) || a.i < 0;
  a.v = win ? v : a.v;
  a.i = win ? i : a.i;
  return a;
}
template<class T> DEV T lane_xor(T v, int m) {
  union { T t; int w[(sizeof(T) + 3) / 4]; } u;
  u.w[0] = 0;
  u.t = v;
  #pragma unroll
  for (int k = 0; k < (int)(sizeof(T) + 3) / 4; ++k)
    u.w[k] = __shfl_xor_sync(0xffffffffu, u.w[k], m);
  return u.t;
}
// A team of blockDim.x consecutive threads (a power of two; above a warp it is the whole block):
// all get the result.
template<class R> DEV typename R::T team_row(typename R::T v, char* shared) {
  const int team = blockDim.x;
  for (int m = (team < 32 ? team : 32) >> 1; m; m >>= 1) v = R::fold(v, lane_xor(v, m));
  if (team > 32) {
    typename R::T* s = (typename R::T*)shared;
    const int warps = team >> 5;
    __syncthreads();
    if ((threadIdx.x & 31) == 0) s[threadIdx.x >> 5] = v;
    __syncthreads();
    v = s[threadIdx.x & (warps - 1)];
    for (int m = warps >> 1; m; m >>= 1) v = R::fold(v, lane_xor(v, m));
  }
  return v;
}
// A team of the blockDim.y threads that share threadIdx.x.
template<class R> DEV typename R::T team_col(typename R::T v, char* shared) {
  if (blockDim.y == 1) return v;
  typename R::T* s = (typename R::T*)shared;
  const int at = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();
  s[at] = v;
  for (int h = blockDim.y >> 1; h; h >>= 1) {
    __syncthreads();
    if (threadIdx.y < h) s[at] = R::fold(s[at], s[at + h * blockDim.x]);
  }
  __syncthreads();
  return s[threadIdx.x];
}
"""


def prelude(types: Iterable[dtype], reduces: bool) -> str:
    """The functions that a kernel over these element types needs."""
    names = {d.name for d in types}
    parts = [CORE, FLOAT]
    if "float16" in names:
        parts.append(HALF)
    if "bfloat16" in names:
        parts.append(BRAIN)
    if names & {"float8_e4m3fn", "float8_e5m2"}:
        parts.append(EIGHT)
    for name, real, fabs in (("complex64", "float", "fabsf"), ("complex128", "double", "fabs")):
        if name in names:
            short = {"complex64": "c64", "complex128": "c128"}[name]
            parts.append(COMPLEX.replace("NAME", short).replace("REAL", real).replace("FABS", fabs))
    if reduces:
        parts.append(REDUCE)
    return "".join(parts)
