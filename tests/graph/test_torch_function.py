"""``__torch_function__``: the same small programs take over the same operators on both sides."""

from __future__ import annotations

import functools
import inspect
import operator
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import cupola
import cupola.overrides

SIDES = (torch, cupola)


def both(program):
    """What a program of the library gives on each side: plain values only."""
    theirs, ours = (program(lib) for lib in SIDES)
    assert ours == theirs


def logging_class(lib, keep=True):
    class Logged(lib.Tensor):
        log: list[str] = []  # noqa: RUF012

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            name = lib.overrides.resolve_name(func) or func.__name__
            name = name.replace("torch.functional.", "torch.")
            cls.log.append(name.removeprefix("torch.autograd."))
            if keep:
                return super().__torch_function__(func, types, args, kwargs or {})
            with lib._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))

    return Logged


BINARY = "add sub mul truediv floordiv mod pow lt le eq ne gt ge".split()
CALLS = {}
for _name in BINARY:
    _f = getattr(operator, _name)
    CALLS[_name] = lambda lib, x, f=_f: f(x, x)
    CALLS[f"{_name} number"] = lambda lib, x, f=_f: f(x, 2)
    CALLS[f"number {_name}"] = lambda lib, x, f=_f: f(2, x)
    CALLS[f"tensor {_name}"] = lambda lib, x, f=_f: f(lib.ones(2, 2), x)
for _name in BINARY[:7]:
    _f = getattr(operator, f"i{_name}")
    CALLS[f"in place {_name}"] = lambda lib, x, f=_f: f(x, 2)
CALLS |= {
    "matmul": lambda lib, x: x @ x,
    "negative": lambda lib, x: -x,
    "modulus": lambda lib, x: abs(x),
    "index": lambda lib, x: x[0],
    "length": lambda lib, x: len(x),
    "iterate": lambda lib, x: len(list(x)),
    "method": lambda lib, x: x.add(1),
    "method in place": lambda lib, x: x.add_(1),
    "function": lambda lib, x: lib.add(x, 1),
    "list": lambda lib, x: lib.cat([lib.ones(2, 2), x]),
    "keyword": lambda lib, x: lib.add(input=lib.ones(2, 2), other=x),
    "shape": lambda lib, x: tuple(x.shape),
    "dim": lambda lib, x: x.dim(),
    "numel": lambda lib, x: x.numel(),
    "dtype": lambda lib, x: str(x.dtype),
    "transposed": lambda lib, x: x.T,
    "real": lambda lib, x: x.real,
    "requires_grad": lambda lib, x: x.requires_grad,
    "set requires_grad": lambda lib, x: setattr(x, "requires_grad", True),
    "grad": lambda lib, x: x.grad,
    "numpy": lambda lib, x: x.numpy().tolist(),
    "tolist": lambda lib, x: x.tolist(),
    "several": lambda lib, x: lib.max(x, 0)[1],
    "split": lambda lib, x: x.split(1)[0],
    "relu": lambda lib, x: lib.relu(x),
    "F.relu": lambda lib, x: lib.nn.functional.relu(x),
    "softmax": lambda lib, x: lib.softmax(x, 0),
    "F.softmax": lambda lib, x: lib.nn.functional.softmax(x, 0),
    "linear": lambda lib, x: lib.nn.functional.linear(x, lib.ones(2, 2)),
    "layer": lambda lib, x: lib.nn.LayerNorm(2)(x),
    "loss": lambda lib, x: lib.nn.CrossEntropyLoss()(x, lib.tensor([0, 1])),
    "norm": lambda lib, x: lib.linalg.norm(x),
    "fft": lambda lib, x: lib.fft.fft(x).real,
    "where": lambda lib, x: lib.where(x > 1, x, x),
    "zeros_like": lambda lib, x: lib.zeros_like(x),
    "new_zeros": lambda lib, x: x.new_zeros(2),
    "as_tensor": lambda lib, x: lib.as_tensor(x),
    "is_tensor": lambda lib, x: lib.is_tensor(x),
    "einsum": lambda lib, x: lib.einsum("ij,jk->ik", x, x),
    "detach": lambda lib, x: x.detach(),
    "clone": lambda lib, x: x.clone(),
    "to": lambda lib, x: x.to(lib.float64),
    "backward": lambda lib, x: (x.requires_grad_() * 2).sum().backward(),
    "grad of": lambda lib, x: lib.autograd.grad((x.requires_grad_() * 2).sum(), x)[0].tolist(),
    "plain": lambda lib, x: x.as_subclass(lib.Tensor),
}  # fmt: skip


def described(lib, result):
    if isinstance(result, lib.Tensor):
        values = result.detach().as_subclass(lib.Tensor).numpy()
        return type(result).__name__, np.round(np.asarray(values, float), 5).tolist()
    return result


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", CALLS)
def test_same_functions_are_reported(name, keep):
    def program(lib):
        kind = logging_class(lib, keep)
        x = lib.tensor([[1.0, 2.0], [3.0, 4.0]]).as_subclass(kind)
        kind.log.clear()
        result = CALLS[name](lib, x)
        log = list(kind.log)
        return log, described(lib, result)

    both(program)


def test_a_plain_subclass_gives_itself():
    def program(lib):
        class Mine(lib.Tensor):
            pass

        class More(Mine):
            pass

        class Other(lib.Tensor):
            pass

        x, y = lib.ones(2).as_subclass(Mine), lib.ones(2).as_subclass(More)
        found = [type(x + y), type(y + x), type(lib.add(1, x)), type(lib.ones(2) * x)]
        found += [type(part) for part in lib.split(x, 1)]
        found += [type(lib.nn.Parameter(lib.ones(2)) + x), type(x.sum())]
        own = lib.nn.Parameter(x)
        assert isinstance(own, lib.nn.Parameter) and own.requires_grad
        found.append(type(own))
        with pytest.raises(TypeError):
            lib.add(x, lib.ones(2).as_subclass(Other))
        return [kind.__name__ for kind in found]

    both(program)


def test_units():
    """A tensor that carries a unit, with a table of overrides made before the class."""

    def program(lib):
        handled = {}

        def implements(*functions):
            return lambda f: [handled.__setitem__(function, f) for function in functions] and f

        @implements(lib.add, lib.Tensor.add)
        def add(a, b):
            assert a.unit == b.unit, "units differ"
            return Quantity(lib.add(a.value, b.value), a.unit)

        @implements(lib.mul, lib.Tensor.mul)
        def mul(a, b):
            unit = "*".join(x.unit for x in (a, b) if isinstance(x, Quantity))
            return Quantity(lib.mul(*(getattr(x, "value", x) for x in (a, b))), unit)

        @implements(lib.mean)
        def mean(x, dim=None):
            return Quantity(lib.mean(x.value, dim), x.unit)

        @implements(lib.nn.functional.mse_loss)
        def mse_loss(a, b, **options):
            return Quantity(lib.nn.functional.mse_loss(a.value, b.value, **options), a.unit + "^2")

        class Quantity:
            def __init__(self, value, unit):
                self.value, self.unit = lib.as_tensor(value), unit

            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                if func not in handled:
                    return NotImplemented
                return handled[func](*args, **(kwargs or {}))

            def __add__(self, other):
                return lib.add(self, other)

            def said(self):
                return self.value.tolist(), self.unit

        a, b = Quantity([1.0, 2.0], "m"), Quantity([3.0, 5.0], "m")
        found = [lib.add(a, b), a + b, lib.mul(a, b), lib.mul(a, 2), lib.mean(a, dim=0)]
        found += [lib.ones(2) * a, lib.ones(2).mul(a)]
        found += [lib.nn.functional.mse_loss(a, b, reduction="sum")]
        for call in (lambda: lib.exp(a), lambda: lib.ones(2) - a, lambda: lib.cat([a, b])):
            with pytest.raises(TypeError):
                call()
        return [x.said() for x in found]

    both(program)


def test_arguments_are_told_as_torch_tells_them():
    def program(lib):
        class Told:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return func.__name__, len(args), sorted((kwargs or {}).items())

        x, f = Told(), lib.nn.functional
        return (
            lib.einsum("i,i", (x, x)),
            lib.einsum("i,i", x, x),
            f.relu(x),
            f.dropout(x, 0.2, training=False),
            f.layer_norm(x, (3,)),
            f.interpolate(x, scale_factor=2),
            f.max_pool2d(x, 2),
            f.conv2d(x, x, padding=1),
            lib.softmax(x, -1),
        )

    both(program)


def test_metadata_goes_along():
    def program(lib):
        class Named(lib.Tensor):
            @staticmethod
            def __new__(cls, data, name, *args, **kwargs):
                return super().__new__(cls, data, *args, **kwargs)

            def __init__(self, data, name):
                self.name_given = name

            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                names = [x.name_given for x in args if hasattr(x, "name_given")]
                result = super().__torch_function__(func, types, args, kwargs)
                if isinstance(result, cls):
                    result.name_given = "+".join(names)
                return result

        a, b = Named([1.0, 2.0], "a"), Named([3.0, 4.0], "b")
        c = lib.nn.functional.relu(a * b)
        return c.name_given, type(c).__name__, c.tolist(), (a + 1).name_given, repr(c)

    both(program)


def test_modes():
    def program(lib):
        class Log(lib.overrides.TorchFunctionMode):
            def __init__(self, name):
                super().__init__()
                self.name = name

            def __torch_function__(self, func, types, args=(), kwargs=None):
                seen.append((self.name, func.__name__))
                return func(*args, **(kwargs or {}))

        class Twice(lib.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                result = func(*args, **(kwargs or {}))
                return result * 2 if func is lib.add else result

        seen = []
        with Log("outer"):
            x = lib.ones(2)
            with Log("inner"):
                y = lib.nn.functional.relu(x)
                z = x.add(y)
            with lib._C.DisableTorchFunction():
                lib.add(x, y)
        with Twice():
            twice = lib.add(x, y)
        return seen, z.tolist(), twice.tolist(), (x + y).tolist()

    both(program)


def test_functions_that_can_be_taken_over():
    def program(lib):
        overrides = lib.overrides

        class Other:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return func.__name__, len(args), kwargs

        def own(x, y=1):
            if overrides.has_torch_function((x,)):
                return overrides.handle_torch_function(own, (x,), x, y=y)
            return x

        @overrides.wrap_torch_function(lambda x: (x,))
        def wrapped(x):
            return x

        functions = overrides.get_overridable_functions()
        return (
            own(Other(), y=3),
            own(5),
            wrapped(Other()),
            overrides.is_tensor_like(Other()),
            overrides.is_tensor_like(1),
            overrides.is_tensor_method_or_property(lib.Tensor.add),
            overrides.is_tensor_method_or_property(lib.Tensor.shape.__get__),
            overrides.is_tensor_method_or_property(lib.add),
            overrides.resolve_name(lib.Tensor.add_),
            overrides.resolve_name(lib.linalg.norm),
            lib.add in functions[lib],
            lib.Tensor.add in functions[lib.Tensor],
            lib.nn.functional.relu in functions[lib.nn.functional],
        )

    both(program)


def test_parameters_take_over_nothing():
    def program(lib):
        p = lib.nn.Parameter(lib.ones(2))
        return (
            type(p + 1) is lib.Tensor,
            lib.overrides.has_torch_function((p,)),
            type(p * p).__name__,
        )

    both(program)


def test_gradients_pass_through_a_subclass():
    def program(lib):
        class Mine(lib.Tensor):
            pass

        x = lib.tensor([1.0, -2.0, 3.0]).requires_grad_()
        y = lib.nn.functional.gelu(x.as_subclass(Mine) * 3).sum()
        y.backward()
        return type(y).__name__, type(x.grad) is lib.Tensor, np.round(x.grad.numpy(), 5).tolist()

    both(program)


# Before a class asks for it nothing may be exchanged, and what fails at an object that takes over
# operators has to notice it: a process of its own, for the tests above have switched it on.
FIRST = """
import {lib} as torch
class Other:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__
add, code = torch.add, torch.add.__code__ if {ours} else None
class Child(torch.nn.Parameter):
    pass
child = Child(torch.ones(2)) + 1
assert code is None or torch.add.__code__ is code
print({call}, add(Other(), 1), torch.Tensor.mul(torch.ones(2), Other()))
"""
FIRST_CALLS = (
    "torch.add(Other(), 1)", "torch.mean(Other())", "torch.matmul(Other(), Other())",
    "torch.ones(2) + Other()", "torch.cat([Other()])", "torch.exp(input=Other())",
    "torch.nn.functional.softmax(Other(), 0)", "torch.nn.functional.conv2d(Other(), Other())",
)  # fmt: skip


@pytest.mark.parametrize("call", FIRST_CALLS)
def test_the_first_that_takes_over(call):
    def program(lib):
        text = FIRST.format(lib=lib.__name__, call=call, ours=lib is cupola)
        run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
        done = run([sys.executable, "-W", "ignore", "-c", text])
        return done.stdout + done.stderr

    both(program)


def test_functions_and_methods_can_be_pickled():
    names = "add mul relu softmax matmul cat max reshape exp sum mean transpose linalg.norm".split()
    names += ["nn.functional.relu", "nn.functional.softmax", "nn.functional.conv2d"]
    names += [f"Tensor.{name}" for name in ("add", "add_", "numel", "relu", "__add__", "view")]
    for name in names:
        function = operator.attrgetter(name)(cupola)
        assert pickle.loads(pickle.dumps(function)) is function, name


def test_signatures_stay():
    class Mine(cupola.Tensor):
        pass

    for name in ("relu", "softmax", "layer_norm"):
        got = inspect.signature(getattr(cupola.nn.functional, name)).parameters
        assert next(iter(got)) == "input" and "args" not in got


def test_lines_of_the_program_are_found_behind_what_is_taken_over():
    from cupola import profiler
    from cupola.tensor import protocol

    protocol.switch_on()
    with profiler.profile() as found:
        (cupola.ones(3, 4) + cupola.rand(3, 4)).exp().sum(1).numpy()
    places = [e.place for e in found.events() if e.kind == "kernel"]
    assert places and all(place.startswith(__file__) for place in places)
