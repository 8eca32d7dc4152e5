"""Attributes of tensors, and operators that ask for a number, on tensors of many kinds."""

from __future__ import annotations

import pytest

from func.outcomes import differences

MADE = {
    "matrix": lambda m: m.tensor([[0.3, -0.6, 0.9], [1.2, 0.15, -0.45]]),
    "leaf": lambda m: m.ones(2, 2).requires_grad_(),
    "computed": lambda m: m.ones(2, 2).requires_grad_() * 2,
    "integers": lambda m: m.tensor([1, 2]),
    "truth": lambda m: m.tensor([True]),
    "number": lambda m: m.tensor(2.5),
    "complex": lambda m: m.tensor([[1 + 2j, 3 - 1j]]),
    "half": lambda m: m.ones(2, 3, dtype=m.bfloat16),
    "empty": lambda m: m.ones(0, 3),
    "view": lambda m: m.ones(4, 3)[::2, 1:].t(),
    "images": lambda m: m.ones(2, 3, 4, 5).to(memory_format=m.channels_last),
    "parameter": lambda m: m.nn.Parameter(m.ones(2)),
    "expanded": lambda m: m.ones(2, 3).expand(4, 2, 3),
    "matrices": lambda m: m.arange(24.0).reshape(2, 3, 4),
}
ATTRIBUTES = (
    "T mT H mH data dtype device layout grad is_leaf requires_grad retains_grad output_nr name "
    "ndim shape itemsize nbytes real imag volatile _version _base is_cpu is_cuda is_meta "
    "is_sparse is_sparse_csr is_quantized is_mkldnn is_nested is_mps is_xpu is_xla is_vulkan "
    "is_ipu is_maia is_mtia"
).split()
METHODS = (
    "dim size stride numel nelement element_size storage_offset is_contiguous is_floating_point "
    "is_complex is_neg is_signed is_inference tolist item get_device ndimension dense_dim "
    "sparse_dim __len__ __bool__ __float__ __int__ __complex__ __index__ __repr__ __neg__ "
    "__pos__ __invert__ type resolve_conj resolve_neg detach clone cpu numpy contiguous t squeeze"
).split()


@pytest.mark.parametrize("name", MADE)
def test_attributes(name):
    """Read, and called without arguments; errors are of the same type."""
    make = MADE[name]
    programs = {a: lambda m, a=a: getattr(make(m), a) for a in ATTRIBUTES}
    programs |= {f"{a}()": lambda m, a=a: getattr(make(m), a)() for a in METHODS}
    programs |= {f: lambda m, f=f: format(make(m), f) for f in (".3f", "d", "e", "")}
    programs["iterated"] = lambda m: [list(make(m)), list(reversed(make(m)))]
    assert differences(programs) == []


def after(make, attribute, value):
    def program(m):
        x = make(m)
        setattr(x, attribute, value(m))
        return x, getattr(x, attribute)

    return program


SET = {
    "real": after(MADE["complex"], "real", lambda m: m.zeros(1, 2)),
    "real, one number": after(MADE["complex"], "real", lambda m: m.tensor(5.0)),
    "imag": after(MADE["complex"], "imag", lambda m: m.zeros(1, 2)),
    "real of real": after(MADE["matrix"], "real", lambda m: m.zeros(2, 3)),
    "imag of real": after(MADE["matrix"], "imag", lambda m: m.zeros(2, 3)),
    "grad": after(MADE["leaf"], "grad", lambda m: m.ones(2, 2)),
    "grad of another shape": after(MADE["leaf"], "grad", lambda m: m.ones(3)),
    "grad, a number": after(MADE["leaf"], "grad", lambda m: 3),
    "data": after(MADE["leaf"], "data", lambda m: m.zeros(5)),
    "data, a number": after(MADE["leaf"], "data", lambda m: 3),
    "shape": after(MADE["matrix"], "shape", lambda m: (3, 2)),
    "is_leaf": after(MADE["matrix"], "is_leaf", lambda m: False),
    "requires_grad of integers": after(MADE["integers"], "requires_grad", lambda m: True),
    "requires_grad of results": after(MADE["computed"], "requires_grad", lambda m: False),
    "its own": after(MADE["matrix"], "own", lambda m: "kept"),
    "none": lambda m: MADE["matrix"](m).none,
}


def test_set():
    assert differences(SET) == []
