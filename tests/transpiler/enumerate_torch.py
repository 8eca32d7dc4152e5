"""The public names of an installed torch and torchvision.

`python tests/transpiler/enumerate_torch.py` writes them to tables/names/, from which the
converter's table is made; with `--print` it prints them as JSON.
"""

import contextlib
import importlib
import json
import subprocess
import sys
import textwrap
import types
import warnings
from pathlib import Path
from typing import TypeVar

TABLES = Path(__file__).parents[2] / "transpiler" / "cupola_transpiler" / "tables"
NAMESPACES = """
torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.parameter torch.nn.utils
torch.nn.utils.rnn torch.nn.utils.parametrize torch.nn.utils.parametrizations torch.nn.utils.prune
torch.nn.utils.stateless torch.nn.attention torch.nn.modules torch.nn.parallel torch.linalg
torch.fft torch.special torch.func torch.optim torch.optim.lr_scheduler torch.optim.swa_utils
torch.optim.optimizer torch.utils torch.utils.data torch.utils.data.distributed
torch.utils.data.datapipes torch.utils.data.datapipes.iter torch.utils.data.datapipes.map
torch.utils.checkpoint torch.utils.cpp_extension torch.utils.dlpack torch.utils.hooks
torch.utils.model_zoo torch.autograd torch.autograd.function torch.autograd.functional
torch.autograd.forward_ad torch.autograd.graph torch.autograd.profiler torch.amp torch.cuda
torch.cuda.amp torch.cuda.random torch.cuda.memory torch.cuda.nvtx torch.cpu torch.backends
torch.backends.cuda torch.backends.cudnn torch.backends.mps torch.backends.mkl
torch.backends.mkldnn torch.backends.openmp torch.distributed torch.distributions
torch.distributions.constraints torch.distributions.kl torch.distributions.transforms
torch.distributions.utils torch.random torch.jit torch.compiler torch.export torch.onnx
torch.profiler torch.serialization torch.version torch.hub torch.sparse torch.testing torch.types
torch.storage torch.overrides torch.library torch.return_types torch.signal torch.signal.windows
torch.masked torch.nested torch.futures torch.multiprocessing torch.mps torch.xpu
torch.accelerator torch.torch_version torch.fx torch.fx.node torch.fx.proxy torch.fx.graph
torch.fx.graph_module torch.fx.interpreter torch.fx.subgraph_rewriter
""".split()
VISION = """
torchvision torchvision.models torchvision.ops torchvision.ops.boxes torchvision.ops.misc
torchvision.transforms torchvision.transforms.functional torchvision.transforms.v2
torchvision.transforms.v2.functional torchvision.datasets torchvision.io torchvision.utils
torchvision.models.detection torchvision.models.segmentation torchvision.models.feature_extraction
torchvision.tv_tensors
""".split()


# Modules that torch and torchvision import only when something asks for them.
LATE = """
torch.nn.modules.linear_cross_entropy torch.utils.cpp_extension torch.utils.file_baton
torch.utils.flop_counter torch.utils.module_tracker torch.utils.serialization
torch.utils.tensorboard torch.backends.xnnpack torchvision.transforms.v2 torchvision.tv_tensors
""".split()


def import_late() -> None:
    """Imports what they leave for later, where it can be imported."""
    for name in LATE:
        with contextlib.suppress(ImportError, RuntimeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)


def import_torchvision() -> bool:
    """Makes torchvision importable beside a CPU build of torch, if it can."""
    sys.path.append(str(Path(__file__).parents[1]))
    harness = importlib.import_module("harness")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return harness.import_torchvision() is not None


def resolve(dotted: str) -> object:
    """The module or class of a dotted name."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        head, _, last = dotted.rpartition(".")
        return getattr(resolve(head), last)


def public_names(dotted: str) -> set[str]:
    """The public names of a namespace: `__all__` or what lives in it, and its submodules."""
    import_late()
    home = resolve(dotted)
    if isinstance(home, type):
        return {n for n in dir(home) if not n.startswith("_")}
    names = {n for n in getattr(home, "__all__", ()) if not n.startswith("_")}
    listed = bool(names) and dotted not in ("torch", "torch.nn", "torchvision.models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in dir(home):
            if not name.startswith("_") and _lives_in(getattr(home, name), name, dotted, listed):
                names.add(name)
    return names


def _lives_in(value: object, name: str, dotted: str, listed: bool) -> bool:
    """Whether a value is a public part of a namespace rather than something that it imported."""
    if isinstance(value, types.ModuleType):
        return value.__name__ == f"{dotted}.{name}"
    if listed or isinstance(value, TypeVar):
        return False
    module = str(getattr(value, "__module__", None) or type(value).__module__)
    return module.startswith((dotted, "torch._C", "torch.return_types")) or (
        dotted == "torch" and module.split(".")[0] == "torch"
    )


def namespaces() -> list[str]:
    """The namespaces that can be enumerated here; torchvision's only where it is installed."""
    return NAMESPACES + (VISION if import_torchvision() else [])


def enumerated() -> dict[str, list[str]]:
    """The sorted public names by namespace, as a process of its own finds them.

    What a process has imported before shows in torch's namespaces, so that only a fresh one always
    finds the same.
    """
    command = [sys.executable, __file__, "--print"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def write_lists(names: dict[str, list[str]]) -> None:
    """Writes tables/names/ again."""
    (TABLES / "names").mkdir(exist_ok=True)
    for dotted, listed in names.items():
        text = " ".join(listed)
        text = textwrap.fill(text, 98, break_long_words=False, break_on_hyphens=False)
        (TABLES / "names" / f"{dotted}.txt").write_text(text + "\n")


if __name__ == "__main__":
    found = {home: sorted(public_names(home)) for home in namespaces()}
    if "--print" in sys.argv:
        print(json.dumps(found))
    else:
        write_lists(found)
