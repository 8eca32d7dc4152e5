"""cupola.code's CUDA way without a GPU: g++ compiles the real text, a loop plays the threads.

Kernels that exchange values between threads are left to tests/gpu.
"""

import ctypes
import hashlib
import subprocess
import types

import numpy as np
import pytest

import cupola
from cupola import dtypes
from cupola.backends.cuda import inline
from cupola.backends.inline import Rejected
from cupola.code import cuda
from cupola.code.call import _numbers, _outputs
from cupola.code.host import Pointer
from cupola.code.stage import Options, Stage
from cupola.code.where import Caller, CompileError, Text

HEADER = """
#define __global__
#define __device__
#define __shared__ static
#define __constant__ static
#define __launch_bounds__(n)
struct dim { unsigned x, y, z; };
static dim threadIdx, blockIdx, blockDim, gridDim;
template <class T> T atomicAdd(T* p, T v) { T old = *p; *p += v; return old; }
static unsigned long long atomicCAS(unsigned long long* p, unsigned long long a,
                                    unsigned long long b) {
  unsigned long long old = *p;
  if (old == a) *p = b;
  return old;
}
"""


class Array(np.ndarray):
    """A NumPy array with the attributes of CuPy's that are used."""

    @property
    def device(self):
        return types.SimpleNamespace(id=0)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


def _array(x):
    return np.asarray(x).view(Array)


class Loaded:
    """Compiles with g++; a kernel is called through a function that loops over all threads."""

    def __init__(self, text, expressions, flags, dirs):
        self.text = text

    def function(self, name):
        return self.text, name


class Launcher:
    """Plays ``inline.Launcher``."""

    launched = []

    def __init__(self, function, format, count, hidden):
        self.text, self.name = function
        self.formats = format
        self.count, self.hidden = count, hidden

    def __call__(self, grid, block, shared, arguments, hidden, stream):
        assert len(hidden) == self.hidden and len(arguments) == self.count
        self.launched.append((self.name, grid, block, shared, arguments))
        words = []
        for a, letter in zip(arguments, self.formats.replace("x", "").translate({52: None})):
            words.append({"f": f"{a}f", "d": f"{a}", "Q": f"(void*){a}ull"}.get(letter, str(a)))
        # Pointers are void* here: a cast to what the parameter is.
        fixed = ", ".join(
            f"cast<{k}>({w})" if w.startswith("(void*)") else w for k, w in enumerate(words)
        )
        body = f"""{HEADER}
struct any {{ void* p; template <class T> operator T*() const {{ return (T*)p; }} }};
template <int k> any cast(void* p) {{ return any{{p}}; }}
{self.text}
#line 1 "emulator"
extern "C" void run(cupola_arguments* hidden, unsigned* n) {{
  gridDim = {{n[0], n[1], n[2]}}; blockDim = {{n[3], n[4], n[5]}};
  for (blockIdx.z = 0; blockIdx.z < n[2]; blockIdx.z++)
  for (blockIdx.y = 0; blockIdx.y < n[1]; blockIdx.y++)
  for (blockIdx.x = 0; blockIdx.x < n[0]; blockIdx.x++)
  for (threadIdx.z = 0; threadIdx.z < n[5]; threadIdx.z++)
  for (threadIdx.y = 0; threadIdx.y < n[4]; threadIdx.y++)
  for (threadIdx.x = 0; threadIdx.x < n[3]; threadIdx.x++)
    {self.name}({fixed}{", " if fixed else ""}*hidden);
}}"""
        path = f"{FOLDER}/{hashlib.sha256(body.encode()).hexdigest()[:16]}"
        with open(path + ".cpp", "w") as file:
            file.write(body)
        done = subprocess.run(
            ["g++", "-O0", "-w", "-shared", "-fPIC", path + ".cpp", "-o", path + ".so"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Rejected(done.stderr, "g++")
        sizes = (ctypes.c_uint * 6)(*grid, *block)
        ctypes.CDLL(path + ".so").run(ctypes.c_char_p(hidden), sizes)


FOLDER = ""


@pytest.fixture(autouse=True)
def emulated(monkeypatch, tmp_path):
    global FOLDER
    FOLDER = str(tmp_path)
    runtime = types.SimpleNamespace(
        getDevice=lambda: 0, getDeviceCount=lambda: 1,
        memsetAsync=lambda p, v, n, s: ctypes.memset(p, v, n),
        memcpyAsync=lambda a, b, n, k, s: ctypes.memmove(a, b, n),
    )  # fmt: skip
    gpu = types.SimpleNamespace(
        runtime=runtime, get_current_stream=lambda: types.SimpleNamespace(ptr=0)
    )
    xp = types.SimpleNamespace(
        cuda=gpu,
        empty=lambda s, d: _array(np.empty(s, d)),
        zeros=lambda s, dtype: _array(np.zeros(s, dtype)),
        array=lambda x, dtype: _array(np.array(x, dtype)),
        ascontiguousarray=lambda x: _array(np.ascontiguousarray(x)),
    )
    monkeypatch.setattr(cuda.engine, "backend", lambda kind: types.SimpleNamespace(xp=xp))
    monkeypatch.setattr(inline, "Loaded", Loaded)
    monkeypatch.setattr(inline, "Launcher", Launcher)
    monkeypatch.setattr(Launcher, "launched", [])


def code(shape, dtype, inputs, source, header="", data=None, debug=False, given=()):
    shapes, types_, varies, single = _outputs(shape, dtype)
    names, numbers, kinds = _numbers(data) if data else ((), (), ())
    called = Caller(__file__, 1)
    stage = Stage(
        {"cuda": (Text("cuda_header", header, called), Text("cuda_src", source, called))},
        tuple(f"in{k}" for k in range(len(inputs))), types_, tuple(map(len, shapes)), varies,
        tuple((n, "d" if k is float else "q") for n, k in zip(names, kinds)),
        Options(debug=debug), bool(given),
    )  # fmt: skip
    runner = cuda.CUDARunner(stage)
    arrays = [_array(x) for x in (*inputs, *given)]
    runner(arrays, shapes, numbers, 0)
    outs = runner(arrays, shapes, numbers, 0)
    return outs[0] if single else outs


F = dtypes.float32


def test_one_dimension_with_macros():
    a, b = np.random.rand(2, 1000).astype("f")
    c = code(
        (1000,),
        F,
        [a, b[::-1]],
        """
        __global__ static void kernel1(@ARGS_DEF) {
            @PRECALC
            int i = threadIdx.x + blockIdx.x * blockDim.x;
            for (; i < in0_shape0; i += blockDim.x * gridDim.x)
                @out(i) = @in0(i) * @in1(i);
        }
        kernel1<<<(in0_shape0 - 1) / 256 + 1, 64>>>(@ARGS);
    """,
    )
    assert np.array_equal(c, a * b[::-1])
    assert Launcher.launched[-1][:4] == ("kernel1", (4, 1, 1), (64, 1, 1), 0)


def test_two_dimensions_and_host_lines():
    x = np.random.rand(5, 7).astype("f")
    y, z = code(
        [(7, 5), (2,)],
        [F, dtypes.int64],
        [x.T],
        """
        #define BLOCK 4
        @alias(a, in0)
        __device__ float twice(float x) { return 2 * x; }
        __global__ void copy(const float* p, int n, double s) {
            int i = blockIdx.y * BLOCK + threadIdx.y, j = blockIdx.x * BLOCK + threadIdx.x;
            if (i < a_shape0 && j < a_shape1) @out0(i, j) = twice(@a(i, j)) * s + data["shift"];
            @out1(0) = n; /* every thread writes the same: @out1(1) */
        }
        __global__ void second(out1_type* p, bool yes) { *p = yes ? 11 : 12; }
        // host lines
        dim3 block(BLOCK, BLOCK), grid{(unsigned)(a_shape1 + BLOCK - 1) / BLOCK, 1};
        grid.y = (a_shape0 + BLOCK - 1) / BLOCK;
        cudaMemsetAsync(out1_p, 0, 2 * sizeof(out1_type));
        int n = 0;
        for (int i = 0; i < 3; ++i) { n += i; if (i == 1) n *= 10; else n += 1; }
        do { n--; } while (n > 10);
        copy<<<grid, block, 0>>>(in0_p + 1, n, 0.5);
        if (data["shift"] > 1 && n == 10) second<<<1, 1>>>(&@out1(1), n % 3 == 1);
        else second<<<1, 2>>>(out1_p + 1, false);
    """,
        data={"shift": 1.5},
    )
    assert np.allclose(y, x.T + 1.5) and z.tolist() == [10, 11]
    assert Launcher.launched[-2][1:3] == ((2, 2, 1), (4, 4, 1))


def test_constants_and_headers():
    y = code(
        (2,),
        F,
        [],
        """
        static const int N = 2;
        constexpr float C = 1.5f;
        __constant__ float table[2] = {1, 2};
        __global__ void __launch_bounds__(32) k() {
            @out(threadIdx.x) = C * table[threadIdx.x] + f(1);
        }
        k<<<dim3(1, 1), dim3{N}, N * sizeof(float)>>>();
    """,
        header="__device__ float f(float x) { return x; }",
    )
    assert y.tolist() == [2.5, 4.0]
    assert Launcher.launched[-1][1:4] == ((1, 1, 1), (2, 1, 1), 8)


def test_sizes_that_vary():
    x = np.array([5, -4, 3, -2, 1], "f")
    y, n = code(
        [(-5,), (1,)],
        [F, dtypes.int32],
        [x],
        """
        __global__ void pick() {
            int i = threadIdx.x;
            if (@in0(i) > 0) @out0(atomicAdd(&out0_size0, 1)) = @in0(i);
            @out1(0) = in0_numel;
        }
        pick<<<1, in0_numel>>>();
    """,
    )
    assert y.tolist() == [5, 3, 1] and n.tolist() == [5]


def test_accesses_out_of_bounds():
    with pytest.raises(IndexError, match=r"cuda_src.*out0 is accessed at index \(1, 3\)"):
        code(
            (2, 3),
            F,
            [],
            """
            __global__ void fill() { @out(threadIdx.y, threadIdx.x + threadIdx.y) = 1; }
            fill<<<1, dim3(3, 2)>>>();
        """,
            debug=True,
        )


def test_writing_into_arrays():
    start = np.arange(4, dtype="i4")
    y = code(
        (4,),
        dtypes.int32,
        [start[::-1]],
        """
        __global__ void add() { @out(threadIdx.x) += @in0(threadIdx.x); }
        add<<<1, 4>>>();
    """,
        given=[start],
    )
    assert y.tolist() == [3, 3, 3, 3] and start.tolist() == [0, 1, 2, 3]


def test_nothing_is_launched_for_empty_arrays():
    y = code(
        (0,),
        F,
        [np.zeros(0, "f")],
        """
        __global__ void k() { @out(0) = 1; }
        k<<<in0_shape0, 32>>>();
    """,
    )
    assert y.size == 0 and not Launcher.launched


@pytest.mark.parametrize("lines, message", [
    ("k<<<1, 1>>>(5);", "k takes 0 arguments, 1 are given"),
    ("other<<<1, 1>>>();", "there is no kernel 'other'; there are k, t"),
    ("k<<<1>>>();", "a launch takes"),
    ("k<<<1, 1, 0, stream>>>();", "current stream"),
    ("k<<<1, n>>>();", "'n' is not declared"),
    ('printf("x"); k<<<1, 1>>>();', "the function 'printf' cannot be called"),
    ("k<<<1, 1>>>()", "';' is missing"),
    ("int n = 3;", "there is no launch"),
    ("t<<<1, 1>>>(1);", "has type 'Pair'"),
    ("for (;;) { k<<<1, 1>>>(); continue; }", "'continue' is not understood"),
    ("q = 3; k<<<1, 1>>>();", "'q' is not declared"),
])  # fmt: skip
def test_errors_of_host_lines(lines, message):
    source = (
        "struct Pair { int a, b; };\n__global__ void k() { @out(0) = 1; }\n"
        f"__global__ void t(Pair p) {{ }}\n{lines}"
    )
    with pytest.raises(CompileError, match=message):
        code((1,), F, [], source)


def test_pointers_count_in_elements():
    p = Pointer(1000, 4)
    assert (p + 3).address == 1012 and ((p + 3) - p) == 3 and (p - 1).address == 996
    assert cupola.float32.itemsize == 4
