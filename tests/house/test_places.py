"""An operator has its three places: declaration, a row in the converter's table, a sample.

Random primitives are sampled in tests/random, those that users define in tests of their own.
"""

import contextlib
import inspect

import pytest

import cupola
from cases.running import every_case, run
from cupola.functional._register import PUBLIC
from cupola.ir.op import PRIMITIVES, Primitive
from cupola.ops import fused
from cupola.tensor import composite
from cupola_transpiler import table

# Kinds that compute nothing by themselves, and the copy between devices, which needs two of them.
SOURCES = ("alias", "source")
BETWEEN_DEVICES = {"transfer"}
# What the scheduler alone makes: tests/graph/test_passes.py runs them by their references.
SCHEDULED = {op.name for op in vars(fused).values() if isinstance(op, Primitive)}

# What only half types on a GPU record; tests/device/test_attention.py runs it by its reference.
ON_A_GPU = {"attention", "attention_grad"}


@pytest.fixture(scope="module")
def recorded():
    """The names of the primitives that the samples record, their gradients included."""
    names, real, known = set(), Primitive.__call__, composite._EAGER

    def note(self, *srcs, **attrs):
        names.add(self.name)
        return real(self, *srcs, **attrs)

    Primitive.__call__ = note
    composite._EAGER = True  # what was recorded as one node before would not be met again
    try:
        for case in every_case():
            # A sample that fails is reported by tests/device; here only what it records counts.
            with contextlib.suppress(AttributeError, RuntimeError):
                run(cupola, case)
    finally:
        Primitive.__call__, composite._EAGER = real, known
    return names


def test_every_primitive_has_a_sample(recorded):
    wanted = {name for name, op in PRIMITIVES.items() if op.kind not in SOURCES}
    missing = sorted(wanted - recorded - BETWEEN_DEVICES - SCHEDULED - ON_A_GPU)
    assert not missing, f"add a line to tests/cases for: {', '.join(missing)}"


def test_every_primitive_has_a_reference():
    computing = [op for op in PRIMITIVES.values() if op.kind not in SOURCES]
    missing = {op.name for op in computing if op.reference is None} - BETWEEN_DEVICES
    assert not missing, "the reference backend could not run it"


def test_every_public_function_has_a_row():
    torch = pytest.importorskip("torch")
    rows, missing = table.load(), []
    for name in PUBLIC:
        if not hasattr(torch, name) or name.startswith("_"):
            continue
        row = rows.row(f"torch.{name}")
        if row is None or row.status in table.MISSING:
            missing.append(name)
    assert not missing, "cupola has it and the converter's table says otherwise"


def test_every_public_function_has_torchs_parameters():
    """Names and order, for those whose torch original is written in Python; more may follow."""
    from torch.nn import functional as theirs

    from cupola.nn import functional as ours

    different = []
    for name, value in vars(theirs).items():
        mine = getattr(ours, name, None)
        if name.startswith("_") or not inspect.isfunction(value) or not inspect.isfunction(mine):
            continue
        if value.__module__ != "torch.nn.functional":
            continue
        want = [p for p in inspect.signature(value).parameters if p != "kwargs"]
        got = [p for p in inspect.signature(mine).parameters if p != "kwargs"]
        if got[: len(want)] != want and want[0] != "args" and got[0] != "args":
            different.append(f"{name}{tuple(got)}, torch has {tuple(want)}")
    assert not different, "\n".join(different)
