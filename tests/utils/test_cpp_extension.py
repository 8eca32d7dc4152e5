"""load_inline without a GPU: host functions run, launches are noted and played on the CPU."""

import pytest

import cupola
from cupola.utils import cpp_extension
from cupola.utils.cpp_extension import load_inline

SOURCE = """
#include <torch/extension.h>
#include <cuda_fp16.h>
#include <c10/cuda/CUDAGuard.h>
#define CHECK_INPUT(x) TORCH_CHECK(x.is_cuda(), #x " must be a CUDA tensor")

template <typename scalar_t>
__global__ void scale_kernel(const scalar_t* __restrict__ x, scalar_t* y, int n, float by) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * by;  // torch::Tensor in a comment
}
__global__ void add_kernel(const float* a, const float* b, float* out, int rows, int columns) {}

torch::Tensor scale(const torch::Tensor& x, double by) {
    CHECK_INPUT(x);
    TORCH_CHECK(x.dim() == 1, "one dimension, not ", x.dim());
    const at::cuda::OptionalCUDAGuard guard(device_of(x));
    auto y = torch::empty_like(x);
    const int threads = 128;
    const int blocks = (x.numel() + threads - 1) / threads;
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "scale", ([&] {
        scale_kernel<scalar_t><<<blocks, threads, 0, at::cuda::getCurrentCUDAStream()>>>(
            x.data_ptr<scalar_t>(), y.data_ptr<scalar_t>(), x.numel(), by);
    }));
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return y;
}

std::vector<torch::Tensor> add(torch::Tensor a, torch::Tensor b) {
    auto options = torch::TensorOptions().dtype(torch::kFloat32).device(a.device());
    torch::Tensor out = torch::zeros({a.size(0), a.size(1)}, options);
    auto sizes = torch::empty({2}, a.options().dtype(torch::kInt64));
    dim3 block(16, 16), grid((a.size(1) + 15) / 16, (a.size(0) + 15) / 16);
    if (a.numel() > 0)
        add_kernel<<<grid, block>>>(a.data_ptr<float>(), b.contiguous().data_ptr<float>(),
                                    out.data_ptr<float>(), a.size(0), a.size(1));
    return {out, sizes};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("add", &add); }
"""


class Played:
    """Plays ``CompiledKernel`` on the CPU."""

    calls = []

    def __init__(self, source, name, dirs, flags, template=()):
        assert "__global__" in source and "torch::empty_like" not in source
        assert "PYBIND" not in source and "torch/extension.h" not in source
        assert "cuda_fp16.h" in source
        self.name, self.template = name, tuple(template)

    def __call__(self, grid, block, args, shared):
        self.calls.append((self.name, self.template, grid, block, shared))
        if self.name == "scale_kernel":
            x, y, n, by = args
            assert n == x.numel()
            y.copy_(x * by)
        else:
            a, b, out, rows, columns = args
            assert (rows, columns) == tuple(a.shape)
            out.copy_(a + b)


@pytest.fixture(autouse=True)
def played(monkeypatch):
    monkeypatch.setattr(cpp_extension, "CompiledKernel", Played)
    monkeypatch.setattr(Played, "calls", [])


def test_functions_of_tensors():
    module = load_inline("m", "torch::Tensor scale(torch::Tensor, double);", SOURCE,
                         functions=["scale", "add"])  # fmt: skip
    x = cupola.arange(200.0)
    assert cupola.equal(module.scale(x, 2.5), x * 2.5)
    assert Played.calls[-1] == ("scale_kernel", ("float",), (2, 1, 1), (128, 1, 1), 0)
    module.scale(x.double(), 1.0)
    assert Played.calls[-1][1] == ("double",)
    a, b = cupola.randn(20, 40), cupola.randn(40, 20)
    out, sizes = module.add(a, b.t())
    assert cupola.equal(out, a + b.t()) and sizes.dtype is cupola.int64
    assert Played.calls[-1][2:4] == ((3, 2, 1), (16, 16, 1))
    with pytest.raises(RuntimeError, match="TORCH_CHECK"):
        module.scale(a, 2.0)
    with pytest.raises(TypeError, match="takes 2 arguments"):
        module.scale(x)


def test_all_functions_are_found():
    module = load_inline("m", [""], [SOURCE])
    assert callable(module.scale) and callable(module.add)


@pytest.mark.parametrize("body, message", [
    ("return x.matmul(x);", "'matmul' of tensors"),
    ("auto y = torch::conv2d(x, x); return y;", "'conv2d' cannot be called"),
    ("std::cout << x; return x;", "not"),
])  # fmt: skip
def test_what_goes_beyond_is_refused_at_once(body, message):
    source = f"__global__ void k(float* x) {{}}\ntorch::Tensor f(torch::Tensor x) {{ {body} }}"
    with pytest.raises(cupola.UnsupportedError, match=message) as caught:
        load_inline("m", "", source, functions=["f"])
    assert "cupola.code" in str(caught.value)


def test_cpp_sources_are_refused():
    with pytest.raises(cupola.UnsupportedError, match="cpu_src"):
        load_inline("m", "torch::Tensor f(torch::Tensor x) { return x; }", functions=["f"])
    with pytest.raises(cupola.UnsupportedError):
        cpp_extension.load("m", ["m.cpp"])
