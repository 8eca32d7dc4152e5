"""The transforms of Winograd's convolution with 3x3 kernels, as LLVM modules.

A tile of m x m results is computed from a x a inputs, a = m + 2: Y = A' [(G g G') * (B' d B)] A,
where the products in the middle, summed over channels, are a * a matrix products over all tiles.
The modules here compute B' d B and A' M A, a vector of channels at a time.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

from cupola.codegen.llvm import team
from cupola.codegen.llvm.target import Target

KERNEL = {
    2: ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    4: (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
}
"""G, by the size m of a tile."""

ARGUMENTS = (
    "source", "target", "plane", "first", "count", "height", "width", "channels", "top", "left",
    "across", "each", "zeros", "spare", "bias", "residual", *team.WORDS,
)  # fmt: skip
"""The 64-bit words that a kernel is called with.

``source``, ``target``: images (N, height, width, channels) on one side, on the other ``a * a``
planes of (count, channels), ``plane`` elements apart; ``first``: the first tile's number, tiles
being numbered through all images, ``each`` an image, ``across`` a row; ``top``, ``left``: the
padding; ``zeros``: as many zeros as channels; ``spare``: room for as many, for each thread;
``bias`` (channels), ``residual`` as the target.
"""


@dataclass(frozen=True)
class Form:
    """One transform: ``gives`` turns the planes into results, else the inputs into planes."""

    tile: int
    gives: bool
    residual: bool = False
    relu: bool = False


def lanes(target: Target) -> int:
    """How many channels one vector holds: channels have to be a multiple."""
    return target.vector_bytes // 4


def module(form: Form, target: Target) -> str:
    """LLVM module with ``void kernel(ptr arguments)``, which divides the tiles among threads."""
    return _Writer(form, lanes(target)).text()


class _Writer:
    def __init__(self, form: Form, width: int) -> None:
        self.form = form
        self.size = form.tile + 2
        self.wide = width
        self.vector = f"<{width} x float>"
        self.lines: list[str] = []
        self.count = 0

    def put(self, text: str) -> str:
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def argument(self, name: str) -> str:
        p = self.put(f"getelementptr i64, ptr %args, i64 {ARGUMENTS.index(name)}")
        return self.put(f"load i64, ptr {p}")

    def pointer(self, name: str) -> str:
        return self.put(f"inttoptr i64 {self.argument(name)} to ptr")

    # --- vectors of floats

    def load(self, p: str, offset: str) -> str:
        at = self.put(f"getelementptr float, ptr {p}, i64 {offset}")
        return self.put(f"load {self.vector}, ptr {at}, align 4")

    def store(self, value: str, p: str, offset: str) -> None:
        at = self.put(f"getelementptr float, ptr {p}, i64 {offset}")
        self.lines.append(f"  store {self.vector} {value}, ptr {at}, align 4")

    def add(self, a: str, b: str) -> str:
        return self.put(f"fadd contract {self.vector} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.put(f"fsub contract {self.vector} {a}, {b}")

    def scaled(self, a: str, by: float, plus: str) -> str:
        """a * by + plus"""
        number = ", ".join([f"float {by:.1f}"] * self.wide)
        product = self.put(f"fmul contract {self.vector} {a}, <{number}>")
        return self.add(product, plus)

    # --- one-dimensional transforms

    def taken(self, d: list[str]) -> list[str]:
        """B' d"""
        if self.form.tile == 2:
            return [
                self.sub(d[0], d[2]),
                self.add(d[1], d[2]),
                self.sub(d[2], d[1]),
                self.sub(d[1], d[3]),
            ]
        even = self.scaled(d[2], -4, d[4])
        odd = self.scaled(d[1], -4, d[3])
        high, step = self.sub(d[4], d[2]), self.sub(d[3], d[1])
        return [
            self.scaled(d[0], 4, self.scaled(d[2], -5, d[4])),
            self.add(even, odd),
            self.sub(even, odd),
            self.scaled(step, 2, high),
            self.scaled(step, -2, high),
            self.scaled(d[1], 4, self.scaled(d[3], -5, d[5])),
        ]

    def given(self, m: list[str]) -> list[str]:
        """A' m"""
        a, b = self.add(m[1], m[2]), self.sub(m[1], m[2])
        if self.form.tile == 2:
            return [self.add(m[0], a), self.sub(b, m[3])]
        c, d = self.add(m[3], m[4]), self.sub(m[3], m[4])
        return [
            self.add(self.add(m[0], a), c),
            self.scaled(d, 2, b),
            self.scaled(c, 4, a),
            self.scaled(d, 8, self.add(b, m[5])),
        ]

    # --- the module

    def text(self) -> str:
        self.prepare()
        head, self.lines = self.lines, []
        self.place()
        tile, self.lines = self.lines, []
        if self.form.gives:
            self.finish()
        else:
            self.begin()
        body = self.lines
        begin, entry = team.begin(ARGUMENTS) + _SHARE, team.entry(ARGUMENTS)
        end = _END % self.wide
        return "\n".join([begin, *head, _LOOP, *tile, _CHANNELS, *body, end, entry])

    def prepare(self) -> None:
        """What is the same for all tiles."""
        names = ("plane", "first", "height", "width", "channels", "top", "left", "across", "each")
        self.at = {n: self.argument(n) for n in names}
        self.lines.append(f"  %channels = add i64 {self.at['channels']}, 0")
        for n in ("source", "target", "zeros", "bias", "residual"):
            self.at[n] = self.pointer(n)
        spare = self.put(f"mul i64 %mine, {self.at['channels']}")
        self.at["spare"] = self.put(
            f"getelementptr float, ptr {self.pointer('spare')}, i64 {spare}"
        )

    def place(self) -> None:
        """Where the tile's pixels lie in the images; others stand for those outside."""
        at = self.at
        number = self.put(f"add i64 {at['first']}, %t")
        image = self.put(f"udiv i64 {number}, {at['each']}")
        rest = self.put(f"urem i64 {number}, {at['each']}")
        y = self.put(f"udiv i64 {rest}, {at['across']}")
        x = self.put(f"urem i64 {rest}, {at['across']}")
        y = self.put(f"mul i64 {y}, {self.form.tile}")
        x = self.put(f"mul i64 {x}, {self.form.tile}")
        self.row = self.put(f"mul i64 %t, {at['channels']}")
        pixels = self.form.tile if self.form.gives else self.size
        if not self.form.gives:
            y, x = self.put(f"sub i64 {y}, {at['top']}"), self.put(f"sub i64 {x}, {at['left']}")
        base = self.put(f"mul i64 {image}, {at['height']}")
        rows, columns = ([(self._inside(v, k, n)) for k in range(pixels)]
                         for v, n in ((y, "height"), (x, "width")))  # fmt: skip
        images = at["target"] if self.form.gives else at["source"]
        outside = at["spare"] if self.form.gives else at["zeros"]
        self.pixels: list[list[str]] = []
        self.added: list[list[str]] = []
        for row, row_there in rows:
            line = self.put(f"add i64 {base}, {row}")
            line = self.put(f"mul i64 {line}, {at['width']}")
            found: list[str] = []
            more: list[str] = []
            for column, column_there in columns:
                pixel = self.put(f"add i64 {line}, {column}")
                offset = self.put(f"mul i64 {pixel}, {at['channels']}")
                there = self.put(f"and i1 {row_there}, {column_there}")
                for where, base_of, other in (
                    (found, images, outside),
                    *([(more, at["residual"], at["zeros"])] if self.form.residual else []),
                ):
                    p = self.put(f"getelementptr float, ptr {base_of}, i64 {offset}")
                    where.append(self.put(f"select i1 {there}, ptr {p}, ptr {other}"))
            self.pixels.append(found)
            self.added.append(more)

    def _inside(self, start: str, k: int, limit: str) -> tuple[str, str]:
        at = self.put(f"add i64 {start}, {k}")
        return at, self.put(f"icmp ult i64 {at}, {self.at[limit]}")

    def _planes(self) -> list[list[str]]:
        """Offset, in elements, of this tile's channels in each plane."""
        start = self.put(f"add i64 {self.row}, %c")
        out = []
        for i in range(self.size):
            line = []
            for j in range(self.size):
                skip = self.put(f"mul i64 {self.at['plane']}, {i * self.size + j}")
                line.append(self.put(f"add i64 {start}, {skip}"))
            out.append(line)
        return out

    def begin(self) -> None:
        planes = self._planes()
        columns = []
        for j in range(self.size):
            columns.append(self.taken([self.load(row[j], "%c") for row in self.pixels]))
        for i in range(self.size):
            for j, value in enumerate(self.taken([column[i] for column in columns])):
                self.store(value, self.at["target"], planes[i][j])

    def finish(self) -> None:
        planes = self._planes()
        columns = []
        for j in range(self.size):
            column = [self.load(self.at["source"], planes[i][j]) for i in range(self.size)]
            columns.append(self.given(column))
        bias = self.load(self.at["bias"], "%c")
        for i in range(self.form.tile):
            for j, value in enumerate(self.given([column[i] for column in columns])):
                value = self.add(value, bias)
                if self.form.residual:
                    value = self.add(value, self.load(self.added[i][j], "%c"))
                if self.form.relu:
                    # Written so that NaN stays NaN.
                    less = self.put(f"fcmp ole {self.vector} {value}, zeroinitializer")
                    value = self.put(
                        f"select <{self.wide} x i1> {less}, {self.vector} zeroinitializer, "
                        f"{self.vector} {value}"
                    )
                self.store(value, self.pixels[i][j], "%c")


_SHARE = f"""
  %count.p = getelementptr i64, ptr %args, i64 {ARGUMENTS.index("count")}
  %count = load i64, ptr %count.p
  %low.n = mul i64 %count, %mine
  %low = udiv i64 %low.n, %all
  %next.mine = add i64 %mine, 1
  %high.n = mul i64 %count, %next.mine
  %high = udiv i64 %high.n, %all"""

_LOOP = """  br label %tiles
tiles:
  %t = phi i64 [ %low, %ready ], [ %t.next, %tiles.end ]
  %more = icmp slt i64 %t, %high
  br i1 %more, label %tile, label %exit
tile:"""

_CHANNELS = """  br label %vectors
vectors:
  %c = phi i64 [ 0, %tile ], [ %c.next, %vectors ]"""

_END = """  %%c.next = add i64 %%c, %d
  %%c.more = icmp slt i64 %%c.next, %%channels
  br i1 %%c.more, label %%vectors, label %%tiles.end
tiles.end:
  %%t.next = add i64 %%t, 1
  br label %%tiles
exit:
  ret void
}"""
