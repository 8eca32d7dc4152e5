"""CUDA extensions in source text (torch.utils.cpp_extension.load_inline).

The kernels are compiled by NVRTC as they are. The C++ functions around them are not compiled but
read: creating tensors, asking for sizes, launching. What goes beyond that is refused when the
extension is loaded, with the place and what to use instead.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from typing import Any

from cupola import dtypes
from cupola.code import host
from cupola.code.text import SourceError, blanked, closing, split_arguments
from cupola.cuda.kernel import CompiledKernel
from cupola.errors import UnsupportedError
from cupola.functional import creation
from cupola.ir.device import device as Device
from cupola.unsupported import placeholder

_HOST = re.compile(
    r"(?:static\s+)?\b((?:std::(?:vector|tuple)<[^(){};]*>|(?:torch|at)::Tensor|void))\s+(\w+)\s*\("
)
_SKIPPED = re.compile(r"PYBIND11_MODULE\s*\([^)]*\)\s*\{|^[ \t]*#[ \t]*include[^\n]*", re.MULTILINE)
_KEPT_HEADERS = ("cuda_fp16", "cuda_bf16", "cub/", "cuda/", "curand", "mma.h", "cooperative")
_CREATORS = (
    "empty_like", "zeros_like", "ones_like", "full_like", "empty", "zeros", "ones", "full",
)  # fmt: skip
_METHODS = {
    "numel", "size", "dim", "ndimension", "contiguous", "clone", "detach", "options", "device",
    "scalar_type", "dtype", "sizes", "is_cuda", "is_contiguous", "zero_", "fill_", "item", "view",
    "reshape", "data_ptr", "data", "const_data_ptr", "mutable_data_ptr", "element_size", "stride",
    "layout", "get_device", "index", "type",
}  # fmt: skip
_CONSTANTS = {
    "kFloat": dtypes.float32, "kFloat32": dtypes.float32, "kDouble": dtypes.float64,
    "kFloat64": dtypes.float64, "kHalf": dtypes.float16, "kFloat16": dtypes.float16,
    "kBFloat16": dtypes.bfloat16, "kInt": dtypes.int32, "kInt32": dtypes.int32,
    "kLong": dtypes.int64, "kInt64": dtypes.int64, "kBool": dtypes.bool, "kByte": dtypes.uint8,
    "kUInt8": dtypes.uint8, "kCUDA": Device("cuda"), "kCPU": Device("cpu"),
}  # fmt: skip
_NAMES = {
    "float32": "float", "float64": "double", "float16": "__half", "bfloat16": "__nv_bfloat16",
    "int32": "int", "int64": "int64_t", "uint8": "uint8_t", "bool": "bool", "int16": "int16_t",
    "int8": "int8_t",
}  # fmt: skip


class _Options:
    """torch::TensorOptions."""

    def __init__(self, dtype: Any = None, device: Any = None) -> None:
        self.values = {"dtype": dtype, "device": device}

    def change(self, name: str, value: Any) -> _Options:
        if name in self.values:
            return _Options(**{**self.values, name: value})
        return self


def _method(x: Any, name: str, *args: Any) -> Any:
    """A method of torch::Tensor, or of its options."""
    if isinstance(x, _Options):
        return x.change(name, args[0] if args else None)
    if name in ("data_ptr", "data", "const_data_ptr", "mutable_data_ptr"):
        return x
    if name == "options":
        return _Options(x.dtype, x.device)
    if name in ("scalar_type", "dtype", "type"):
        return x.dtype
    if name == "sizes":
        return tuple(x.shape)
    if name in ("device", "is_cuda", "layout"):
        return getattr(x, name)
    return getattr(x, name)(*args)


def _created(name: str) -> Callable[..., Any]:
    function = getattr(creation, name)

    def make(*args: Any) -> Any:
        options: dict[str, Any] = {}
        plain = []
        for a in args:
            if isinstance(a, _Options):
                options = {k: v for k, v in a.values.items() if v is not None}
            elif isinstance(a, dtypes.dtype):
                options["dtype"] = a
            else:
                plain.append(a)
        return function(*plain, **options)

    return make


def _check(good: Any) -> None:
    if not good:
        raise RuntimeError("a TORCH_CHECK of the extension failed")


class _Translator(host.Translator):
    """Host functions of tensors."""

    any_stream = True

    def is_type(self, k: int = 0) -> bool:
        first = self.peek(k) if k else self.next
        tensor = first in ("torch", "at") and self.peek(k + 2) == "Tensor"
        return tensor or first == "Tensor" or super().is_type(k)

    def type(self) -> tuple[str, int]:
        while self.next == "const":
            self.take()
        if self.next in ("torch", "at", "Tensor"):
            while self.take() != "Tensor":
                pass
            while self.next in ("&", "const"):
                self.take()
            return "auto", 0
        return super().type()

    def skip(self, last: str = ";") -> None:
        while self.next and self.next != last:
            self.take()

    def statement(self, depth: int, step: str = "") -> None:
        token = self.next
        if token == "return":
            self.take()
            value = "None" if self.next == ";" else self.expression()
            self.take(";")
            self.emit(depth, f"return {value}")
        elif token == "TORCH_CHECK" or token.startswith("AT_ASSERT"):
            self.take()
            self.take("(")
            self.emit(depth, f"_check({self.expression()})")
            self.skip()
        elif token.startswith("AT_DISPATCH"):
            self.take()
            self.take("(")
            self.emit(depth, f"_scalar = {self.expression()}")
            self.skip("{")
            super().statement(depth)
            self.skip()
        elif token.isupper() and self.peek() == "(":  # a macro of checks
            self.skip()
        elif token in ("at", "c10", "const") and self._is_guard():
            self.skip()
        else:
            super().statement(depth, step)

    def _is_guard(self) -> bool:
        return any(self.peek(k).endswith("Guard") for k in range(1, 7))

    def postfix(self) -> str:
        if self.next == "{":
            listed = self.arguments()
            return f"({listed},)" if listed else "()"
        while self.next in ("torch", "at", "c10") and self.peek() == "::":
            self.at += 2
        if self.next in _CONSTANTS:
            return f"_constants[{self.take()!r}]"
        return super().postfix()

    def members(self, value: str) -> str:
        while self.next == ".":
            name = self.peek()
            if name in ("x", "y", "z") and self.peek(2) != "(":
                value = super().members(value)
                continue
            if name not in _METHODS:
                raise self.error(f"the method {name!r} of tensors is not understood")
            self.take()
            self.take()
            if self.next == "<":
                self.skip(">")
                self.take()
            listed = self.arguments()
            value = f"_method({value}, {name!r}{', ' + listed if listed else ''})"
        return value

    def call(self, name: str) -> str:
        if name in _CREATORS:
            return self.members(f"_created_{name}({self.arguments()})")
        if name == "TensorOptions":
            self.arguments()
            return self.members("_Options()")
        if name in ("getCurrentCUDAStream", "getDefaultCUDAStream"):
            self.arguments()
            return "None"
        return super().call(name)


def _functions(source: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """(text of the kernels, parameters and body of each host function)."""
    code = blanked(source)
    found: dict[str, tuple[str, str]] = {}
    cut: list[tuple[int, int]] = []
    for m in _HOST.finditer(code):
        before = code[max(0, code.rfind("\n", 0, m.start())) : m.start()]
        close = closing(code, m.end() - 1, 1)
        parameters = source[m.end() : close]
        brace = re.compile(r"\s*([{;])").match(code, close + 1)
        if "__global__" in before or brace is None or "__device__" in before:
            continue
        if m.group(1) == "void" and "Tensor" not in parameters:
            continue
        end = brace.end()
        if brace.group(1) == "{":
            end = closing(code, brace.end() - 1, 1) + 1
            found[m.group(2)] = (parameters, source[brace.end() - 1 : end])
        cut.append((m.start(), end))
    for m in _SKIPPED.finditer(code):
        if m.group().startswith("PYBIND"):
            cut.append((m.start(), closing(code, m.end() - 1, 1) + 1))
        elif not any(h in source[m.start() : m.end()] for h in _KEPT_HEADERS):
            cut.append((m.start(), m.end()))
    rest = list(source)
    for start, end in cut:
        rest[start:end] = re.sub(r"[^\n]", " ", source[start:end])
    return "".join(rest), found


def _function(
    name: str, parameters: str, body: str, kernels: str, dirs: Sequence[str], flags: Sequence[str]
) -> Callable[..., Any]:
    translator = _Translator(body, {"scalar_t": (8, False)})
    own = [re.sub(r"=.*", "", p) for p in split_arguments(parameters, blanked(parameters))]
    names = [re.findall(r"\w+", p)[-1] for p in own if p.strip()]
    translator.declared.update(dict.fromkeys(names, ("auto", 0)))
    text = translator.function()
    if translator.names:
        raise SourceError(f"{sorted(translator.names)[0]!r} is not declared", 1)
    arguments = ", ".join(f"v_{n}" for n in names)
    text = text.replace("_memcpy, ):", f"_memcpy, {arguments}):\n    _scalar = None", 1)
    text = re.sub(r"_launch\((\d+),", r"_launch(\1, _scalar,", text)
    made: dict[Any, CompiledKernel] = {}

    def launch(k: int, scalar: Any, grid: Any, block: Any, shared: int, given: Any) -> None:
        at = translator.launches[k]
        template = at.template_arguments
        if scalar is not None:
            c = _NAMES[scalar.name]
            template = tuple(re.sub(r"\bscalar_t\b", c, t) for t in template)
        kernel = made.get((k, template))
        if kernel is None:
            kernel = made[k, template] = CompiledKernel(kernels, at.name, dirs, flags, template)
        kernel(_sizes(grid), _sizes(block), given, shared)

    extra = {f"_created_{n}": _created(n) for n in _CREATORS}
    host_function = host.build(
        text, _method=_method, _check=_check, _Options=_Options, _constants=_CONSTANTS, **extra
    )

    def function(*args: Any) -> Any:
        if len(args) != len(names):
            raise TypeError(f"{name}() takes {len(names)} arguments, {len(args)} were given")
        return host_function(launch, None, None, *args)

    function.__name__ = name
    return function


def _sizes(x: Any) -> tuple[int, ...]:
    return (x.x, x.y, x.z) if isinstance(x, host.Dim3) else (int(x), 1, 1)


def load_inline(
    name: str,
    cpp_sources: Any,
    cuda_sources: Any = None,
    sycl_sources: Any = None,
    functions: Any = None,
    extra_cflags: Sequence[str] | None = None,
    extra_cuda_cflags: Sequence[str] | None = None,
    extra_sycl_cflags: Sequence[str] | None = None,
    extra_ldflags: Sequence[str] | None = None,
    extra_include_paths: Sequence[str] | None = None,
    build_directory: str | None = None,
    verbose: bool = False,
    with_cuda: bool | None = None,
    with_sycl: bool | None = None,
    is_python_module: bool = True,
    with_pytorch_error_handling: bool = True,
    keep_intermediates: bool = True,
    use_pch: bool = False,
    no_implicit_headers: bool = False,
) -> Any:
    """A module with the functions of ``cuda_sources`` (torch.utils.cpp_extension.load_inline).

    Functions create tensors, ask for their sizes and launch kernels; tensors that a kernel takes as
    pointers to constants are read, others are written. No gradient flows through them, as in
    PyTorch. Functions of ``cpp_sources`` with a body need a compiler and PyTorch's headers: they
    are not supported.

    Raises:
        UnsupportedError: a function goes beyond that; ``cupola.code`` takes its place.
    """
    sources = [cuda_sources] if isinstance(cuda_sources, str) else list(cuda_sources or ())
    kernels, found = _functions("\n".join(sources))
    wanted = [functions] if isinstance(functions, str) else list(functions or found)
    out = types.ModuleType(name)
    for own in wanted:
        if own not in found:
            raise UnsupportedError(
                "cupola.utils.cpp_extension.load_inline",
                f"{own!r} is no function of tensors in cuda_sources; C++ for the CPU is written "
                "with cupola.code(…, cpu_src=…)",
            )
        try:
            flags = [f for f in extra_cuda_cflags or () if not f.startswith(("-O", "-gencode"))]
            function = _function(own, *found[own], kernels, extra_include_paths or (), flags)
        except SourceError as error:
            raise UnsupportedError(
                "cupola.utils.cpp_extension.load_inline",
                f"{own}, line {error.line} of its body: {error}. Launch the kernels with "
                "cupola.code(shape, dtype, [x], cuda_src=…) instead: docs/tutorials/code.md",
            ) from None
        setattr(out, own, function)
    return out


CUDA_HOME = ROCM_HOME = None  # no toolkit is needed, and none is looked for

_REASON = (
    "extensions against PyTorch's C++ interface cannot be built without it; write the operator "
    "with cupola.code (docs/tutorials/code.md)"
)


def __getattr__(name: str) -> Any:
    """What builds extensions exists, and says what to do instead when it is called."""
    if name in ("BuildExtension", "CppExtension", "CUDAExtension", "load", "include_paths"):
        return placeholder(f"cupola.utils.cpp_extension.{name}", _REASON)
    raise AttributeError(f"module 'cupola.utils.cpp_extension' has no attribute {name!r}")


__all__ = ["load_inline"]
