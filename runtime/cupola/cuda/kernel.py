"""Kernels by source and name, launched on tensors (torch.cuda._compile_kernel)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cupola.code import code
from cupola.code.kernels import rewrite
from cupola.tensor import Tensor

Three = tuple[int, int, int]


class CompiledKernel:
    """A ``__global__`` function that is called with a grid, a block and arguments.

    Tensors that the kernel takes as pointers to constants are read; those that it takes as other
    pointers are written into, as by an in-place operator.
    """

    def __init__(
        self,
        source: str,
        name: str,
        dirs: Sequence[str],
        flags: Sequence[str],
        template: Sequence[str] = (),
    ) -> None:
        found = {k.name: k for k in rewrite(source, "", {})[1]}
        if name not in found:
            raise ValueError(f"there is no kernel {name!r}; there are {', '.join(found) or 'none'}")
        self.kernel = found[name]
        self.source = source
        self.expression = f"{name}<{', '.join(template)}>" if template else name
        self.dirs, self.flags = tuple(dirs), tuple(flags)
        self._texts: dict[Any, str] = {}

    def __call__(
        self,
        grid: Sequence[int] = (1, 1, 1),
        block: Sequence[int] = (1, 1, 1),
        args: Sequence[Any] | None = None,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launches the kernel on the current stream.

        Raises:
            TypeError: an argument does not fit the kernel's parameter.
        """
        given = list(args or ())
        parameters = self.kernel.parameters
        if len(given) != len(parameters):
            raise TypeError(
                f"{self.kernel.name} takes {len(parameters)} arguments, {len(given)} are given"
            )
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        data: dict[str, Any] = {}
        names = []
        for k, (x, (kind, name), constant) in enumerate(
            zip(given, parameters, self.kernel.constant, strict=True)
        ):
            if kind.endswith("*"):
                if not isinstance(x, Tensor):
                    raise TypeError(f"{name} is a pointer: give a tensor, not {type(x).__name__}")
                chosen, letter = (inputs, "in") if constant else (outputs, "out")
                place = next((i for i, t in enumerate(chosen) if t is x), len(chosen))
                if place == len(chosen):
                    chosen.append(x)
                names.append(f"{letter}{place}_p")
            else:
                fraction = isinstance(x, float) or kind in ("float", "double")
                data[f"a{k}"] = float(x) if fraction else int(x)
                names.append(f'data["a{k}"]')
        if not outputs:
            raise TypeError(f"{self.kernel.name} writes nothing: every pointer is to constants")
        for axis, n in zip("xyz", _three(grid)):
            data[f"g{axis}"] = n
        for axis, n in zip("xyz", _three(block)):
            data[f"b{axis}"] = n
        data["shared"] = int(shared_mem)
        key = tuple(names)
        text = self._texts.get(key)
        if text is None:
            listed = [", ".join(f'data["{s}{axis}"]' for axis in "xyz") for s in "gb"]
            text = self._texts[key] = (
                f"{self.source}\n{self.expression}<<<dim3({listed[0]}), dim3({listed[1]}), "
                f'data["shared"]>>>({", ".join(names)});'
            )
        code(
            inputs=inputs, outputs=outputs, cuda_src=text, data=data, include_dirs=self.dirs,
            cuda_flags=self.flags,
        )  # fmt: skip


def _three(sizes: Sequence[int]) -> Three:
    return (*map(int, sizes), 1, 1)[:3]  # type: ignore[return-value]


def compile_kernel(
    kernel_source: str,
    kernel_name: str,
    compute_capability: str | None = None,
    cuda_include_dirs: Sequence[str] | None = None,
    nvcc_options: Sequence[str] | None = None,
) -> CompiledKernel:
    """A kernel to be called as ``kernel(grid=, block=, args=, shared_mem=)``
    (torch.cuda._compile_kernel).

    It is compiled at its first launch, by NVRTC, for the device at hand.

    Raises:
        ValueError: the source has no kernel of this name.
    """
    return CompiledKernel(kernel_source, kernel_name, cuda_include_dirs or (), nvcc_options or ())
