"""Generated kernels on a real GPU against the NumPy interpreter of the loop form, in every forced
variant.
"""

from __future__ import annotations

import numpy as np
import pytest

from codegen.cuda_kernels import UNARY, gelu, reduction, samples, softmax, unary
from codegen.cuda_samples import Sample
from cupola import dtypes as dt
from cupola.backends.cuda import available
from cupola.codegen.cuda import Choice

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]

FORCED = (
    Choice(wide=True), Choice(lanes=1), Choice(lanes=2), Choice(mode="row"), Choice(mode="col"),
    Choice(parts=3), Choice(mode="col", parts=3, team=4),
    Choice(mode="row", team=32, parts=2, wide=True), Choice(mode="row", team=128),
    Choice(mode="col", team=8, lanes=1),
)  # fmt: skip


def device_run(sample: Sample, choice: Choice | None) -> list[np.ndarray]:
    import cupy

    from cupola.backends.cuda.launch import KernelLaunch

    arrays = [cupy.asarray(a) for a in sample.fresh()]
    launch = KernelLaunch(sample.kernel, choice)
    launch(arrays, sample.meta, sample.scalars)
    launch(arrays, sample.meta, sample.scalars)  # a second run from the plan cache changes nothing
    return [cupy.asnumpy(a) for a in arrays]


@pytest.mark.parametrize("number", range(len(samples())))
def test_kernel(number: int) -> None:
    sample = samples()[number]()
    for choice in (None, *(FORCED if sample.kernel.inner else FORCED[:3])):
        sample.check(device_run(sample, choice), str(choice))


@pytest.mark.parametrize("d", (dt.float32, dt.float64), ids=lambda d: d.name)
@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str, d: dt.dtype) -> None:
    sample = unary(op, d)
    sample.check(device_run(sample, None))


@pytest.mark.parametrize(
    "make",
    [
        lambda: gelu(1 << 20), lambda: gelu((1 << 20) + 3, dt.bfloat16), lambda: softmax(300, 1024),
        lambda: softmax(2, 200_000), lambda: softmax(3, 5000, dt.float16),
        lambda: softmax(1000, 300, dt.float32, 2),
        lambda: reduction("sum", (1,), (1 << 21,), (0, 1)),
        lambda: reduction("argmax", (1,), (1 << 20,), (0, 1)),
        lambda: reduction("sum", (2048,), (1024,), (1, 2048), dt.float64),
        lambda: reduction("max", (2048,), (600,), (600, 1)),
        lambda: reduction("argmin", (64,), (40, 200), (200, 12800, 1), nan=True),
    ],
)  # fmt: skip
def test_larger(make) -> None:
    sample = make()
    sample.check(device_run(sample, None))


def test_sums_repeat_bit_by_bit() -> None:
    sample = reduction("sum", (1,), (1 << 20,), (0, 1))
    first = device_run(sample, None)[1]
    assert all(np.array_equal(first, device_run(sample, None)[1]) for _ in range(5))


def test_misaligned_buffers() -> None:
    import cupy

    from cupola.backends.cuda.launch import KernelLaunch

    sample = gelu(1000)
    arrays = []
    for a in sample.fresh():
        room = cupy.empty(a.size + 1, a.dtype)
        room[1:] = cupy.asarray(a)
        arrays.append(room[1:])
    KernelLaunch(sample.kernel)(arrays, sample.meta, sample.scalars)
    sample.check([cupy.asnumpy(a) for a in arrays])


def test_captured_into_a_graph() -> None:
    import cupy

    from cupola.backends.cuda.launch import KernelLaunch

    sample = softmax(2, 1 << 18)  # split: uses scratch memory
    arrays = [cupy.asarray(a) for a in sample.fresh()]
    launch = KernelLaunch(sample.kernel)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        launch(arrays, sample.meta, sample.scalars)
        stream.synchronize()
        stream.begin_capture()
        launch(arrays, sample.meta, sample.scalars)
        graph = stream.end_capture()
        arrays[1].fill(0)
        graph.launch(stream)
        stream.synchronize()
    sample.check([cupy.asnumpy(a) for a in arrays])


def test_other_threads_may_launch() -> None:
    import threading

    results = []

    def work() -> None:
        sample = gelu(5000)
        results.append((sample, device_run(sample, None)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    for sample, got in results:
        sample.check(got)


def test_disk_cache_is_used(monkeypatch) -> None:
    from cupola.backends.cuda import compiler

    text = 'extern "C" __global__ void nothing(int n) {}\n'
    first = compiler.machine_code(text, "nothing", 0)

    class Refuses:
        def __getattr__(self, name: str):
            raise AssertionError("compiled a second time")

    real = compiler._nvrtc()
    monkeypatch.setattr(compiler, "_nvrtc", lambda: (Refuses(), *real[1:]))
    assert compiler.machine_code(text, "nothing", 0) == first


def test_backend_contract() -> None:
    from cupola.backends.cuda import CUDABackend

    backend = CUDABackend()
    sample = gelu(777)
    arrays = [backend.from_numpy(a) for a in sample.fresh()]
    assert backend.compile(sample.kernel) is backend.compile(sample.kernel)
    backend.compile(sample.kernel)(arrays, sample.meta, sample.scalars)
    backend.synchronize()
    sample.check([backend.to_numpy(a) for a in arrays])
    assert backend.empty((2, 3), dt.bfloat16).shape == (2, 3)
    with pytest.raises(RuntimeError, match="cuda:99"):
        backend.empty((1,), dt.float32, 99)
