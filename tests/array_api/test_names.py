"""Names and signatures of the standard, and array-api-compat's view of cupola's tensors."""

import inspect

import numpy as np
import pytest

import cupola
from beside_strict import strict, xp

pytest.importorskip("array_api_strict")

# Its own switches, and what a later version of the standard adds.
OTHERS = {
    "ArrayAPIStrictFlags", "Device", "__version__", "get_array_api_strict_flags", "isin",
    "reset_array_api_strict_flags", "set_array_api_strict_flags",
}  # fmt: skip
METHODS = [
    "__abs__", "__add__", "__and__", "__array_namespace__", "__bool__", "__complex__",
    "__dlpack__", "__dlpack_device__", "__eq__", "__float__", "__floordiv__", "__ge__",
    "__getitem__", "__gt__", "__index__", "__int__", "__invert__", "__le__", "__lshift__",
    "__lt__", "__matmul__", "__mod__", "__mul__", "__ne__", "__neg__", "__or__", "__pos__",
    "__pow__", "__rshift__", "__setitem__", "__sub__", "__truediv__", "__xor__", "to_device",
]  # fmt: skip
REFLECTED = "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul".split()


def modules():
    return ((xp, strict()), (xp.linalg, strict().linalg), (xp.fft, strict().fft))


def test_every_name_is_there():
    for mine, other in modules():
        assert set(other.__all__) - OTHERS <= set(mine.__all__)
    assert xp.__array_api_version__ == "2024.12"
    assert (xp.e, xp.pi, xp.inf) == (np.e, np.pi, np.inf) and xp.nan != xp.nan
    assert xp.newaxis is None


def form(f):
    """A signature: names and kinds of parameters, and the defaults that can be compared."""
    return [
        (p.name, p.kind, p.default if isinstance(p.default, (int, float, str, tuple)) else None)
        for p in inspect.signature(f).parameters.values()
    ]


@pytest.mark.parametrize("module", range(3))
def test_signatures(module):
    mine, other = modules()[module]
    for name in set(other.__all__) - OTHERS:
        f = getattr(other, name)
        if inspect.isfunction(f):
            # Defaults of array-api-strict that stand for «not given» are None in the standard.
            expected = [(n, k, None if "Undef" in type(d).__name__ else d) for n, k, d in form(f)]
            assert form(getattr(mine, name)) == expected, name


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    x, y = xp.ones((1, 1)), strict().ones((1, 1))
    mine, other = form(getattr(x, name)), form(getattr(y, name))
    if name not in ("__dlpack__", "to_device"):  # there array-api-strict is looser
        assert [p[:2] for p in mine] == [p[:2] for p in other]
    for operator in REFLECTED:
        assert f"__r{operator}__" in dir(x) and f"__i{operator}__" in dir(x)


def test_methods_with_keywords():
    assert [str(p) for p in inspect.signature(xp.ones(1).to_device).parameters] == [
        "device", "stream"
    ]  # fmt: skip
    assert [p[:2] for p in form(xp.ones(1).__dlpack__)] == [
        (n, inspect.Parameter.KEYWORD_ONLY) for n in ("stream", "max_version", "dl_device", "copy")
    ]


@pytest.mark.parametrize("make", [cupola.ones, xp.ones])
def test_array_api_compat(make):
    compat = pytest.importorskip("array_api_compat")
    x = make((2, 3))
    assert compat.is_array_api_obj(x) and not compat.is_torch_array(x)
    assert compat.array_namespace(x, x) is xp
    assert compat.array_namespace(x, api_version="2024.12") is xp
    assert compat.device(x) == x.device and compat.size(x) == 6
    assert compat.to_device(x, "cpu").device == x.device
    assert not compat.is_lazy_array(x) and compat.is_writeable_array(x)
    assert compat.is_array_api_strict_namespace(xp) is False
    with pytest.raises(TypeError):
        compat.array_namespace(x, np.ones(2))


def test_tensors_of_torch_keep_torchs_operators():
    """The namespace takes them; what it makes follows the standard."""
    few, one = cupola.ones(2), cupola.tensor(1.0, dtype=cupola.float64)
    assert (few + one).dtype == cupola.float32 and type(few + one) is cupola.Tensor
    out = xp.add(few, one)
    assert out.dtype == xp.float64 and isinstance(out, xp.Array)
    assert (few + xp.asarray(one, copy=True)).dtype == xp.float64
    with pytest.raises(ValueError):
        few[::-1]
    leaf = cupola.ones(3, requires_grad=True)
    xp.sum(xp.square(leaf) * 2).backward()
    assert leaf.grad.tolist() == [4.0, 4.0, 4.0]


def test_the_page_says_what_is_there():
    import importlib.util

    import harness

    path = harness.ROOT / "scripts/array_api.py"
    spec = importlib.util.spec_from_file_location("array_api_page", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--check"]) == 0
