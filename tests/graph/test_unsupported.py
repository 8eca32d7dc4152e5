"""Names that are not supported import and pass isinstance as False; calling them is the error."""

import importlib
import sys
import types

import pytest
import torch

import cupola


def test_calling_says_what_and_why():
    with pytest.raises(cupola.UnsupportedError, match="cupola.sparse_coo_tensor is not supported"):
        cupola.sparse_coo_tensor([[0]], [1.0])
    with pytest.raises(NotImplementedError, match="PyTorch's own format"):
        cupola.export.export(None)


@pytest.mark.parametrize(
    "name", ["cupola.export", "cupola.onnx", "cupola._C", "cupola.ao.quantization"]
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


def test_a_module_that_calls_one_in_its_body_still_imports():
    """Decorators and constants of a module must not keep the rest of it from being imported."""
    module = types.ModuleType("somebody")
    text = """
import cupola
plan = cupola.distributed.tensor.Replicate()

class A:
    @cupola._dynamo.optimize
    def f(self): return 1

def g(): return cupola.distributed.tensor.Replicate()
"""
    exec(text, vars(module))
    for use in (module.g, module.plan, module.A().f):
        with pytest.raises(cupola.UnsupportedError):
            use()


def test_names_of_torchs_modules_import():
    from cupola.nn.modules.activation import ReLU
    from cupola.serialization import DEFAULT_PROTOCOL  # noqa: F401
    from cupola.utils.data._utils.collate import default_collate

    assert ReLU is cupola.nn.ReLU
    assert default_collate is cupola.utils.data.default_collate
    assert not hasattr(cupola.serialization, "no_such_name")
    with pytest.raises(ImportError):
        from cupola.nn.modules.activation import NoSuchLayer  # noqa: F401


def test_devices_that_are_not_there():
    assert not cupola.xpu.is_available() and cupola.mps.device_count() == 0
    assert cupola.cpu.is_available()


def test_objects_that_torch_has_as_modules_import_as_they_are():
    settings = cupola.backends.cudnn
    import cupola.backends.cudnn as cudnn

    assert cudnn is settings is cupola.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = True
    assert cupola.backends.cudnn.benchmark
    cudnn.benchmark = before


def test_hints_to_what_is_not_there():
    """Registering something with the compiler or the exporter, or asking them, changes nothing."""
    from cupola.jit.annotations import BroadcastingList2

    @cupola._dynamo.disable
    def f():
        return 1

    @cupola._dynamo.disable(recursive=False)
    def g():
        return 2

    assert (f(), g()) == (1, 2)
    cupola.onnx.register_custom_op_symbolic("a::b", f, 11)
    assert not cupola.onnx.is_in_onnx_export() and not cupola._dynamo.is_compiling()
    assert BroadcastingList2[int] is not None


def _torch_modules_with_a_list():
    """Public modules that come with torch itself."""
    names = sorted(n for n in sys.modules if n.startswith(f"{torch.__name__}.") and "._" not in n)
    return [n for n in names if isinstance(getattr(sys.modules[n], "__all__", None), list)]


@pytest.mark.parametrize("name", _torch_modules_with_a_list())
def test_modules_say_what_a_star_imports(name):
    """A star imports the names that torch lists, as far as they are there, not our own imports."""
    try:
        ours = importlib.import_module(name.replace("torch", "cupola", 1))
    except ImportError:
        pytest.skip("cupola has no such module")
    if getattr(ours, "__file__", None) is None:
        return  # it answers for the names of a module that is not there
    listed = set(sys.modules[name].__all__)
    assert listed & vars(ours).keys() <= set(ours.__all__)
