"""Inside ``autocast`` on the CPU every operator of torch's database gives torch's result types."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import cupola
from scoreboard.compare import flatten
from scoreboard.entry import title
from scoreboard.exclusions import excluded
from scoreboard.samples import call, copied, parts_of
from scoreboard.tally import quiet, seed
from scoreboard.translate import translate

# Entries whose types differ with autocast off too, or whose composition differs.
LEFT_OUT = {
    "addr": "a 0-dimensional float32 among vectors of bfloat16",
    "matrix_exp": "is not implemented for bfloat16",
    "nn.functional.linear_cross_entropy.chunked": "bfloat16 gives float32, autocast or not",
    "nn.functional.linear_cross_entropy.chunked_none": "bfloat16 gives float32, autocast or not",
    "native_group_norm": "the statistics of bfloat16 are float32, autocast or not",
    "native_layer_norm": "the statistics of bfloat16 are float32, autocast or not",
    "native_batch_norm": "the statistics of bfloat16 are float32, autocast or not",
    "_native_batch_norm_legit": "the statistics of bfloat16 are float32, autocast or not",
    "linalg.pinv": "is one operator here, products in torch",
    "linalg.pinv.hermitian": "is one operator here, products in torch",
    "masked.prod": "is made of torch.prod there",
}
OPERATORS = [op for op in op_db if not excluded(op.name) and title(op) not in LEFT_OUT]
SAMPLES = 2
PARTS = 4


def _types(out):
    return [str(o.dtype) if hasattr(o, "dtype") else type(o).__name__ for o in flatten(out)]


def _mixed(parts):
    """The same with all float32 tensors but the first in bfloat16: for promotion to the widest."""
    met = []

    def lowered(x):
        if isinstance(x, torch.Tensor) and x.dtype is torch.float32:
            met.append(x)
            return x if len(met) == 1 else x.bfloat16()
        return type(x)(map(lowered, x)) if type(x) in (tuple, list) else x

    return lowered(parts[0]), lowered(parts[1]), {k: lowered(v) for k, v in parts[2].items()}


def _samples(op, dtype):
    seed(title(op))
    found = op.sample_inputs("cpu", dtype, requires_grad=False)
    for _, sample in zip(range(SAMPLES), found, strict=False):
        yield parts_of(sample)
        if dtype is torch.float32:
            yield _mixed(parts_of(sample))


def _differences(op, dtype):
    for number, parts in enumerate(_samples(op, dtype)):
        low = ("float16", "bfloat16")[number % 2]
        try:
            with torch.autocast("cpu", getattr(torch, low)):
                want = _types(call(op.op, copied(parts)))
        except Exception:  # noqa: S112 - torch does not take these types
            continue
        with cupola.autocast("cpu", getattr(cupola, low)):
            got = _types(call(translate(op.op), translate(copied(parts))))
        if got != want:
            yield f"sample {number} of {dtype} in {low}: {got} for {want}"


def _every_difference(part):
    wrong = []
    for op in OPERATORS[part::PARTS]:
        for dtype in {torch.float32, torch.bfloat16} & op.supported_dtypes("cpu"):
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wrong += [f"{title(op)}: {text}" for text in _differences(op, dtype)]
    return wrong


@pytest.mark.parametrize("part", range(PARTS))
def test_result_types(part):
    # A thread's stack is short: torch's generators of samples write down the whole stack.
    with ThreadPoolExecutor(1) as pool:
        wrong = pool.submit(_every_difference, part).result()
    assert not wrong, "\n".join(wrong)


def test_left_out_entries_exist():
    assert {title(op) for op in op_db} >= set(LEFT_OUT)
