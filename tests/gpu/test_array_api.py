"""The Array API namespace on a GPU gives what it gives on the CPU."""

import numpy as np
import pytest

import cupola

DRAW = np.random.default_rng(0)
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, 3.0, -1.0, np.inf, -np.inf, np.nan], np.float32)
LEFT, RIGHT = np.repeat(SPECIAL, len(SPECIAL)), np.tile(SPECIAL, len(SPECIAL))
MATRIX = DRAW.normal(size=(2, 4, 4)).astype(np.float32)
CASES = {
    "floor_divide": lambda xp, a: xp.floor_divide(a(LEFT), a(RIGHT)),
    "remainder": lambda xp, a: xp.remainder(a(LEFT), a(RIGHT)),
    "pow": lambda xp, a: xp.pow(a(LEFT), a(RIGHT)),
    "copysign": lambda xp, a: xp.copysign(a(LEFT), a(RIGHT)),
    "round of complex numbers": lambda xp, a: xp.round(a((MATRIX * (2 + 3j)).astype("complex64"))),
    "sum of uint8": lambda xp, a: xp.sum(a(np.full(300, 200, np.uint8))),
    "uint16 + int8": lambda xp, a: a(np.arange(9, dtype="uint16")) + a(np.arange(9, dtype="int8")),
    "backwards": lambda xp, a: a(MATRIX)[:, ::-1, ::-2],
    "take": lambda xp, a: xp.take(a(MATRIX), a(np.array([3, 0, -1])), axis=1),
    "argsort": lambda xp, a: xp.argsort(a(MATRIX), axis=1, descending=True),
    "unique": lambda xp, a: xp.unique_all(a(np.array([3, 1, 3, 2, 1])))[3],
    "searchsorted": lambda xp, a: xp.searchsorted(a(np.arange(5.0)), a(np.array([1.0, 2.5]))),
    "cumulative sum": lambda xp, a: xp.cumulative_sum(a(MATRIX), axis=1, include_initial=True),
    "variance": lambda xp, a: xp.var(a(MATRIX), axis=(0, 2), correction=1.0),
    "svdvals": lambda xp, a: xp.linalg.svdvals(a(MATRIX)),
    "inv": lambda xp, a: xp.linalg.inv(a(MATRIX)),
    "matmul": lambda xp, a: a(MATRIX) @ a(MATRIX),
    "rfft": lambda xp, a: xp.fft.rfft(a(MATRIX)),
    "where": lambda xp, a: xp.where(a(MATRIX) > 0, a(MATRIX), 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_functions(name):
    xp = cupola.ones(()).__array_namespace__()
    made = [
        CASES[name](xp, lambda v, d=device: xp.asarray(v, copy=True).to_device(d))
        for device in ("cpu", "cuda")
    ]
    on_cpu, on_gpu = made
    assert isinstance(on_gpu, xp.Array)
    assert on_gpu.device.type == "cuda" and on_gpu.dtype is on_cpu.dtype
    assert on_gpu.shape == on_cpu.shape
    np.testing.assert_allclose(on_gpu.cpu().numpy(), on_cpu.numpy(), rtol=1e-4, atol=1e-4)


def test_creation_on_the_device():
    xp = cupola.ones(()).__array_namespace__()
    info = xp.__array_namespace_info__()
    device = next(d for d in info.devices() if d.type == "cuda")
    for x in (
        xp.zeros(3, device=device), xp.arange(3, device=device), xp.eye(2, device=device),
        xp.linspace(0, 1, 5, device=device), xp.asarray([1, 2], device=device),
        xp.full((2,), 7, device=device), xp.fft.fftfreq(4, device=device),
    ):  # fmt: skip
        assert x.device.type == "cuda"
        assert xp.astype(x, xp.float64, device="cpu").device.type == "cpu"


def test_dlpack_from_the_gpu_to_the_cpu():
    x = cupola.arange(4.0).cuda()
    assert np.from_dlpack(x, device="cpu").tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(ValueError):
        x.__dlpack__(dl_device=(1, 0), copy=False)
