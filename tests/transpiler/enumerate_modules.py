"""The modules of an installed torch and torchvision and the names in them that are their own.

`python tests/transpiler/enumerate_modules.py` writes them to runtime/cupola/torch_names.txt and to
compat/cupola_compat/torchvision/torchvision_names.txt. What is not there is made importable by
them, so that an import succeeds exactly where it would with torch.
"""

import importlib
import pkgutil
import sys
import textwrap
import types
import typing
import warnings
from pathlib import Path

HOME = Path(__file__).parents[2]
LISTS = {
    "torch": HOME / "runtime" / "cupola" / "torch_names.txt",
    "torchvision": HOME / "compat" / "cupola_compat" / "torchvision" / "torchvision_names.txt",
}
# Trees whose every name is a placeholder (cupola/unsupported.py), and those that only test torch.
OPEN = (
    "torch._C torch._dynamo torch._inductor torch._export torch._refs torch._prims torch._decomp"
    " torch._functorch torch._higher_order_ops torch._subclasses torch._numpy torch._lazy"
    " torch.ao torch.export torch.fx torch.onnx torch.package torch.quantization torch.testing"
    " torch.nested torch.distributed.tensor torch.distributed.fsdp torch.distributed.checkpoint"
    " torch.distributed.pipelining torch.distributed.elastic torch.distributed.rpc"
    " torch.distributed._tensor torch.distributed._composable torch.distributed._shard"
    " torch.distributed._spmd torch.utils.benchmark torch.utils.tensorboard torch.utils.viz"
    " torch.utils._sympy torch.utils.bottleneck torch.utils.hipify torch.sparse._triton_ops"
    " torch.contrib torch.mtia torch.backends._nnapi torch.nativert torch.masked.maskedtensor"
    " torch.distributed.benchmarks torch.distributed.launcher torch.distributed.examples"
).split()


def is_open(name: str) -> bool:
    """Whether a module belongs to a tree that is not listed."""
    return any(name == top or name.startswith(top + ".") for top in OPEN)


def modules(root: str) -> list[str]:
    """Every module of a package that imports here, outside the open trees."""
    found, stack = [root], [importlib.import_module(root)]
    while stack:
        package = stack.pop()
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if is_open(info.name) or info.name.endswith("__main__"):
                continue
            try:
                module = importlib.import_module(info.name)
            except Exception:  # needs what is not installed here
                continue
            found.append(info.name)
            if info.ispkg and hasattr(module, "__path__"):
                stack.append(module)
    return sorted(found)


def homes(names: list[str]) -> dict[tuple[str, int], str]:
    """The shortest public module that shows a function or class, by its name there and identity."""
    found: dict[tuple[str, int], str] = {}
    for module in sorted(names, key=lambda name: (name.count("."), name)):
        if "._" in module:
            continue
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, type) or callable(value):
                found.setdefault((name, id(value)), module)
    return found


def own_names(root: str, name: str, public: dict[tuple[str, int], str]) -> list[str]:
    """Names of a module.

    A name that a shorter public module shows as well is followed by that module; what a module
    imports from the standard library, which programs import from it in turn, by `!` and its place
    (typing:Any for names of types); an exception by `^` and the builtin that it comes from.
    """
    home = vars(importlib.import_module(name))
    found = []
    for own_name in sorted(n for n in home if not n.startswith("__")):
        if not _is_own(root, home[own_name]):
            place = _standard(home[own_name]) or _alias(home[own_name])
            if place is not None:
                found.append(f"{own_name}=!{place}")
            continue
        shown = public.get((own_name, id(home[own_name])), name)
        longer = shown.count(".") < name.count(".") or "._" in name
        if shown != name and longer:
            found.append(f"{own_name}={shown}")
        else:
            found.append(own_name + _exception(home[own_name]))
    return found


def _exception(value: object) -> str:
    """`=^` and the builtin that an exception comes from; nothing for anything else."""
    if not isinstance(value, type) or not issubclass(value, BaseException):
        return ""
    return "=^" + next(c.__name__ for c in value.__mro__ if c.__module__ == "builtins")


def _alias(value: object) -> str | None:
    """What stands for a type that has only been given a name: annotations take anything."""
    if isinstance(value, typing.TypeVar):
        return "typing:TypeVar"
    known = isinstance(value, types.UnionType) or typing.get_origin(value) is not None
    return "typing:Any" if known else None


def _is_own(root: str, value: object) -> bool:
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] == root and not is_open(value.__name__)
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__module__", "")).split(".")[0] == root
    return type(value).__module__ not in ("__future__", "typing")


def _standard(value: object) -> str | None:
    """Where the standard library has a module, function or class; None for anything else."""
    if isinstance(value, types.ModuleType):
        place = value.__name__
        return place if place.split(".")[0] in sys.stdlib_module_names else None
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not name.isidentifier():
        return None
    if module.split(".")[0] not in sys.stdlib_module_names or module == "builtins":
        return None
    public = module.removeprefix("_") if module in ("_io", "_collections", "_thread") else module
    here = getattr(sys.modules.get(public), name, None)
    return f"{public}:{name}" if here is value else None


def write_list(root: str) -> None:
    """Writes the list of a package again."""
    lines = [f"# Modules of {root} and their names; `name=module` is the same thing as there."]
    lines.append("# Written by tests/transpiler/enumerate_modules.py.")
    names = modules(root)
    public = homes(names)
    for name in names:
        lines.append(name)
        text = " ".join(own_names(root, name, public))
        lines += textwrap.wrap(
            text, 98, initial_indent=" ", subsequent_indent=" ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    LISTS[root].write_text("\n".join(lines) + "\n")
    print(f"{root}: {len(lines):,} lines", file=sys.stderr)


if __name__ == "__main__":
    sys.path.append(str(HOME / "tests"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_list("torch")
        if importlib.import_module("harness").import_torchvision() is not None:
            write_list("torchvision")
