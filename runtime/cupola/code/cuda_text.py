"""The CUDA translation unit around a user's ``cuda_src``, and its host lines in Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cupola.code import cpp, host
from cupola.code.cpp import HEADER, SOURCE, Located, Unit, located
from cupola.code.kernels import Kernel, rewrite, split
from cupola.code.text import Array, SourceError, blanked, expand, tokens

TYPES = {
    **cpp.TYPES,
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "complex64": "cuFloatComplex",
    "complex128": "cuDoubleComplex",
}
_INCLUDES = {
    "float16": "cuda_fp16.h", "bfloat16": "cuda_bf16.h", "complex64": "cuComplex.h",
    "complex128": "cuComplex.h",
}  # fmt: skip
_SIZES = {"bool": 1, "complex64": 8, "complex128": 16}

# NVRTC brings no standard headers of its own.
_PRELUDE = """\
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
"""

_CHECK = """\
template <int R> static __device__ long long cupola_check(
    unsigned long long* report, int array, int line, bool past, const long long* shape,
    const long long* stride, const long long (&index)[R]) {
  long long at = 0;
  bool good = true;
  for (int d = 0; d < R; d++) {
    good = good && index[d] >= 0 && index[d] < shape[d] + past;
    at += index[d] * stride[d];
  }
  if (good) return at;
  if (atomicCAS(report, 0ULL, 1ULL) == 0ULL) {
    report[1] = array;
    report[2] = line;
    for (int d = 0; d < R; d++) report[3 + d] = index[d];
  }
  return 0;
}
"""

# Letters of the struct module for a kernel's parameters; each takes eight bytes.
_FORMATS = {
    "bool": "?7x", "char": "b7x", "signed char": "b7x", "int8_t": "b7x", "unsigned char": "B7x",
    "uint8_t": "B7x", "short": "h6x", "int16_t": "h6x", "unsigned short": "H6x", "uint16_t": "H6x",
    "int": "i4x", "int32_t": "i4x", "unsigned": "I4x", "unsigned int": "I4x", "uint32_t": "I4x",
    "uint": "I4x", "signed": "i4x", "long": "q", "long int": "q", "long long": "q", "int64_t": "q",
    "ptrdiff_t": "q", "long long int": "q", "unsigned long": "Q", "unsigned long long": "Q",
    "unsigned long long int": "Q", "uint64_t": "Q", "size_t": "Q", "float": "f4x", "double": "d",
    "__half": "e6x", "half": "e6x",
}  # fmt: skip


@dataclass(frozen=True)
class Parameters:
    """How a launch's own arguments are packed.

    Attributes:
        format: for ``struct``, eight bytes a parameter.
        whole: for each parameter, 0 a pointer, 1 a whole number, 2 a floating-point number.
    """

    format: str
    whole: tuple[int, ...]


@dataclass(frozen=True)
class CUDAProgram:
    """What a unit becomes.

    Attributes:
        text: for NVRTC.
        expressions: names of instantiated templates, to be looked up after compilation.
        launches: for each launch statement, the kernel's name or name expression.
        parameters: for each launch statement.
        function: the host lines; ``needs`` are its arguments after the first three.
    """

    text: str
    expressions: tuple[str, ...]
    launches: tuple[str, ...]
    parameters: tuple[Parameters, ...]
    function: Callable[..., None]
    needs: tuple[str, ...]


def hidden_layout(unit: Unit) -> tuple[int, int]:
    """Numbers of pointers and of sizes in the hidden parameter."""
    return len(unit.arrays), sum(2 * a.rank for a in unit.arrays)


def generate(unit: Unit, wide: bool) -> CUDAProgram:
    """The translation unit and the host function.

    Args:
        wide: whether an index may need 64 bits.

    Raises:
        Located: the notation, a kernel or a host line is wrong.
    """
    names = cpp.all_names(unit)
    slots = {a.name: k for k, a in enumerate(unit.arrays)}

    def plain(a: Array, name: str, indices: list[str], address: bool) -> str:
        return f"{name}_p[{a.offset(indices, name, '(long long)' if wide else '(int)')}]"

    def access(a: Array, name: str, indices: list[str], address: bool) -> str:
        if not unit.debug or not a.rank:
            return plain(a, name, indices, address)
        listed = ", ".join(f"(long long)({i})" for i in indices)
        return (
            f"{name}_p[cupola_check<{a.rank}>((unsigned long long*)cupola_.report, "
            f"{slots[a.name]}, __LINE__, {int(address)}, {a.name}_shapes_, {a.name}_strides_, "
            f"{{{listed}}})]"
        )

    macros = {"ARGS_DEF": "", "PRECALC": "", "ARGS": "cupola_args_"}
    header = located(HEADER, expand, unit.header, names, macros, {}, access)
    device, lines = located(SOURCE, split, unit.source)
    device = located(SOURCE, expand, device, names, macros, unit.numbers(), access)
    lines = located(SOURCE, expand, lines, names, macros, unit.numbers(), plain)
    hidden = "const cupola_arguments cupola_"
    before = _declarations(unit, names, wide)
    header, own = located(HEADER, rewrite, header, hidden, before)
    device, more = located(SOURCE, rewrite, device, hidden, before)
    kernels = {k.name: k for k in (*own, *more)}
    types = {
        f"{n}_type": (_SIZES.get(a.dtype) or int(re.sub(r"\D", "", a.dtype)) // 8,
                      a.dtype.startswith(("int", "uint", "bool")))
        for n, a in names.items()
    }  # fmt: skip
    translator = host.Translator(lines, types, _macros(unit))
    text = located(SOURCE, translator.function)
    if not translator.launches:
        raise Located(SOURCE, SourceError("there is no launch: kernel<<<grid, block>>>();", 1))
    aliases = {f"{n}_type": TYPES[a.dtype] for n, a in names.items()}
    parameters = tuple(
        located(SOURCE, _parameters, launch, kernels, aliases) for launch in translator.launches
    )
    expressions = tuple(
        dict.fromkeys(x.expression for x in translator.launches if kernels[x.name].template)
    )
    pieces = [_PRELUDE]
    pieces += sorted(
        {f"#include <{_INCLUDES[a.dtype]}>" for a in unit.arrays if a.dtype in _INCLUDES}
    )
    pieces += cpp.types(names, TYPES)
    pieces.append(_struct(unit))
    if unit.debug:
        pieces.append(_CHECK)
    pieces += [f'#line 1 "{HEADER}"', header, f'#line 1 "{SOURCE}"', device, ""]
    return CUDAProgram(
        "\n".join(pieces),
        expressions,
        tuple(x.expression for x in translator.launches),
        parameters,
        host.build(text),
        tuple(sorted(translator.names)),
    )


def _macros(unit: Unit) -> str:
    """``#define NAME number`` as a constant of the host lines, where these use the name."""
    used = {t for t, _ in tokens(blanked(unit.source))}
    found = re.findall(
        r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(.+?)[ \t]*$",
        blanked(unit.header) + "\n" + blanked(unit.source),
        re.MULTILINE,
    )
    return "".join(f" constexpr auto {n} = {v};" for n, v in found if n in used and _simple(v))


def _simple(value: str) -> bool:
    return re.fullmatch(r"[\w\s+\-*/%().<>]+", value) is not None and '"' not in value


def _struct(unit: Unit) -> str:
    pointers, sizes = hidden_layout(unit)
    data = "".join(
        f" {'double' if kind == 'd' else 'long long'} n{k};"
        for k, (_, kind) in enumerate(unit.data)
    )
    return (
        f"struct cupola_arguments {{ void* p[{max(pointers, 1)}]; long long m[{max(sizes, 1)}]; "
        f"int* sizes; long long* report;{data} }};"
    )


def _declarations(unit: Unit, names: dict[str, Array], wide: bool) -> dict[str, str]:
    """Declarations at the start of a kernel, by the name that each declares."""
    index = "long long" if wide else "int"
    out: dict[str, str] = {}
    starts: dict[str, tuple[int, int]] = {}
    at = 0
    for k, a in enumerate(unit.arrays):
        starts[a.name] = (k, at)
        if unit.debug and a.rank:
            out[f"{a.name}_shapes_"] = (
                f"const long long *const {a.name}_shapes_ = cupola_.m + {at}, "
                f"*const {a.name}_strides_ = cupola_.m + {at + a.rank};"
            )
        at += 2 * a.rank
    first = cpp.counters(unit.arrays)
    for name, a in names.items():
        k, at = starts[a.name]
        const = "" if a.is_output else "const "
        if name == a.name:
            out[f"{name}_p"] = (
                f"{const}{name}_type* const __restrict__ {name}_p = "
                f"({const}{name}_type*)cupola_.p[{k}];"
            )
        else:  # derived, so that the two names may be mixed
            out[f"{name}_p"] = f"{const}{name}_type* const {name}_p = {a.name}_p;"
        for d in range(a.rank):
            out[f"{name}_shape{d}"] = f"const {index} {name}_shape{d} = cupola_.m[{at + d}];"
            last = a.dense and d == a.rank - 1
            value = "1" if last else f"cupola_.m[{at + a.rank + d}]"
            out[f"{name}_stride{d}"] = f"const {index} {name}_stride{d} = {value};"
        product = " * ".join(f"{name}_shape{d}" for d in range(a.rank)) or "1"
        out[f"{name}_numel"] = f"const {index} {name}_numel = {product};"
        for d in a.varies:
            out[f"{name}_size{d}"] = f"int& {name}_size{d} = cupola_.sizes[{first[a.name] + d}];"
    for k, ((_, kind), name) in enumerate(zip(unit.data, unit.numbers().values(), strict=True)):
        c = "double" if kind == "d" else "long long"
        out[name] = f"const {c} {name} = cupola_.n{k};"
    return out


def _parameters(
    launch: host.Launch, kernels: dict[str, Kernel], aliases: dict[str, str]
) -> Parameters:
    kernel = kernels.get(launch.name)
    if kernel is None:
        there = ", ".join(kernels) or "none"
        raise SourceError(f"there is no kernel {launch.name!r}; there are {there}", launch.line)
    if launch.count != len(kernel.parameters):
        raise SourceError(
            f"{launch.name} takes {len(kernel.parameters)} arguments, {launch.count} are given",
            launch.line,
        )
    replaced = dict(zip(kernel.template, launch.template_arguments))
    formats, whole = "", []
    for type_, name in kernel.parameters:
        if type_.endswith("*"):
            formats += "Q"
            whole.append(0)
            continue
        words = " ".join(replaced.get(w, w) for w in type_.split())
        words = aliases.get(words, words)
        found = _FORMATS.get(words)
        if found is None:
            raise SourceError(
                f"the parameter {name or type_!r} of {launch.name} has type {words!r}; kernels "
                "take pointers and numbers",
                kernel.line,
            )
        formats += found
        whole.append(2 if found[0] in "fde" else 1)
    return Parameters(formats, tuple(whole))


def environment(unit: Unit, needs: tuple[str, ...]) -> list[tuple[str, int, Any]]:
    """How each name that the host lines read is found: (kind, position, detail).

    Kinds: ``pointer`` of an array (detail: bytes an element), ``size`` among the sizes, ``number``
    among the numbers, ``value`` (detail).

    Raises:
        Located: a name is unknown.
    """
    names = cpp.all_names(unit)
    starts: dict[str, tuple[int, int]] = {}
    at = 0
    for k, a in enumerate(unit.arrays):
        starts[a.name] = (k, at)
        at += 2 * a.rank
    known: dict[str, tuple[str, int, Any]] = {}
    for name, a in names.items():
        k, at = starts[a.name]
        size = _SIZES.get(a.dtype) or int(re.sub(r"\D", "", a.dtype)) // 8
        known[f"{name}_p"] = ("pointer", k, size)
        known[f"{name}_numel"] = ("count", at, a.rank)
        known[f"{name}_dim"] = ("value", 0, a.rank)
        for d in range(a.rank):
            known[f"{name}_shape{d}"] = ("size", at + d, None)
            known[f"{name}_stride{d}"] = ("size", at + a.rank + d, None)
    for k, name in enumerate(unit.numbers().values()):
        known[name] = ("number", k, None)
    missing = [n for n in needs if n not in known]
    if missing:
        line = next(
            (unit.source.count("\n", 0, at) + 1 for t, at in tokens(blanked(unit.source))
             if t == missing[0]), 1,
        )  # fmt: skip
        raise Located(
            SOURCE,
            SourceError(f"{missing[0]!r} is not declared in the host lines", line),
        )
    return [known[n] for n in needs]
