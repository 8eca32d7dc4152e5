"""The host lines of a ``cuda_src`` as a Python function: sizes, launches and what lies between.

Neither nvcc nor a C++ compiler is needed to run them. Understood are declarations of numbers,
pointers and ``dim3``, assignments, arithmetic, ``if``, ``for``, ``while``, ``do``, launches,
``cudaMemsetAsync`` and ``cudaMemcpyAsync``; integer division truncates as in C.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cupola.code.text import SourceError, blanked, line_of, tokens

# Size in bytes, and whether it is a whole number.
_SCALARS: dict[str, tuple[int, bool]] = {
    "bool": (1, True), "char": (1, True), "short": (2, True), "int": (4, True),
    "unsigned": (4, True), "long": (8, True), "float": (4, False), "double": (8, False),
    "size_t": (8, True), "ssize_t": (8, True), "ptrdiff_t": (8, True), "int8_t": (1, True),
    "uint8_t": (1, True), "int16_t": (2, True), "uint16_t": (2, True), "int32_t": (4, True),
    "uint32_t": (4, True), "int64_t": (8, True), "uint64_t": (8, True), "uint": (4, True),
    "signed": (4, True),
}  # fmt: skip
_QUALIFIERS = {"const", "static", "constexpr", "volatile", "register", "struct", "__restrict__"}
_LEVELS = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"),
    ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
_ASSIGN = {"=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "|=", "^="}
_NOTHING = {
    "cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaGetLastError", "cudaPeekAtLastError",
    "cudaSetDevice", "assert",
}  # fmt: skip
_KINDS = {
    "cudaMemcpyHostToHost": 0, "cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2,
    "cudaMemcpyDeviceToDevice": 3, "cudaMemcpyDefault": 4,
}  # fmt: skip


class Pointer:
    """An address that counts in elements."""

    __slots__ = ("address", "size")

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size

    def __add__(self, n: int) -> Pointer:
        return Pointer(self.address + int(n) * self.size, self.size)

    __radd__ = __add__

    def __sub__(self, n: Any) -> Any:
        if isinstance(n, Pointer):
            return (self.address - n.address) // self.size
        return Pointer(self.address - int(n) * self.size, self.size)


class Dim3:
    """CUDA's dim3."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: Any = 1, y: int = 1, z: int = 1) -> None:
        if isinstance(x, Dim3):
            x, y, z = x.x, x.y, x.z
        self.x, self.y, self.z = int(x), int(y), int(z)


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    q = abs(a) // abs(b)
    return q if (a >= 0) == (b >= 0) else -q


def _remainder(a: int, b: int) -> int:
    return a - b * int(_divide(a, b))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min, "max": max, "abs": abs, "fabs": abs, "sqrt": math.sqrt, "sqrtf": math.sqrt,
    "ceil": lambda x: float(math.ceil(x)), "ceilf": lambda x: float(math.ceil(x)),
    "floor": lambda x: float(math.floor(x)), "floorf": lambda x: float(math.floor(x)),
    "pow": lambda a, b: float(a) ** b, "powf": lambda a, b: float(a) ** b, "exp": math.exp,
    "expf": math.exp, "log": math.log, "logf": math.log, "log2": math.log2, "log2f": math.log2,
    "dim3": Dim3, "round": lambda x: float(math.floor(x + 0.5)),
}  # fmt: skip


class Launch:
    """One launch statement: the kernel as it is written (``k<float, 4>``) and its arguments."""

    def __init__(self, name: str, arguments: tuple[str, ...], line: int, count: int) -> None:
        self.name = name
        self.template_arguments = arguments
        self.line = line
        self.count = count

    @property
    def expression(self) -> str:
        inside = ", ".join(self.template_arguments)
        return f"{self.name}<{inside}>" if inside else self.name


class Translator:
    """C++ statements to the text of a Python function.

    ``any_stream`` accepts a stream in a launch, which then goes to the current one all the same.

    Attributes:
        launches: the launch statements, in order.
        names: identifiers that are read and not declared.
    """

    any_stream = False

    def __init__(
        self, text: str, types: Mapping[str, tuple[int, bool]], constants: str = ""
    ) -> None:
        self.text = text = text + constants
        self._first = len(list(tokens(blanked(constants))))
        self.tokens = [(t, line_of(text, at)) for t, at in tokens(blanked(text))]
        self.tokens.append(("", line_of(text, len(text))))
        self.at = 0
        self.types = {**_SCALARS, **types}
        self.declared: dict[str, tuple[str, int]] = {}
        self.launches: list[Launch] = []
        self.names: set[str] = set()
        self.lines: list[str] = []

    # --- reading tokens

    @property
    def next(self) -> str:
        return self.tokens[self.at][0]

    def peek(self, k: int = 1) -> str:
        return self.tokens[min(self.at + k, len(self.tokens) - 1)][0]

    @property
    def line(self) -> int:
        return self.tokens[self.at][1]

    def take(self, expected: str = "") -> str:
        token = self.next
        if expected and token != expected:
            raise self.error(f"{expected!r} is expected before {token or 'the end'!r}")
        self.at += 1
        return token

    def error(self, what: str) -> SourceError:
        return SourceError(
            f"{what}. Host lines may hold declarations of numbers and dim3, arithmetic, if, for, "
            "while, kernel launches, cudaMemsetAsync and cudaMemcpyAsync; everything else belongs "
            "into a kernel or into Python",
            self.line,
        )

    # --- statements

    def function(self) -> str:
        """The whole text as ``def host(_launch, _memset, _memcpy, …)``."""
        # Constants come from #define lines; they stand last, so that line numbers stay.
        self.at = end = len(self.tokens) - 1 - self._first
        while self.next:
            self.statement(1)
        self.at = 0
        while self.at < end:
            self.statement(1)
        names = ", ".join(f"v_{n}" for n in sorted(self.names))
        head = f"def host(_launch, _memset, _memcpy, {names}):"
        return "\n".join([head, *(self.lines or ["    pass"])])

    def emit(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def block(self, depth: int) -> None:
        before = len(self.lines)
        self.statement(depth)
        if len(self.lines) == before:
            self.emit(depth, "pass")

    def statement(self, depth: int, step: str = "") -> None:
        token = self.next
        if token == ";":
            self.take()
        elif token == "{":
            self.take()
            while self.next != "}":
                if not self.next:
                    raise self.error("a '}' is missing")
                self.statement(depth)
            self.take()
        elif token == "if":
            self.take()
            if self.next == "constexpr":
                self.take()
            self.take("(")
            self.emit(depth, f"if {self.expression()}:")
            self.take(")")
            self.block(depth + 1)
            if self.next == "else":
                self.take()
                self.emit(depth, "else:")
                self.block(depth + 1)
        elif token == "for":
            self.loop(depth)
        elif token == "while":
            self.take()
            self.take("(")
            self.emit(depth, f"while {self.expression()}:")
            self.take(")")
            self.block(depth + 1)
        elif token == "do":
            self.take()
            self.emit(depth, "while True:")
            self.block(depth + 1)
            self.take("while")
            self.take("(")
            self.emit(depth + 1, f"if not ({self.expression()}): break")
            self.take(")")
            self.take(";")
        elif token in ("break", "return"):
            self.take()
            self.take(";")
            self.emit(depth, token)
        elif token == "continue":
            raise self.error("'continue' is not understood here")
        else:
            self.simple(depth)
            self.take(";")

    def loop(self, depth: int) -> None:
        self.take()
        self.take("(")
        if self.next != ";":
            self.simple(depth)
        self.take(";")
        condition = "True" if self.next == ";" else self.expression()
        self.take(";")
        self.emit(depth, f"while {condition}:")
        body, self.lines = self.lines, []
        while self.next != ")":
            self.simple(depth + 1)
            if self.next == ",":
                self.take()
        self.take(")")
        step, self.lines = self.lines, body
        self.statement(depth + 1)
        self.lines += step
        if not step and self.lines[-1].endswith(":"):
            self.emit(depth + 1, "pass")

    def simple(self, depth: int) -> None:
        """A declaration, an assignment, a launch or a call."""
        if self.is_type():
            self.declaration(depth)
            return
        if self.next in ("++", "--"):
            sign = self.take()[0]
            name = self.target()
            self.emit(depth, f"{name} {sign}= 1")
            return
        if self.is_launch():
            self.launch(depth)
            return
        k = self.at
        if self.next.isidentifier() and (
            self.peek() in _ASSIGN
            or self.peek() in ("++", "--")
            or (self.peek() == "." and self.peek(3) in _ASSIGN)
        ):
            plain = self.next
            name = self.target()
            op = self.take()
            if op in ("++", "--"):
                self.emit(depth, f"{name} {op[0]}= 1")
                return
            value = self.expression()
            if op == "/=":
                value = f"_divide({name}, {value})"
            elif op == "%=":
                value = f"_remainder({name}, {value})"
            elif op != "=":
                value = f"{name} {op[:-1]} ({value})"
            kind = ("int", 4) if "." in name else self.declared.get(plain)
            self.emit(depth, f"{name} = {self.coerced(kind, value)}")
            return
        self.at = k
        self.emit(depth, self.expression())

    def target(self) -> str:
        name = self.take()
        if name not in self.declared:
            raise self.error(f"{name!r} is not declared")
        out = f"v_{name}"
        if self.next == ".":
            self.take()
            out += f".{self.take()}"
        return out

    def is_type(self, k: int = 0) -> bool:
        """Whether a type begins ``k`` tokens ahead, and not a cast written as a call."""
        first = self.peek(k) if k else self.next
        if first in _QUALIFIERS or first == "auto":
            return True
        return (first in self.types or first == "dim3") and self.peek(k + 1) not in ("(", "{")

    def type(self) -> tuple[str, int]:
        """A type: (``dim3``, ``auto``, ``int``, ``float`` or ``pointer``, size in bytes)."""
        words = []
        while self.next in _QUALIFIERS or self.next in self.types or self.next in ("auto", "dim3"):
            word = self.take()
            if word not in _QUALIFIERS:
                words.append(word)
        size, whole = 4, True
        for w in words or ["int"]:
            if w in ("auto", "dim3"):
                kind = (w, 0)
                break
            size, whole = self.types[w] if w not in ("unsigned", "signed") else (size, True)
        else:
            if words == ["long", "double"]:
                size = 16
            kind = ("int" if whole else "float", size)
        while self.next in ("*", "&", "__restrict__", "const"):
            if self.take() == "*":
                kind = ("pointer", kind[1])
        return kind

    def declaration(self, depth: int) -> None:
        kind = self.type()
        while True:
            name = self.take()
            if not name.isidentifier():
                raise self.error(f"a name is expected before {name!r}")
            self.declared[name] = kind
            if self.next == "=":
                self.take()
                value = self.coerced(kind, self.expression())
            elif self.next in ("(", "{"):
                value = f"Dim3({self.arguments()})" if kind[0] == "dim3" else self.arguments()
                value = self.coerced(kind, value) if value else "0"
            elif self.next in (",", ";"):
                value = "Dim3()" if kind[0] == "dim3" else "0"
            else:
                raise self.error(f"this declaration is not understood at {self.next!r}")
            self.emit(depth, f"v_{name} = {value}")
            if self.next != ",":
                return
            self.take()
            while self.next == "*":
                self.take()
                kind = ("pointer", kind[1])

    @staticmethod
    def coerced(kind: tuple[str, int] | None, value: str) -> str:
        if kind is None or kind[0] == "auto":
            return value
        if kind[0] == "int":
            return f"int({value})"
        if kind[0] == "float":
            return f"float({value})"
        if kind[0] == "pointer":
            return f"_pointer({value}, {kind[1]})"
        return f"Dim3({value})"

    # --- launches

    def is_launch(self) -> bool:
        k, depth = 0, 0
        while (t := self.peek(k) if k else self.next) and not (t == ";" and depth == 0):
            if t == "<<<":
                return True
            if t in ("(", "{", ")", "}", "="):
                return False
            k += 1
        return False

    def launch(self, depth: int) -> None:
        line = self.line
        name = self.take()
        arguments = []
        if self.next == "<":
            self.take()
            current: list[str] = []
            level = 0
            while self.next != ">" or level:
                t = self.take()
                if not t:
                    raise self.error("a '>' is missing")
                level += (t in "([<") - (t in ")]>")
                if t == "," and not level:
                    arguments.append(" ".join(current))
                    current = []
                else:
                    current.append(t)
            arguments.append(" ".join(current))
            self.take()
        self.take("<<<")
        config = [self.expression()]
        while self.next == ",":
            self.take()
            config.append(self.expression())
        self.take(">>>")
        if not 2 <= len(config) <= 4:
            raise self.error("a launch takes <<<grid, block, shared bytes, stream>>>")
        if len(config) == 4 and config[3] not in ("0", "None") and not self.any_stream:
            raise self.error("kernels run on cupola's current stream: leave the stream out")
        given = self.arguments(";")
        count = self._count
        self.launches.append(Launch(name, tuple(arguments), line, count))
        shared = config[2] if len(config) > 2 else "0"
        comma = "," if given else ""
        self.emit(
            depth,
            f"_launch({len(self.launches) - 1}, {config[0]}, {config[1]}, {shared}, "
            f"({given}{comma}))",
        )

    def arguments(self, after: str = "") -> str:
        close = {"(": ")", "{": "}"}[self.take()]
        out = []
        while self.next != close:
            if self.next == "cupola_args_":
                self.take()
            else:
                out.append(self.expression())
            if self.next == ",":
                self.take()
            elif self.next != close:
                raise self.error(f"{close!r} is expected before {self.next!r}")
        self.take()
        self._count = len(out)
        return ", ".join(out)

    # --- expressions

    def expression(self) -> str:
        condition = self.binary(0)
        if self.next != "?":
            return condition
        self.take()
        yes = self.expression()
        self.take(":")
        return f"({yes} if {condition} else {self.expression()})"

    def binary(self, level: int) -> str:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.next in _LEVELS[level]:
            op = self.take()
            right = self.binary(level + 1)
            if op == "/":
                left = f"_divide({left}, {right})"
            elif op == "%":
                left = f"_remainder({left}, {right})"
            else:
                word = {"||": "or", "&&": "and"}.get(op, op)
                left = f"({left} {word} {right})"
        return left

    def unary(self) -> str:
        token = self.next
        if token in ("-", "+", "~"):
            self.take()
            return f"({token}{self.unary()})"
        if token == "!":
            self.take()
            return f"(not {self.unary()})"
        if token == "&":
            self.take()
            name = self.take()
            self.names.add(name)
            self.take("[")
            index = self.expression()
            self.take("]")
            return f"(v_{name} + {index})"
        if token == "(" and self.is_cast():
            self.take()
            kind = self.type()
            self.take(")")
            return self.coerced(kind, self.unary())
        return self.postfix()

    def is_cast(self) -> bool:
        k = 1
        while self.peek(k) in _QUALIFIERS or self.peek(k) in self.types:
            k += 1
        if k == 1:
            return False
        while self.peek(k) in ("*", "const", "__restrict__"):
            k += 1
        return self.peek(k) == ")"

    def postfix(self) -> str:
        token = self.take()
        if token == "(":
            inside = self.expression()
            self.take(")")
            return self.members(f"({inside})")
        if token[:1].isdigit() or (token[:1] == "." and len(token) > 1):
            return _number(token)
        if not token.isidentifier():
            self.at -= 1
            raise self.error(f"{token or 'the end'!r} is not understood")
        while self.next == "::":
            self.take()
            token = self.take()
        if token in ("true", "false"):
            return token.capitalize()
        if token in ("nullptr", "NULL"):
            return "Pointer(0, 1)"
        if token in _KINDS:
            return str(_KINDS[token])
        if token == "sizeof":
            self.take("(")
            size = self.type()
            self.take(")")
            return str(8 if size[0] == "pointer" else size[1])
        if token == "static_cast" or token == "reinterpret_cast":
            self.take("<")
            kind = self.type()
            self.take(">")
            return self.coerced(kind, f"({self.arguments()})")
        if token in self.types and self.next in ("(", "{"):
            return self.coerced(("int" if self.types[token][1] else "float", 0), self.arguments())
        if self.next == "(" or (token == "dim3" and self.next == "{"):
            return self.call(token)
        if token not in self.declared:
            self.names.add(token)
        return self.members(f"v_{token}")

    def members(self, value: str) -> str:
        while self.next == "." and self.peek() in ("x", "y", "z"):
            self.take()
            value += f".{self.take()}"
        return value

    def call(self, name: str) -> str:
        if name in _NOTHING:
            self.arguments()
            return "None"
        if name in ("cudaMemset", "cudaMemsetAsync"):
            return f"_memset({self.arguments()})"
        if name in ("cudaMemcpy", "cudaMemcpyAsync"):
            return f"_memcpy({self.arguments()})"
        if name not in _FUNCTIONS:
            self.at -= 1
            raise self.error(f"the function {name!r} cannot be called from host lines")
        return self.members(f"_f_{name}({self.arguments()})")


def _number(token: str) -> str:
    text = token.replace("'", "")
    if text[:2].lower() in ("0x", "0b"):
        return str(int(text.rstrip("uUlL"), 0))
    text = text.rstrip("uUlL")
    if any(c in text for c in ".eE"):
        return repr(float(text.rstrip("fF")))
    if len(text) > 1 and text[0] == "0" and text.isdigit():
        return str(int(text, 8))
    return str(int(text.rstrip("fF")))


def _pointer(value: Any, size: int) -> Pointer:
    if isinstance(value, Pointer):
        return Pointer(value.address, size or value.size)
    return Pointer(int(value), size or 1)


def build(text: str, **more: Any) -> Callable[..., Any]:
    """The function of a translator's text; ``more`` are further names that the text uses."""
    scope: dict[str, Any] = {f"_f_{n}": f for n, f in _FUNCTIONS.items()}
    scope.update(more)
    scope.update(
        _divide=_divide, _remainder=_remainder, _pointer=_pointer, Dim3=Dim3, Pointer=Pointer
    )
    exec(compile(text, "<host lines of cupola.code>", "exec"), scope)
    found: Callable[..., Any] = scope["host"]
    return found
