"""opt_einsum on cupola's tensors, beside NumPy's arrays."""

import subprocess
import sys

import numpy as np
import pytest

import cupola

oe = pytest.importorskip("opt_einsum")

SIZES = dict(zip("abcdefghij", (2, 3, 4, 5, 2, 3, 4, 2, 3, 2), strict=True))
EQUATIONS = [
    "ab,bc,cd->ad", "ab,ab->ab", "abc,bcd,de,ea->", "ea,fb,abcd,gc,hd->efgh", "ab,cd->abcd",
    "aab,b->a", "abc->cab", "ab->b", "a,a->", "...a,...a->...", "bca,cdb,dbf,afc->", "ab,b,bc",
    "abc,bac->bc", "dba,ddfbb,fcbb,aa->dbc",
]  # fmt: skip


def operands(equation):
    draw = np.random.default_rng(len(equation))
    inputs = equation.split("->")[0].replace("...", "ij").split(",")
    return [draw.normal(size=[SIZES[c] for c in term]) for term in inputs]


def close(mine, expected):
    assert isinstance(mine, cupola.Tensor)
    np.testing.assert_allclose(mine.detach().numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("optimize", ["auto", "greedy", "optimal"])
def test_contract(equation, optimize):
    given = operands(equation)
    expected = np.einsum(equation, *given)
    close(oe.contract(equation, *map(cupola.tensor, given), optimize=optimize), expected)


def test_paths():
    equation = "ea,fb,abcd,gc,hd->efgh"
    given = [cupola.tensor(a) for a in operands(equation)]
    path, info = oe.contract_path(equation, *given)
    assert path == oe.contract_path(equation, *operands(equation))[0]
    assert info.opt_cost < info.naive_cost
    close(oe.contract(equation, *given, optimize=path), np.einsum(equation, *operands(equation)))


def test_contract_with_lists_of_labels():
    a, b = operands("ab,bc->ac")
    close(oe.contract(cupola.tensor(a), [0, 1], cupola.tensor(b), [1, 2], [0, 2]), a @ b)


def test_gradients_pass():
    equation = "ab,bc,cd->ad"
    leaves = [cupola.tensor(a, requires_grad=True) for a in operands(equation)]
    again = [cupola.tensor(a, requires_grad=True) for a in operands(equation)]
    oe.contract(equation, *leaves).square().sum().backward()
    cupola.einsum(equation, *again).square().sum().backward()
    for x, y in zip(leaves, again, strict=True):
        close(x.grad, y.grad.numpy())


@pytest.mark.parametrize("equation", EQUATIONS)
def test_expressions(equation):
    given = operands(equation)
    expression = oe.contract_expression(equation, *[a.shape for a in given])
    close(expression(*map(cupola.tensor, given)), np.einsum(equation, *given))


def test_expressions_with_constants():
    equation = "ab,bc,cd->ad"
    a, b, c = operands(equation)
    for constants in ([a, b], [cupola.tensor(a), cupola.tensor(b)]):
        expression = oe.contract_expression(equation, *constants, c.shape, constants=[0, 1])
        close(expression(cupola.tensor(c), backend="cupola"), a @ b @ c)
    with_arrays = oe.contract_expression(equation, a, b, c.shape, constants=[0, 1])
    np.testing.assert_allclose(with_arrays(c, backend="cupola"), a @ b @ c)


def test_arrays_with_tensors_inside():
    """NumPy's arrays in, computed by cupola, NumPy's arrays out."""
    equation = "ab,bc,cd->ad"
    given = operands(equation)
    expression = oe.contract_expression(equation, *[a.shape for a in given])
    out = expression(*given, backend="cupola")
    assert type(out) is np.ndarray
    np.testing.assert_allclose(out, np.einsum(equation, *given))


def test_intermediates_are_shared():
    equation = "ab,bc,cd->ad"
    a, b, c = map(cupola.tensor, operands(equation))
    with oe.shared_intermediates() as cache:
        first = oe.contract(equation, a, b, c)
        made = len(cache)
        second = oe.contract(equation, a, b, c)
        assert made > 0 and len(cache) == made
    close(second, first.numpy())


def test_more_labels_than_letters():
    labels = [oe.get_symbol(k) for k in range(60)]
    given = [np.full((1, 1), k + 1.0) for k in range(5)]
    equation = ",".join("".join(labels[-k - 2 : len(labels) - k]) for k in range(5)) + "->"
    close(oe.contract(equation, *map(cupola.tensor, given)), 120.0)


def test_neither_package_is_imported_by_cupola():
    code = "import cupola, sys; print([m for m in ('einops', 'opt_einsum', 'sklearn', 'matplotlib')"
    code += " if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("backend", ["auto", "cupola", "torch"])
def test_without_torch(backend):
    """opt_einsum's own adapter to torch is answered where torch is not loaded."""
    code = (
        "import cupola, opt_einsum as oe, sys; x = cupola.ones(2, 3, dtype=cupola.float64);"
        f"out = oe.contract('ab,cb,cd->ad', x, x, x, backend={backend!r});"
        "print(type(out).__name__, out.sum().item(), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.split() == ["Tensor", "36.0", "False"], out.stderr
