"""Every name of torch.Tensor exists on cupola.Tensor, and does the same or says why not.

Each method is called with the first of a list of arguments that torch takes; what comes back, and
what became of the tensor, must agree.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import cupola
from graph.tensor_calls import CALLS

# Switches of torch's own machinery.
MACHINERY = {"__torch_dispatch__", "__torch_function__", "__dlpack_c_exchange_api__"}
NAMES = sorted(n for n in dir(torch.Tensor) if not n.startswith("_"))
SPECIAL = sorted(n for n in dir(torch.Tensor) if n.startswith("__") and n not in MACHINERY)
# What the answer depends on, beyond the tensor: addresses, objects of the library's own.
OWN = {
    *("data_ptr", "const_data_ptr", "storage", "untyped_storage", "storage_type", "grad_fn"),
    *("register_hook", "register_post_accumulate_grad_hook", "share_memory_", "is_shared"),
    *(
        "resize_",
        "resize_as_",
        "new_empty",
        "new_empty_strided",
        "new",
        "new_tensor",
        "module_load",
    ),
    *("__dlpack__", "record_stream", "pin_memory", "is_pinned", "type", "device", "layout"),
    *("cuda", "xpu", "ipu", "mtia", "hpu", "as_subclass", "set_", "to_dense"),
    *("to_sparse",),  # it stays dense
}
FLOATS = np.array([[0.3, -0.6, 0.9], [1.2, 0.15, -0.45], [0.75, 0.2, 1.1]], np.float32)
SYMMETRIC = FLOATS @ FLOATS.T + np.eye(3, dtype=np.float32)
INTEGERS = np.array([[3, 1, 2], [5, 4, 7], [2, 6, 1]])


INDEX = np.array([[0, 1, 2], [2, 1, 0], [0, 0, 1]])

# Arguments to try, in order.
CANDIDATES = [
    lambda m, x: (),
    lambda m, x: (x * 0.5 + 0.5,) if x.dtype.is_floating_point else (x + 1,),
    lambda m, x: (2,),
    lambda m, x: (0,),
    lambda m, x: (0.5,),
    lambda m, x: (0, 1),
    lambda m, x: (0.1, 0.9),
    lambda m, x: (m.tensor(FLOATS > 0),),
    lambda m, x: (m.ones(3, 3), m.ones(3, 3)),
    lambda m, x: (x[0],),
    lambda m, x: (x[0], x[1]),
    lambda m, x: (x[0], m.ones(3, 3)[0]),
    lambda m, x: (m.ones(3, 3), x[0]),
    lambda m, x: (0, m.tensor([0, 2])),
    lambda m, x: (0, m.tensor([0, 2]), 1.5),
    lambda m, x: (0, m.tensor([0, 2]), x[:2]),
    lambda m, x: (0, m.tensor([0, 2]), x[:2], "prod"),
    lambda m, x: (0, m.tensor(INDEX)),
    lambda m, x: (0, m.tensor(INDEX), x),
    lambda m, x: (0, m.tensor(INDEX), x, "sum"),
    lambda m, x: (m.tensor(FLOATS > 0), 1.5),
    lambda m, x: (m.tensor(FLOATS > 0), x),
    lambda m, x: (m.tensor(INDEX).reshape(-1)[:2], x[0, :2]),
    lambda m, x: ((m.tensor([0, 2]),), x[:2]),
    lambda m, x: (x.reshape(1, 3, 3), x.reshape(1, 3, 3)),
    lambda m, x: (x, x[0]),
    lambda m, x: ("ij->ji",),
    lambda m, x: ((3, 3),),
    lambda m, x: (3, 3),
    lambda m, x: ((9,), (1,)),
    lambda m, x: ((3, 3), (1, 3)),
    lambda m, x: (0, 0, 2),
    lambda m, x: (x[0], 0, 1),
    lambda m, x: (x[:1], 0, 0, 1),
    lambda m, x: (0, -1, 1),
    lambda m, x: (2, 0, 1),
    lambda m, x: (2, 0, 1.0),
    lambda m, x: (0, 2, 1),
    lambda m, x: (x, lambda a, b: a + b),
    lambda m, x: (x, x, lambda a, b, c: a + b + c),
    lambda m, x: (lambda a: a + 1,),
    lambda m, x: (m.float64,),
    lambda m, x: (x.shape,),
    lambda m, x: (4, -1.0, 1.0),
    lambda m, x: (m.tensor([0.0, 0.5, 1.0]),),
    lambda m, x: (2, 2),
    lambda m, x: (0, (3, 1)),
    lambda m, x: ((1, 0),),
    lambda m, x: (x.reshape(3, 3), x.reshape(3, 3), True),
    lambda m, x: ("cpu",),
    lambda m, x: (None,),
]
# Receivers to try.
RECEIVERS = [
    lambda m: m.tensor(FLOATS),
    lambda m: m.tensor(FLOATS[0]),
    lambda m: m.tensor(INTEGERS),
    lambda m: m.tensor(SYMMETRIC),
    lambda m: m.tensor(FLOATS > 0),
    lambda m: m.tensor(FLOATS).to(m.complex64),
    lambda m: m.tensor(2.5),
    lambda m: m.tensor(FLOATS).reshape(1, 3, 3),
    lambda m: m.tensor(FLOATS).bfloat16(),
]


def call(m, name, receiver, arguments):
    """(result, the tensor afterwards)."""
    m.manual_seed(0)
    x = RECEIVERS[receiver](m)
    args = CANDIDATES[arguments](m, x if arguments == 1 else RECEIVERS[0](m))
    value = getattr(x, name)
    return (value(*args) if callable(value) else value), x


def works(name):
    """The first receiver and arguments that torch takes, or None."""
    for receiver in range(len(RECEIVERS)):
        for arguments in range(len(CANDIDATES)):
            try:
                call(torch, name, receiver, arguments)
            except Exception:
                continue
            return receiver, arguments
    return None


def plain(value):
    """A result that compares."""
    if isinstance(value, (torch.Tensor, cupola.Tensor)):
        if str(value.layout) != "torch.strided" or str(value.dtype) == "torch.complex32":
            return "something of torch's own"
        shown = value.detach().resolve_conj() if hasattr(value, "resolve_conj") else value.detach()
        shown = shown.float() if str(shown.dtype) == "torch.bfloat16" else shown
        return str(value.dtype), shown.cpu().numpy()
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (bool, int, float, complex, str, type(None), np.ndarray)):
        return value
    return str(value).replace("cupola", "torch") if "object at" not in str(value) else None


def same(got, want):
    """Whether two plain results agree."""
    if isinstance(want, (list, tuple)):
        return len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, np.ndarray):
        close = np.allclose(got, want, 1e-4, 1e-5, equal_nan=True)
        return got.shape == want.shape and close
    if isinstance(want, float):
        return got == pytest.approx(want, rel=1e-5, nan_ok=True)
    return got == want


KNOWN = {name: place for place, names in CALLS.items() for name in names.split()}


@pytest.mark.parametrize("part", range(8))
def test_every_name(part):
    """Names that torch lists."""
    wrong = []
    for name in NAMES[part::8]:
        if not hasattr(cupola.Tensor, name):
            wrong.append(f"{name}: missing")
            continue
        found = KNOWN.get(name)
        if name in OWN or found is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = [plain(v) for v in call(torch, name, *found)]
            try:
                got = [plain(v) for v in call(cupola, name, *found)]
            except cupola.UnsupportedError as error:
                assert error.reason
                continue
            except Exception as error:
                wrong.append(f"{name}{found}: {type(error).__name__}: {error}"[:200])
                continue
        # Singular vectors have signs of their own.
        if not same(got, want) and name not in ("svd", "qr", "eig", "lu", "geqrf"):
            wrong.append(f"{name}{found}: {got}, torch {want}"[:400])
    assert not wrong, "\n".join(wrong)


def test_special_names():
    """Operators and protocols."""
    missing = [n for n in SPECIAL if not hasattr(cupola.Tensor, n)]
    # Properties that raise AttributeError where they do not apply are there all the same.
    assert [n for n in missing if n not in vars(cupola.Tensor)] == []


def test_unsupported_names_say_why():
    """What is not supported says what to use instead."""
    for name in ("to_sparse_csr", "q_scale", "symeig", "to_mkldnn", "ipu", "smm"):
        with pytest.raises(cupola.UnsupportedError) as caught:
            getattr(cupola.ones(2, 2), name)()
        assert ";" in caught.value.reason


def test_storages():
    """Storages tell which tensors share memory."""
    x = cupola.arange(6.0).reshape(2, 3)
    assert x[0].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    assert x.t().storage().tolist() == torch.arange(6.0).storage().tolist()
    assert x.untyped_storage().nbytes() == 24
    assert x.clone().untyped_storage() != x.untyped_storage()
    assert x.untyped_storage().tolist() == torch.arange(6.0).untyped_storage().tolist()


def test_set_like_names():
    """Names whose answer the automatic comparison leaves out."""

    def program(m):
        x = m.arange(6.0).reshape(2, 3)
        y = x.view(2, 3)
        out = [x.is_set_to(y), x.is_set_to(x[0]), x.t().dim_order(), x.as_strided_((2,), (3,))]
        out += [m.tensor([1.0, 2]).map_(m.tensor([3.0, 4]), lambda a, b: a * b)]
        out += [m.tensor([1, 2, 2]).bincount(), m.ones(2).new_full((2,), 3.0)]
        out += [
            m.tensor([1.0, 2]).double().float_power_(2),
            m.tensor([0, 3]).nonzero_static(size=2),
        ]
        out += [m.tensor([1.0, 2, 3, 4]).as_strided_scatter(m.zeros(2), (2,), (2,))]
        m.manual_seed(0)
        out += [m.tensor([0.2, 0.8]).multinomial(5, True), x.new_ones(2), x.sparse_dim()]
        out += [list(reversed(m.tensor([1.0, 2])))[0], x.new_tensor([1, 2]), x.new_empty(2).shape]
        return [plain(v) for v in out]

    assert same(program(cupola), program(torch))
