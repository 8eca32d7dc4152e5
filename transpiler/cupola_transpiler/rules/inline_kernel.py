"""inline-kernel: kernels that a program writes in its own source text."""

import re
from collections.abc import Iterator

import libcst as cst

from cupola_transpiler.module import Module
from cupola_transpiler.rule import Edit, Finding, Result, Rule
from cupola_transpiler.scope import Anchor
from cupola_transpiler.syntax import string_value

_KERNEL = re.compile(
    r"(?:template\s*<[^{};]*>\s*)?(?:static\s+)?__global__[^{;()]*?"
    r"(?:__launch_bounds__\s*\([^)]*\)\s*)?\b(\w+)\s*\(([^{}]*?)\)\s*\{"
)
_INLINE = "torch.utils.cpp_extension.load_inline"
_CUPY = ("cupy.RawKernel", "cupy.RawModule")


class InlineKernel(Rule):
    """`torch.cuda._compile_kernel` becomes `cupola.cuda.compile_kernel`; other ways to write a
    kernel are reported with the call of `cupola.code` that takes their place.

    `load_inline` keeps working for functions that create tensors, ask for sizes and launch kernels;
    other C++ against PyTorch's interface cannot be built without it. `cupy.RawKernel` stays: it
    runs on `data_ptr()` as before, and `cupola.code` is what gradients can follow.
    """

    code = "inline-kernel"
    VALID = [
        "import cupy\ncupy.asarray([1])\n",
        "def load_inline(name):\n    return name\nload_inline('x')\n",
        "import cupy\nk = cupy.RawKernel('__global__ void k(float* y) { y[0] = 1; }', 'k')\n",
    ]
    INVALID = [
        (
            "import torch\nk = torch.cuda._compile_kernel(source, 'k')\n",
            "import cupola\nk = cupola.cuda.compile_kernel(source, 'k')\n",
        ),
        (
            "from torch import cuda\nk = cuda._compile_kernel(source, 'k')\n",
            "from cupola import cuda\nk = cuda.compile_kernel(source, 'k')\n",
        ),
    ]

    def check(self, module: Module) -> Iterator[Result]:
        for use in module.uses:
            name = module.qualify(use)
            if name == "torch.cuda._compile_kernel" and len(use.chain) > 1:
                yield Edit(use.anchors[-1], "compile_kernel")
        for _, call in module.walk.calls:
            name = module.qualname(call.func)
            if name == _INLINE:
                sources = [self._text(module, x) for x in self._given(call, "cuda_sources")]
                reason = (
                    "functions that create tensors, ask for sizes and launch kernels run as they "
                    "are; what goes beyond is refused when the extension is loaded, and no "
                    "gradient flows: cupola.code has neither limit"
                )
            elif name in _CUPY:
                named = self._given(call, "code") or [a.value for a in call.args[:1]]
                sources = [self._text(module, x) for x in named]
                reason = (
                    "kept: the kernel runs on data_ptr() as before, unseen by gradients; "
                    "cupola.code takes tensors, has gradients and compiles without nvcc too"
                )
            else:
                continue
            found = suggestion("\n".join(s for s in sources if s))
            yield Finding(Anchor(call.func), "note", name, reason, found)

    @staticmethod
    def _given(call: cst.Call, keyword: str) -> list[cst.BaseExpression]:
        """The strings (or the names of strings) that an argument holds."""
        for arg in call.args:
            if arg.keyword is not None and arg.keyword.value == keyword:
                if isinstance(arg.value, (cst.List, cst.Tuple)):
                    return [e.value for e in arg.value.elements]
                return [arg.value]
        return []

    @staticmethod
    def _text(module: Module, node: cst.BaseExpression) -> str | None:
        """A literal's text, or that of the literal which a name was given in this file."""
        if isinstance(node, cst.Name):
            pattern = rf"^{re.escape(node.value)}\s*=\s*r?(\"\"\"|''')(.*?)\1"
            found = re.search(pattern, module.text, re.MULTILINE | re.DOTALL)
            return found.group(2) if found else None
        value = string_value(node)
        return value if value is not None else None


def suggestion(source: str) -> str:
    """The call of ``cupola.code`` for the first kernel of a CUDA source."""
    found = _KERNEL.search(source)
    if found is None:
        return "cupola.code(shape, dtype, [x], cuda_src='kernels and launch lines')"
    name, listed = found.group(1), found.group(2)
    inputs, outputs, numbers, arguments = [], [], [], []
    for parameter in (p.strip() for p in listed.split(",") if p.strip()):
        words = re.findall(r"\w+|\*", parameter)
        own = words[-1]
        if "*" not in words:
            numbers.append(own)
            arguments.append(f'data["{own}"]')
        elif "const" in words[: words.index("*")]:
            arguments.append(f"in{len(inputs)}_p")
            inputs.append(own)
        else:
            arguments.append(f"out{len(outputs)}_p")
            outputs.append(own)
    launch = re.search(rf"\b{name}\s*(?:<[^;<>]*>)?\s*<<<(.*?)>>>", source, re.DOTALL)
    config = " ".join(launch.group(1).split()) if launch else "grid, block"
    for k, own in enumerate(inputs):  # the host's own names for sizes
        config = re.sub(rf"\b{own}\.numel\(\)", f"in{k}_numel", config)
        config = re.sub(rf"\b{own}\.size\((\d)\)", rf"in{k}_shape\1", config)
    single = len(outputs) == 1
    shape = f"{outputs[0]}.shape, {outputs[0]}.dtype" if single else "shapes, dtypes"
    data = ", ".join(f'"{n}": {n}' for n in numbers)
    tail = f", data={{{data}}}" if numbers else ""
    result = ", ".join(outputs) or "y"
    return (
        f"{result} = cupola.code({shape}, [{', '.join(inputs)}], cuda_src=KERNELS + '''"
        f"{name}<<<{config}>>>({', '.join(arguments)});'''{tail})  "
        "# KERNELS: the __global__ functions; see docs/tutorials/code.md"
    )
