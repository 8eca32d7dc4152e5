"""Operators that programs define under a name of their own (torch.library)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def sides():
    import cupola
    import cupola.library

    return (torch, torch.ops), (cupola, cupola.library.ops)


def define_scaled(m, name):
    @m.library.custom_op(f"cupola_test::{name}", mutates_args=())
    def scaled(x: m.Tensor, factor: float) -> m.Tensor:
        return m.from_numpy(x.detach().numpy() * factor)

    @scaled.register_fake
    def _(x, factor):
        return m.empty_like(x)

    def keep(ctx, inputs, output):
        ctx.factor = inputs[1]

    scaled.register_autograd(lambda ctx, g: (g * ctx.factor, None), setup_context=keep)
    return scaled


# torch's `custom_op` reads annotations, which must be the classes themselves.
def test_an_operator_with_a_gradient():
    found = []
    for m, ops in sides():
        define_scaled(m, "scaled")
        x = m.arange(3.0, requires_grad=True)
        y = ops.cupola_test.scaled(x, 2.5)
        (y * y).sum().backward()
        found.append((y.detach().numpy(), x.grad.numpy()))
        np.testing.assert_array_equal(ops.cupola_test.scaled.default(x, 2.5).detach(), found[-1][0])
    np.testing.assert_array_equal(found[0], found[1])


def test_a_library():
    for m, ops in sides():
        lib = m.library.Library("cupola_lib", "DEF")
        lib.define("plus_one(Tensor x) -> Tensor")
        lib.impl("plus_one", lambda x: x + 1, "CPU")
        assert ops.cupola_lib.plus_one(m.ones(2)).tolist() == [2.0, 2.0]
        assert not hasattr(ops.cupola_lib, "nothing_of_this_name")
        with pytest.raises(OSError):
            ops.load_library("no_such_library.so")


def test_pytorchs_own_operators():
    for m, ops in sides():
        assert ops.aten.relu(m.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_bad_definitions():
    import cupola

    with pytest.raises(ValueError, match="namespace::name"):
        cupola.library.custom_op("no_namespace", lambda x: x)
    cupola.library.define("cupola_test::empty", "(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="no kernel for cpu"):
        cupola.library.ops.cupola_test.empty(cupola.ones(1))
