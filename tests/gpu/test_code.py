"""cupola.code on a GPU: the tutorial's CUDA examples, and what they do not show."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cupola
from code_pages import examples, run

SQUARE = """
    __global__ void square() {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < in0_shape0) @out(i) = @in0(i) * @in0(i);
    }
    square<<<(in0_shape0 + 255) / 256, 256>>>();
"""


def square(x, **more):
    return cupola.code(tuple(x.shape), x.dtype, (x,), cuda_src=SQUARE, **more)


@pytest.mark.parametrize("line, text", examples(True), ids=lambda x: str(x)[:4])
def test_example(line, text):
    run(line, text)


@pytest.mark.parametrize("view", [
    lambda x: x[1:7], lambda x: x[::2], lambda x: x.flip(0), lambda x: x[3:4].expand(9),
    lambda x: x.reshape(2, 5)[:, 3], lambda x: x[:0],
])  # fmt: skip
def test_views(view):
    x = view(cupola.arange(10.0, device="cuda"))
    assert cupola.equal(square(x), x * x)


@pytest.mark.parametrize("name", [
    "bool", "uint8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "complex64",
])  # fmt: skip
def test_element_types(name):
    x = cupola.tensor([0, 1, 1, 0]).to(getattr(cupola, name)).to("cuda")
    y = cupola.code(
        (4,),
        x.dtype,
        [x],
        cuda_src="""
        __global__ void turn() { @out(threadIdx.x) = @in0(3 - threadIdx.x); }
        turn<<<1, 4>>>();
    """,
    )
    assert y.dtype is x.dtype and y.tolist() == x.tolist()[::-1]


def test_gradients():
    x = cupola.rand(5, dtype=cupola.float64, device="cuda", requires_grad=True)
    gradient = SQUARE.replace("@in0(i) * @in0(i)", "2 * @in0(i) * @dout(i)")
    assert cupola.autograd.gradcheck(lambda x: square(x, cuda_grad_src=[gradient]), (x,))
    python = {"grad": lambda g, i, o: 2 * g[0] * i[0]}
    assert cupola.autograd.gradgradcheck(lambda x: square(x, **python), (x,))


def test_errors_name_the_line():
    with pytest.raises(cupola.CompileError) as caught:
        cupola.code(
            (2,),
            cupola.float32,
            [cupola.ones(2, device="cuda")],
            cuda_src="""
            __global__ void k() {
                @out(0) = undefined_in_the_kernel;
            }
            k<<<1, 1>>>();
        """,
        )
    lines = Path(__file__).read_text().splitlines()
    line = 1 + next(k for k, x in enumerate(lines) if "undefined_in_the_kernel;" in x)
    assert f"{__file__}:{line}: cuda_src: " in str(caught.value)


def test_large_shared_memory():
    y = cupola.code(
        (1,),
        cupola.float32,
        [],
        device="cuda",
        cuda_src="""
        __global__ void k() {
            extern __shared__ float memory[];
            memory[20000] = 3;
            @out(0) = memory[20000];
        }
        k<<<1, 1, 100000>>>();
    """,
    )
    assert y.item() == 3


def test_part_of_a_cuda_graph():
    import cupy

    x = cupola.arange(1000.0, device="cuda").realize()
    square(x)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y = square(x)
        graph = stream.end_capture()
        x._n.value[...] = 3
        graph.launch()
        stream.synchronize()
    assert cupola.equal(y, cupola.full((1000,), 9.0, device="cuda"))


def test_nearest_neighbours():
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import knn

    for n in (10, 33, 1000):
        points = np.random.default_rng(n).random((n, 3), np.float32)
        assert knn.check(points, knn.cupola_side(points, "cuda")) > 0.99


def test_compiled_kernel():
    kernel = cupola.cuda.compile_kernel(
        """
        extern "C" __global__ void scale(const float* x, float* y, int n, float by) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) y[i] = x[i] * by;
        }
        """,
        "scale",
    )
    x, y = cupola.arange(100.0, device="cuda"), cupola.zeros(100, device="cuda")
    kernel(grid=(1, 1, 1), block=(128, 1, 1), args=(x, y, 50, 2.0))
    kernel((1,), (128,), (x, y, 40, 3.0))
    assert y[:40].tolist() == (3 * x[:40]).tolist() and y[60].item() == 0
    assert y[45].item() == 90


def test_inside_compile():
    @cupola.compile
    def f(x):
        return square(x + 1) - 1

    for k in range(4):
        x = cupola.arange(4.0, device="cuda") + k
        assert cupola.allclose(f(x), (x + 1) ** 2 - 1)
    assert f.reason == ""


def test_load_inline():
    from cupola.utils.cpp_extension import load_inline

    module = load_inline(
        "m",
        "torch::Tensor scale(torch::Tensor x, double by);",
        """
        #include <torch/extension.h>
        template <typename scalar_t>
        __global__ void scale_kernel(const scalar_t* x, scalar_t* y, int n, float by) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) y[i] = x[i] * by;
        }
        torch::Tensor scale(torch::Tensor x, double by) {
            TORCH_CHECK(x.is_cuda(), "a GPU's tensor");
            auto y = torch::empty_like(x);
            int blocks = (x.numel() + 127) / 128;
            AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "scale", ([&] {
                scale_kernel<scalar_t><<<blocks, 128>>>(
                    x.data_ptr<scalar_t>(), y.data_ptr<scalar_t>(), x.numel(), by);
            }));
            return y;
        }
        """,
        functions=["scale"],
    )
    for kind in (cupola.float32, cupola.float64):
        x = cupola.arange(300, dtype=kind, device="cuda")
        assert cupola.equal(module.scale(x, 2.5), x * 2.5)


OUTSIDE = '''
import cupola

x = cupola.ones(8, device="cuda")
y = cupola.code(
    (8,),
    cupola.float32,
    [x],
    cuda_flags=["-lineinfo"],
    cuda_src="""
    __global__ void fill() {
        float* far = out_p + (1l << 32);
        far[threadIdx.x] = @in0(threadIdx.x);
    }
    fill<<<1, 8>>>();
""",
)
cupola.cuda.synchronize()
'''


@pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="no compute-sanitizer")
@pytest.mark.parametrize("outside", [True, False])
def test_the_sanitizer_names_the_line(outside, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(OUTSIDE if outside else OUTSIDE.replace("(1l << 32)", "0"))
    command = ["compute-sanitizer", "--error-exitcode", "7", sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ)
    line = 1 + OUTSIDE.splitlines().index("        far[threadIdx.x] = @in0(threadIdx.x);")
    if outside:
        assert "Invalid __global__ write of size 4 bytes" in done.stdout
        assert f"{program.name}:{line}" in done.stdout
    else:
        assert done.returncode == 0, done.stdout
