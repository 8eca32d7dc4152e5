"""Named results print as PyTorch's, and are pickled."""

import pickle

import pytest

import cupola

torch = pytest.importorskip("torch")

CALLS = {
    "svd": lambda m, a: [m.linalg.svd(a), m.svd(a)],
    "qr": lambda m, a: [m.linalg.qr(a), m.qr(a)],
    "eigen": lambda m, a: [m.linalg.eigh(a), m.linalg.eig(a)],
    "determinant": lambda m, a: [m.linalg.slogdet(a)],
    "lu": lambda m, a: [m.linalg.lu(a), m.linalg.lu_factor(a), m.linalg.lu_factor_ex(a)],
    "checked": lambda m, a: [m.linalg.cholesky_ex(a), m.linalg.inv_ex(a)],
    "packed": lambda m, a: [m.linalg.ldl_factor(a), m.linalg.ldl_factor_ex(a), m.geqrf(a)],
    "elements": lambda m, a: [m.frexp(a), m.aminmax(a), m.histogram(a, 3)],
    "indices": lambda m, a: [a.max(0), a.median(0), a.kthvalue(1), a.cummax(0), m.sort(a)],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_they_print(name):
    got, want = (CALLS[name](m, m.tensor([[4.0, 1.0], [1.0, 3.0]])) for m in (cupola, torch))
    assert [repr(x) for x in got] == [repr(x) for x in want]
    for x in got:
        again = pickle.loads(pickle.dumps(x))
        assert type(again) is type(x) and repr(again) == repr(x)
