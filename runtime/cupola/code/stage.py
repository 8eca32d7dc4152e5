"""A stage: one source with its arrays and options; the operator itself, or a gradient of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cupola import dtypes
from cupola.code import cpp
from cupola.code.text import Array
from cupola.code.where import Text
from cupola.dtypes import dtype as DType

Shape = tuple[int, ...]


class Outcome(NamedTuple):
    """What a run reported: its words, and the text of an exception."""

    words: list[int]
    message: str


@dataclass(frozen=True)
class Options:
    """What compilers are given beside the text."""

    flags: tuple[str, ...] = ()
    include_dirs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    cuda_flags: tuple[str, ...] = ()
    debug: bool = False


def element(array_dtype: Any) -> str:
    """The name of an array's element type."""
    return dtypes.from_numpy_dtype(array_dtype).name


class Stage:
    """One source and what surrounds it.

    Args:
        texts: header and source by device type.
        inputs: names of the inputs, such as ``in0``.
        outputs: element types of the outputs.
        ranks: how many dimensions each output has.
        varies: for each output, the dimensions whose size the source decides.
        data: the numbers' names, each with its kind (``d`` or ``q``).
        given: whether outputs start with the contents of tensors.
        output_names: if they are not ``out0``, ``out1``, ….
    """

    def __init__(
        self,
        texts: dict[str, tuple[Text, Text]],
        inputs: tuple[str, ...],
        outputs: tuple[DType, ...],
        ranks: tuple[int, ...],
        varies: tuple[tuple[int, ...], ...],
        data: tuple[tuple[str, str], ...],
        options: Options,
        given: bool = False,
        output_names: tuple[str, ...] = (),
        names: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.texts = texts
        self.inputs = inputs
        self.outputs = outputs
        self.varies = varies
        self.data = data
        self.options = options
        self.given = given
        self.output_names = output_names or tuple(f"out{k}" for k in range(len(outputs)))
        self.names = names or ((("out", self.output_names[0]),) if len(outputs) == 1 else ())
        self.ranks = ranks
        self._runners: dict[str, Any] = {}

    @property
    def dynamic(self) -> bool:
        return any(self.varies)

    def text(self, device_type: str) -> tuple[Text, Text]:
        """Header and source for a device.

        Raises:
            RuntimeError: no source was given for it.
        """
        found = self.texts.get(device_type)
        if found is None:
            have = " and ".join(f"{d}_src" for d in self.texts) or "no source"
            raise RuntimeError(
                f"cupola.code: the tensors are on the {device_type} device, and {have} was given. "
                f"Give {device_type}_src too, or move the tensors with .to(device)."
            )
        return found

    def runner(self, device_type: str) -> Any:
        """What runs this stage on a device: ``runner(arrays, shapes, numbers)``."""
        found = self._runners.get(device_type)
        if found is None:
            self.text(device_type)
            if device_type == "cuda":
                from cupola.code.cuda import CUDARunner

                found = CUDARunner(self)
            else:
                from cupola.code.cpu import CPURunner

                found = CPURunner(self)
            self._runners[device_type] = found
        return found

    def unit(self, header: Text, source: Text, layout: Sequence[Any]) -> cpp.Unit:
        """The key of the compiled code: ``layout`` is (rank, dtype, dense) for each input."""
        arrays = [Array(n, *a) for n, a in zip(self.inputs, layout, strict=True)]
        for name, rank, d, varies in zip(
            self.output_names, self.ranks, self.outputs, self.varies, strict=True
        ):
            arrays.append(Array(name, rank, d.name, True, varies))
        for a in arrays:
            if a.dtype not in cpp.TYPES:
                raise TypeError(
                    f"cupola.code: {a.name} has dtype torch.{a.dtype}, which C++ has no type for; "
                    "convert it with .to(dtype) first"
                )
        names = tuple((new, old) for new, old in self.names if any(a.name == old for a in arrays))
        return cpp.Unit(
            tuple(arrays), names, header.text, source.text, self.data, self.options.debug
        )

    def initial_sizes(self) -> list[int]:
        """Counters before a run, for outputs that vary: 0, and -1 for dimensions that do not."""
        out: list[int] = []
        for varies, rank in zip(self.varies, self.ranks, strict=True):
            if varies:
                out += [0 if d in varies else -1 for d in range(rank)]
        return out

    def shrunk(self, outs: tuple[Any, ...], sizes: list[int], xp: Any) -> tuple[Any, ...]:
        """The outputs, cut to the sizes that the source has set.

        Raises:
            RuntimeError: a size is negative or above its bound.
        """
        made = []
        at = 0
        for name, out, varies in zip(self.output_names, outs, self.varies, strict=True):
            if not varies:
                made.append(out)
                continue
            own = sizes[at : at + out.ndim]
            at += out.ndim
            for d in varies:
                if not 0 <= own[d] <= out.shape[d]:
                    raise RuntimeError(
                        f"cupola.code: the source set dimension {d} of {name} to {own[d]}; its "
                        f"bound is {out.shape[d]} (the shape was given as -{out.shape[d]})"
                    )
            cut = out[tuple(slice(own[d]) if d in varies else slice(None) for d in range(out.ndim))]
            made.append(xp.ascontiguousarray(cut))
        return tuple(made)

    def failure(self, device_type: str, outcome: Outcome, shapes: list[Shape]) -> Exception:
        """The exception for what a run reported."""
        kind, array, line = outcome.words[:3]
        source = self.text(device_type)[1]
        names = (*self.inputs, *self.output_names)
        if kind == cpp.OUT_OF_BOUNDS:
            shape = shapes[array]
            index = tuple(outcome.words[3 : 3 + len(shape)])
            return IndexError(
                "cupola.code: "
                + source.describe(
                    line,
                    f"{names[array]} is accessed at index {_tuple(index)}, which is out of bounds "
                    f"for its shape {list(shape)}",
                )
            )
        if kind == cpp.BAD_SHAPE:
            return RuntimeError(
                f"cupola.code: {names[array]}->set_shape was called with another number of "
                "dimensions than the output has, or with another size for a dimension that was "
                f"declared fixed; the output was declared with the bound {list(shapes[array])}"
            )
        where = source.called
        return RuntimeError(
            f"cupola.code: the {source.argument} given at {where.filename}:{where.lineno} threw "
            f"an exception: {outcome.message or 'not derived from std::exception'}"
        )


def _tuple(index: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, index))})"
