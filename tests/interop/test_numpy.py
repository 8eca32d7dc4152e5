"""NumPy's functions and operators on tensors, copies and pickles, beside torch's tensors."""

import copy
import pickle

import numpy as np
import pytest

import cupola

torch = pytest.importorskip("torch")

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
BESIDE_TORCH = """
np.asarray(t); np.asarray(t, dtype=np.float64); np.asarray(t, copy=True); np.array(t)
np.concatenate([t, t]); np.stack([t, t]); np.vstack([t, a]); np.add(t, a); np.add(a, t)
np.multiply(t, 2); np.exp(t); np.sqrt(t); np.matmul(a, t.T); np.dot(a, t.T); a / t; t * a; t + a
t - a; t / a; t @ a.T; a == t; t == a; np.float32(2) * t; np.float64(2) * t; np.int64(2) * t
t * np.float64(2); t + np.int64(2); np.where(t > 2, t, a); np.allclose(t, a)
np.array_equal(t, a); np.testing.assert_allclose(t, a); np.linalg.norm(t); np.shape(t); np.ndim(t)
np.isnan(t); np.array([t[0, 0], t[0, 1]]); np.array([t[0], t[1]]); np.asarray(i)
np.float64(t[0, 1]); a[i]; a[i[0]]; a[:, i]; a[b]; np.arange(5)[i[1]]; [5, 6, 7][i[1]]
np.zeros(i[1]); range(i[1])
np.asarray(h); np.asarray(c); np.asarray(g); np.add(g, a); np.asarray(g.detach()); np.asarray(f)
np.bitwise_and(i, 1); np.negative(t); np.add(t, t, out=np.zeros((2, 3), np.float32))
np.add.reduce(t); np.round(t); np.argmax(t); np.sort(t); np.reshape(t, (3, 2))
np.expand_dims(t, 0); np.broadcast_to(t, (2, 2, 3)); np.from_dlpack(t); np.ascontiguousarray(t)
np.copy(t); np.unique(t); np.histogram(t)[0]; np.percentile(t, 50); np.array(t, dtype=object)
np.ma.array(t); memoryview(t); a.dot(t.T); np.asarray(t[0, 0]); np.asarray(t.T); np.cumsum(t, 0)
np.nonzero(t > 2); np.power(t, 2); np.maximum(t, a); np.einsum("ij,ij->i", t, t); np.diff(t)
np.pad(t, 1); np.tile(t, 2); np.cov(t); np.logical_not(b); t.__array__(np.float64)
t.__array_priority__; np.iterable(t); np.isscalar(t[0, 0]); np.array_split(t, 2)
copy.copy(t); copy.deepcopy(t); pickle.loads(pickle.dumps(t)); copy.deepcopy(g).requires_grad
pickle.loads(pickle.dumps(g)).requires_grad; pickle.loads(pickle.dumps(f)).dtype
copy.deepcopy(g * 2); pickle.loads(pickle.dumps(t.T)); pickle.loads(pickle.dumps(m.nn.Parameter(t)))
(lambda x: x[0] is x[1])(copy.deepcopy([t, t])); pickle.loads(pickle.dumps(m.float32)) is m.float32
pickle.loads(pickle.dumps(t.shape)); type(copy.deepcopy(m.nn.Parameter(t))).__name__
"""


def outcome(package, expression):
    names = {
        "np": np, "copy": copy, "pickle": pickle, "m": package, "a": ARRAY.copy(),
        "t": package.tensor(ARRAY), "g": package.tensor(ARRAY, requires_grad=True),
        "i": package.tensor([0, 1]), "b": package.tensor([True, False]),
        "h": package.tensor(ARRAY).half(), "f": package.tensor(ARRAY).to(package.bfloat16),
        "c": package.tensor(ARRAY) * 1j,
    }  # fmt: skip
    try:
        found = eval(expression, names)
    except Exception as error:
        return type(error).__name__
    kind = type(found).__name__
    if isinstance(found, memoryview):
        found = np.asarray(found)
    if isinstance(found, (package.Tensor, np.ndarray, np.generic)):
        return kind, str(found.dtype), tuple(found.shape), found.tolist()
    if isinstance(found, (tuple, list)):
        return kind, [getattr(v, "tolist", lambda v=v: v)() for v in found]
    return kind, str(found)


EXPRESSIONS = [e.strip() for e in BESIDE_TORCH.replace("\n", ";").split(";") if e.strip()]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.filterwarnings("ignore")
def test_as_torchs_tensors(expression):
    assert outcome(cupola, expression) == outcome(torch, expression)


def test_what_torchs_tensors_refuse():
    """Operators with an array on the left, and NumPy's functions that ask for a method."""
    t = cupola.tensor(ARRAY)
    for found, expected in (
        (ARRAY * t, ARRAY * ARRAY), (ARRAY + t, 2 * ARRAY), (ARRAY - t, 0 * ARRAY),
        (ARRAY**t, ARRAY**ARRAY), (ARRAY @ t.T, ARRAY @ ARRAY.T), (np.mean(t), ARRAY.mean()),
        (np.sum(t, axis=0), ARRAY.sum(0)), (np.max(t), ARRAY.max()),
    ):  # fmt: skip
        assert isinstance(found, cupola.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_copies_that_numpy_asks_for():
    t = cupola.tensor(ARRAY)
    assert np.shares_memory(np.asarray(t), np.asarray(t, copy=False))
    assert not np.shares_memory(np.asarray(t), np.asarray(t, copy=True))
    with pytest.raises(ValueError, match="copy"):
        np.asarray(t, dtype=np.float64, copy=False)
    given = np.zeros(3, np.float32)
    shared = cupola.from_numpy(given)
    np.asarray(shared)[0] = 5
    assert shared[0].item() == 5 == given[0]


def test_values_that_numpy_has_no_dtype_for():
    with pytest.raises(TypeError, match="BFloat16"):
        np.asarray(cupola.ones(2, dtype=cupola.bfloat16))


@pytest.mark.parametrize("dtype", [d for d in cupola.dtypes.ALL if "float8" not in d.name], ids=str)
def test_copies_of_every_dtype(dtype):
    if dtype.name == "complex32":
        pytest.skip("there is no arithmetic of complex32")
    t = cupola.tensor([[0, 1, 3]]).to(dtype)
    for again in (pickle.loads(pickle.dumps(t)), copy.deepcopy(t), copy.copy(t), t.clone()):
        assert again.dtype is dtype and again.tolist() == t.tolist() and again is not t
    assert type(
        pickle.loads(pickle.dumps(t.__array_namespace__().asarray(t, copy=True)))
    ).__name__ == ("Array")


def test_a_deep_copy_keeps_gradients_and_attributes():
    for package in (cupola, torch):
        t = package.tensor([1.0, 2.0], requires_grad=True)
        (t * t).sum().backward()
        t.tag = ["kept"]
        again = copy.deepcopy(t)
        assert again.grad.tolist() == [2.0, 4.0] and again.grad is not t.grad
        assert again.tag == ["kept"] and again.tag is not t.tag and again.is_leaf
