"""Tensors print as torch's: dtypes, shapes, summaries, options."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cupola

torch = pytest.importorskip("torch")

DTYPES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 "
    "complex64 complex128"
).split()
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e5, 123456.789, 1e-5]


def reals(draw, n):
    """Numbers of one kind: what decides the notation."""
    return {
        "small": lambda: draw.normal(size=n),
        "whole": lambda: draw.integers(-100, 100, n).astype(float),
        "wide": lambda: draw.normal(size=n) * 10.0 ** draw.integers(-8, 9, n),
        "special": lambda: draw.choice(SPECIAL, n),
        "large": lambda: draw.normal(size=n) * 100,
        "zero": lambda: np.zeros(n),
        "tiny": lambda: draw.normal(size=n) * 1e-6,
    }


def values(chance, name):
    """An array of a random shape, and large enough at times for a summary."""
    shape = tuple(
        chance.choice([0, 1, 2, 3, 5, 7, 8, 12] if chance.random() < 0.9 else [40, 150])
        for _ in range(chance.choice([0, 1, 1, 2, 2, 3]))
    )
    draw, n = np.random.default_rng(chance.randrange(1 << 30)), int(np.prod(shape))
    if name == "bool":
        return draw.integers(0, 2, shape).astype(bool)
    if "int" in name:
        high = min(chance.choice([3, 100, 2**63]), int(np.iinfo(name).max))
        low = 0 if name.startswith("u") else -high
        return draw.integers(low, high, shape, dtype=name, endpoint=True)
    kind = chance.choice(list(reals(draw, 0)))
    one = lambda: reals(draw, n)[kind]().reshape(shape)
    with np.errstate(all="ignore"):
        if "complex" in name:
            out = np.empty(shape, name)
            out.real, out.imag = one(), one()
            return out
        return one().astype("float64" if name == "float64" else "float32")


def options(chance):
    choices = {
        "profile": ["default", "short", "full"], "precision": [0, 1, 2, 6, 8],
        "threshold": [0, 5, 20, 1000], "edgeitems": [1, 2, 3, 5], "linewidth": [10, 40, 80, 120],
        "sci_mode": [True, False, None],
    }  # fmt: skip
    if chance.random() < 0.5:
        return {}
    return {k: chance.choice(v) for k, v in choices.items() if chance.random() < 0.4}


def printed(package, array, name, chosen, how):
    package.set_printoptions(profile="default")
    package.set_printoptions(**chosen)
    try:
        t = package.tensor(array).to(getattr(package, name))
        if t.is_floating_point() or t.is_complex():
            if how == "leaf":
                t.requires_grad_()
            elif how == "product":
                t = t.requires_grad_() * 1
            elif how == "sum" and t.ndim:
                t = t.requires_grad_().sum()
        if how == "transposed" and t.ndim == 2:
            t = t.T
        if how == "part" and t.ndim:
            t = t[1:]
        assert str(t) == repr(t) == f"{t}" or t.ndim == 0
        return repr(t)
    finally:
        package.set_printoptions(profile="default")


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(DTYPES), st.integers(0, 1 << 30))
def test_as_torch_prints(name, seed):
    chance = random.Random(seed)
    array, chosen = values(chance, name), options(chance)
    if array.size > 20_000:
        return
    how = chance.choice(["plain", "leaf", "product", "sum", "transposed", "part"])
    mine = printed(cupola, array, name, chosen, how)
    assert mine == printed(torch, array, name, chosen, how), f"{name} {chosen} {how}"


@pytest.mark.parametrize("shape", [(1001,), (50, 30), (2, 600), (11, 10, 10), (1, 7, 1, 200)])
def test_summaries(shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 7
    for chosen in ({}, {"edgeitems": 1}, {"threshold": 10_000}, {"profile": "short"}):
        mine = printed(cupola, array, "float32", chosen, "plain")
        assert mine == printed(torch, array, "float32", chosen, "plain")


def outcome(package, value, spec):
    """Texts that a format string makes of numbers, of vectors and of parameters."""
    found = []
    for t in (package.tensor(value), package.tensor([value]), package.nn.Parameter(
        package.tensor(1.5)
    )):  # fmt: skip
        try:
            found.append(format(t, spec))
        except Exception as error:
            found.append(type(error).__name__)
    return found


@pytest.mark.parametrize("value", [1, 2.5, True, 3j, float("nan"), -0.0, 1e10])
def test_numbers_and_other_objects(value):
    for text in (
        lambda m: repr(m.tensor(value)), lambda m: str(m.tensor(value)),
        lambda m: f"{m.tensor(value)}", lambda m: repr([m.tensor(value)]),
        lambda m: repr(m.nn.Parameter(m.tensor([1.0, 2.0]))), lambda m: repr(m.ones(2).shape),
        lambda m: repr(m.ones(2).dtype), lambda m: repr(m.device("cuda", 1)),
        lambda m: repr(m.empty(2, 3, device="meta")), lambda m: repr(m.zeros(0, 2)),
        lambda m: repr(m.ones(2, 3).max(1)), lambda m: repr(m.finfo(m.float32)),
    ):  # fmt: skip
        assert text(cupola) == text(torch)
    for spec in ("", ".2f", ".3e", ">12"):
        assert outcome(cupola, value, spec) == outcome(torch, value, spec)
