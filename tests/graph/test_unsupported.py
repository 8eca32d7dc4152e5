"""Names that are not supported import and pass isinstance as False; calling them is the error."""

import importlib

import pytest

import cupola


def test_calling_says_what_and_why():
    with pytest.raises(cupola.UnsupportedError, match="cupola.sparse_coo_tensor is not supported"):
        cupola.sparse_coo_tensor([[0]], [1.0])
    with pytest.raises(NotImplementedError, match="call the module itself"):
        cupola.fx.symbolic_trace(None)


@pytest.mark.parametrize(
    "name", ["cupola.fx", "cupola.onnx", "cupola._C", "cupola.ao.quantization"]
)
def test_modules_import(name):
    module = importlib.import_module(name)
    assert not isinstance(3, module.Anything)
    with pytest.raises(cupola.UnsupportedError):
        module.Anything()


def test_names_that_nobody_has_are_attribute_errors():
    assert not hasattr(cupola, "no_such_name")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cupola.no_such_module")
