"""The C++ translation unit around a user's ``cpu_src``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cupola.code import text as notation
from cupola.code.text import Array

HEADER, SOURCE = "cupola_header", "cupola_source"
ENTRY = "cupola_code"

TYPES = {
    "bool": "bool",
    "uint8": "uint8_t",
    "int8": "int8_t",
    "uint16": "uint16_t",
    "int16": "int16_t",
    "uint32": "uint32_t",
    "int32": "int32_t",
    "uint64": "uint64_t",
    "int64": "int64_t",
    "float16": "_Float16",
    "bfloat16": "bfloat16",
    "float32": "float",
    "float64": "double",
    "complex64": "std::complex<float>",
    "complex128": "std::complex<double>",
}

# What a run reports back: 64-bit words, then the text of an exception.
OK, OUT_OF_BOUNDS, EXCEPTION, BAD_SHAPE = range(4)
WORDS = 16
MESSAGE = 512  # bytes

_PRELUDE = """\
#include <stdint.h>
#include <stddef.h>
#include <exception>
#include <initializer_list>
extern "C" void omp_set_num_threads(int);
"""

_BFLOAT16 = """\
struct bfloat16 {
  uint16_t bits;
  bfloat16() = default;
  bfloat16(float x) {
    uint32_t u;
    __builtin_memcpy(&u, &x, 4);
    bits = x != x ? 0x7fc0 : (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
  }
  operator float() const {
    uint32_t u = (uint32_t)bits << 16;
    float x;
    __builtin_memcpy(&x, &u, 4);
    return x;
  }
  bfloat16& operator+=(float x) { return *this = (float)*this + x; }
  bfloat16& operator-=(float x) { return *this = (float)*this - x; }
  bfloat16& operator*=(float x) { return *this = (float)*this * x; }
  bfloat16& operator/=(float x) { return *this = (float)*this / x; }
};
"""

# The first access out of bounds is kept, and the access itself goes to element 0.
_CHECK = """\
template <int R> static inline int64_t cupola_check(int64_t* report, int array, int line, bool past,
                                                    const int64_t* shape, const int64_t* stride,
                                                    const int64_t (&index)[R]) {
  int64_t at = 0;
  bool good = true;
  for (int d = 0; d < R; d++) {
    good = good && index[d] >= 0 && index[d] < shape[d] + past;
    at += index[d] * stride[d];
  }
  if (good) return at;
  if (__sync_bool_compare_and_swap(report, 0, 1)) {
    report[1] = array;
    report[2] = line;
    for (int d = 0; d < R; d++) report[3 + d] = index[d];
  }
  return 0;
}
"""

_OUTPUT = """\
struct cupola_output {
  int* sizes;
  const int64_t* shape;
  int rank;
  int64_t* report;
  int array;
  void set_shape(std::initializer_list<int64_t> given) const {
    int d = 0, bad = (int)given.size() != rank;
    for (int64_t n : given) {
      if (d < rank && sizes[d] < 0) bad = bad || n != shape[d];
      else if (d < rank) sizes[d] = (int)n;
      d++;
    }
    if (bad && __sync_bool_compare_and_swap(report, 0, 3)) report[1] = array;
  }
  const cupola_output* operator->() const { return this; }
};
"""


@dataclass(frozen=True)
class Unit:
    """What a translation unit is made from: the key of the compiled code.

    Attributes:
        arrays: inputs, then outputs.
        names: extra names (``out`` for ``out0``), as pairs.
        data: (key, ``d`` for a floating-point or ``q`` for an integral number).
        debug: whether every access is checked.
    """

    arrays: tuple[Array, ...]
    names: tuple[tuple[str, str], ...]
    header: str
    source: str
    data: tuple[tuple[str, str], ...] = ()
    debug: bool = False

    def known(self) -> dict[str, Array]:
        """Arrays by name, without the source's own aliases."""
        found = {a.name: a for a in self.arrays}
        found.update((new, found[old]) for new, old in self.names)
        return found

    def numbers(self) -> dict[str, str]:
        """C++ names of the numbers."""
        return {key: f"cupola_data_{k}_" for k, (key, _) in enumerate(self.data)}


class Located(Exception):
    """A SourceError, with the part of the unit that it is in."""

    def __init__(self, part: str, error: notation.SourceError) -> None:
        super().__init__(str(error))
        self.part = part
        self.error = error


def located(part: str, function, *args):  # type: ignore[no-untyped-def]
    """Calls a function of the notation on one part."""
    try:
        return function(*args)
    except notation.SourceError as error:
        raise Located(part, error) from None


def all_names(unit: Unit) -> dict[str, Array]:
    """Arrays by every name, aliases of the header and of the source included."""
    known = unit.known()
    for part, content in ((HEADER, unit.header), (SOURCE, unit.source)):
        known.update(located(part, notation.aliases, content, known))
    return known


def types(names: Mapping[str, Array], table: Mapping[str, str]) -> list[str]:
    """``typedef``s of element types, visible in the header too."""
    return [f"typedef {table[a.dtype]} {name}_type;" for name, a in names.items()]


def counters(arrays: Sequence[Array]) -> dict[str, int]:
    """Where each output's sizes begin in the array of sizes; outputs of fixed size have none."""
    out: dict[str, int] = {}
    at = 0
    for a in arrays:
        if a.varies:
            out[a.name] = at
            at += a.rank
    return out


def generate(unit: Unit) -> str:
    """The translation unit: ``void cupola_code(objects, meta, data, sizes, report)``.

    ``objects`` are addresses of array objects plus the offset of their data pointer; ``meta`` holds
    the number of threads, then each array's shape and strides in elements.

    Raises:
        Located: the notation is wrong.
    """
    names = all_names(unit)
    slots = {a.name: k for k, a in enumerate(unit.arrays)}

    def access(a: Array, name: str, indices: list[str], address: bool) -> str:
        if not unit.debug or not a.rank:
            return f"{name}_p[{a.offset(indices, name)}]"
        listed = ", ".join(f"(int64_t)({i})" for i in indices)
        return (
            f"{name}_p[cupola_check<{a.rank}>(cupola_report_, {slots[a.name]}, __LINE__, "
            f"{int(address)}, {a.name}_shapes_, {a.name}_strides_, {{{listed}}})]"
        )

    macros: dict[str, str] = {}
    header = located(HEADER, notation.expand, unit.header, names, macros, {}, access)
    source = located(SOURCE, notation.expand, unit.source, names, macros, unit.numbers(), access)
    out = [_PRELUDE]
    used = {a.dtype for a in unit.arrays}
    if used & {"complex64", "complex128"}:
        out.append("#include <complex>")
    if "bfloat16" in used:
        out.append(_BFLOAT16)
    if unit.debug:
        out.append(_CHECK)
    if any(a.varies for a in unit.arrays):
        out.append(_OUTPUT)
    out += types(names, TYPES)
    out += [f'#line 1 "{HEADER}"', header, '#line 1 "cupola_generated"']
    out += [
        "static inline __attribute__((always_inline)) void cupola_body(const int64_t* const* p_, "
        "const int64_t* m_, const void* d_, int* s_, int64_t* cupola_report_) {",
        *_declarations(unit, names),
        f'{{\n#line 1 "{SOURCE}"',
        source,
        '\n#line 1 "cupola_generated"\n}}',
        _entry(),
    ]
    return "\n".join(out)


def _declarations(unit: Unit, names: Mapping[str, Array]) -> list[str]:
    out = []
    at = 1
    starts: dict[str, tuple[int, int]] = {}
    for k, a in enumerate(unit.arrays):
        starts[a.name] = (k, at)
        out.append(f"const int64_t *const {a.name}_shapes_ = m_ + {at}, "
                   f"*const {a.name}_strides_ = m_ + {at + a.rank};")  # fmt: skip
        at += 2 * a.rank
    first = counters(unit.arrays)
    for name, a in names.items():
        k, at = starts[a.name]
        const = "" if a.is_output else "const "
        if name == a.name:
            restrict = "__restrict__ " if a.is_output else ""
            out.append(
                f"{const}{name}_type* const {restrict}{name}_p = "
                f"*({const}{name}_type* const*)p_[{k}];"
            )
        else:  # derived, so that the two names may be mixed
            out.append(f"{const}{name}_type* const {name}_p = {a.name}_p;")
        out.append(f"const int {name}_dim = {a.rank};")
        for d in range(a.rank):
            out.append(f"const int64_t {name}_shape{d} = m_[{at + d}];")
            last = a.dense and d == a.rank - 1
            value = "1" if last else f"m_[{at + a.rank + d}]"
            out.append(f"const int64_t {name}_stride{d} = {value};")
        product = " * ".join(f"{name}_shape{d}" for d in range(a.rank)) or "1"
        out.append(f"const int64_t {name}_numel = {product};")
        if a.varies:
            base = first[a.name]
            for d in a.varies:
                out.append(f"int& {name}_size{d} = s_[{base + d}];")
            out.append(
                f"const cupola_output {name} = {{s_ + {base}, {a.name}_shapes_, {a.rank}, "
                f"cupola_report_, {k}}};"
            )
    for k, ((_, kind), name) in enumerate(zip(unit.data, unit.numbers().values(), strict=True)):
        c = "double" if kind == "d" else "int64_t"
        out.append(f"const {c} {name} = (({c} const*)d_)[{k}];")
    return out


def _entry() -> str:
    return f"""
extern "C" void {ENTRY}(const int64_t* const* p, const int64_t* m, const void* d, int* s,
                        int64_t* report) {{
  if (m[0]) omp_set_num_threads((int)m[0]);
  try {{
    cupola_body(p, m, d, s, report);
  }} catch (const std::exception& e) {{
    report[0] = {EXCEPTION};
    __builtin_strncpy((char*)(report + {WORDS}), e.what(), {MESSAGE - 1});
  }} catch (...) {{
    report[0] = {EXCEPTION};
  }}
}}
"""
