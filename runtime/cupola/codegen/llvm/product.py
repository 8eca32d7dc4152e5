"""Sharing a BLAS matrix product among the threads of the one OpenMP team, as an LLVM module.

A BLAS with threads of its own leaves them polling after a call, which costs the next parallel
region a share of the cores. So each thread of the team calls it for a slice of rows or columns,
with the BLAS itself limited to one thread meanwhile.
"""

from __future__ import annotations

from cupola.codegen.llvm import team

ARGUMENTS = (
    "gemm", "a", "b", "c", "transposed_a", "transposed_b", "rows", "columns", "depth", "lead_a",
    "lead_b", "lead_c", "batch", "batch_a", "batch_b", "batch_c", "beta", "slices", "by_columns",
    "step_a", "step_b", *team.WORDS,
)  # fmt: skip
"""The 64-bit words that the kernel is called with.

``gemm``: address of ``cblas_?gemm`` with 64-bit integers; ``transposed_*``: CBLAS's 111 or 112;
``lead_*``: leading dimensions; ``batch_*``: elements from one matrix to the next; ``beta``: 0 or 1;
``slices``: how many parts a product is cut into, along the columns if ``by_columns``, else along
the rows; ``step_a``, ``step_b``: elements from one row of the product's first operand, or column of
its second, to the next.
"""

_UNIT = 16  # rows or columns that a slice is a multiple of


def module(type_: str) -> str:
    """LLVM module with ``void kernel(ptr arguments)``; ``type_`` is ``float`` or ``double``."""
    size = {"float": 4, "double": 8}[type_]
    words = "\n".join(
        f"  %{n}.p = getelementptr i64, ptr %args, i64 {k}\n  %{n} = load i64, ptr %{n}.p"
        for k, n in enumerate(ARGUMENTS)
        if n not in team.WORDS
    )
    one = "1.0"
    passed = (
        "i32 101, i32 %layout.a, i32 %layout.b, i64 %m, i64 %n, i64 %depth, "
        f"{type_} {one}, ptr %a.q, i64 %lead_a, ptr %b.q, i64 %lead_b, "
        f"{type_} %scale, ptr %c.q, i64 %lead_c"
    )
    return f"""{team.begin(ARGUMENTS)}
{words}
  %f = inttoptr i64 %gemm to ptr
  %layout.a = trunc i64 %transposed_a to i32
  %layout.b = trunc i64 %transposed_b to i32
  %adds = icmp ne i64 %beta, 0
  %scale = select i1 %adds, {type_} {one}, {type_} 0.0
  %across = icmp ne i64 %by_columns, 0
  %whole = select i1 %across, i64 %columns, i64 %rows
  %units.n = add i64 %whole, {_UNIT - 1}
  %units = udiv i64 %units.n, {_UNIT}
  %tasks = mul i64 %batch, %slices
  br label %head
head:
  %t = phi i64 [ %mine, %ready ], [ %t.next, %next ]
  %more = icmp slt i64 %t, %tasks
  br i1 %more, label %task, label %exit
task:
  %matrix = udiv i64 %t, %slices
  %slice = urem i64 %t, %slices
  %low.n = mul i64 %units, %slice
  %low.u = udiv i64 %low.n, %slices
  %low = mul i64 %low.u, {_UNIT}
  %after = add i64 %slice, 1
  %high.n = mul i64 %units, %after
  %high.u = udiv i64 %high.n, %slices
  %high.w = mul i64 %high.u, {_UNIT}
  %over = icmp sgt i64 %high.w, %whole
  %high = select i1 %over, i64 %whole, i64 %high.w
  %count = sub i64 %high, %low
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %run, label %next
run:
  %m = select i1 %across, i64 %rows, i64 %count
  %n = select i1 %across, i64 %count, i64 %columns
  %a.m = mul i64 %matrix, %batch_a
  %b.m = mul i64 %matrix, %batch_b
  %c.m = mul i64 %matrix, %batch_c
  %a.low = mul i64 %low, %step_a
  %b.low = mul i64 %low, %step_b
  %c.low = mul i64 %low, %lead_c
  %a.skip = select i1 %across, i64 0, i64 %a.low
  %b.skip = select i1 %across, i64 %b.low, i64 0
  %c.skip = select i1 %across, i64 %low, i64 %c.low
  %a.at = add i64 %a.m, %a.skip
  %b.at = add i64 %b.m, %b.skip
  %c.at = add i64 %c.m, %c.skip
  %a.bytes = mul i64 %a.at, {size}
  %b.bytes = mul i64 %b.at, {size}
  %c.bytes = mul i64 %c.at, {size}
  %a.i = add i64 %a, %a.bytes
  %b.i = add i64 %b, %b.bytes
  %c.i = add i64 %c, %c.bytes
  %a.q = inttoptr i64 %a.i to ptr
  %b.q = inttoptr i64 %b.i to ptr
  %c.q = inttoptr i64 %c.i to ptr
  call void %f({passed})
  br label %next
next:
  %t.next = add i64 %t, %all
  br label %head
exit:
  ret void
}}
{team.entry(ARGUMENTS)}"""
