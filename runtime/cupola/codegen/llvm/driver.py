"""The function that runs a plan: its tasks in order, or shared among OpenMP's threads.

A plan is an array of 64-bit words, made once for a kernel and a set of sizes (see
``backends/cpu/launch.py``):

    body, meta, scratch bytes, GOMP_parallel, omp_get_thread_num, omp_get_num_threads, malloc, free,
    number of phases, then for each phase: tasks, number of tasks, threads

The phases run one after the other; the tasks of one phase are independent.
"""

from __future__ import annotations

from cupola.codegen.llvm.nest import NAME, TASK

HEADER = 9
PHASE = 3

_TEAM = """
define internal void @team(ptr %c) {
  %thread.p = getelementptr ptr, ptr %c, i64 6
  %thread = load ptr, ptr %thread.p
  %threads.p = getelementptr ptr, ptr %c, i64 7
  %threads = load ptr, ptr %threads.p
  %mine = call i32 %thread()
  %all = call i32 %threads()
  %first = sext i32 %mine to i64
  %step = sext i32 %all to i64
  call void @work(ptr %c, i64 %first, i64 %step)
  ret void
}
"""


def driver() -> str:
    """LLVM module with ``void kernel(ptr head, ptr plan)``."""
    return f"""
define internal void @work(ptr %c, i64 %first, i64 %step) {{
entry:
  %head = load ptr, ptr %c
  %body.p = getelementptr ptr, ptr %c, i64 1
  %body = load ptr, ptr %body.p
  %meta.p = getelementptr ptr, ptr %c, i64 2
  %meta = load ptr, ptr %meta.p
  %scratch.p = getelementptr ptr, ptr %c, i64 3
  %scratch = load ptr, ptr %scratch.p
  %tasks.p = getelementptr ptr, ptr %c, i64 4
  %tasks = load ptr, ptr %tasks.p
  %count.p = getelementptr ptr, ptr %c, i64 5
  %count = load i64, ptr %count.p
  br label %head.
head.:
  %t = phi i64 [ %first, %entry ], [ %next, %body. ]
  %more = icmp slt i64 %t, %count
  br i1 %more, label %body., label %exit
body.:
  %at = mul i64 %t, {len(TASK)}
  %task = getelementptr i64, ptr %tasks, i64 %at
  call void %body(ptr %head, ptr %meta, ptr %task, ptr %scratch)
  %next = add i64 %t, %step
  br label %head.
exit:
  ret void
}}

{_TEAM}
define void @{NAME}(ptr %head, ptr %plan) {{
entry:
  %c = alloca [8 x i64], align 8
  store ptr %head, ptr %c
{_copy(0, 1)}{_copy(1, 2)}{_copy(4, 6)}{_copy(5, 7)}
  %c3 = getelementptr i64, ptr %c, i64 3
  %c4 = getelementptr i64, ptr %c, i64 4
  %c5 = getelementptr i64, ptr %c, i64 5
  %bytes.p = getelementptr i64, ptr %plan, i64 2
  %bytes = load i64, ptr %bytes.p
  %gomp.p = getelementptr i64, ptr %plan, i64 3
  %gomp = load ptr, ptr %gomp.p
  %malloc.p = getelementptr i64, ptr %plan, i64 6
  %malloc = load ptr, ptr %malloc.p
  %free.p = getelementptr i64, ptr %plan, i64 7
  %free = load ptr, ptr %free.p
  %phases.p = getelementptr i64, ptr %plan, i64 8
  %phases = load i64, ptr %phases.p
  %needs = icmp ne i64 %bytes, 0
  br i1 %needs, label %allocate, label %start
allocate:
  %memory = call ptr %malloc(i64 %bytes)
  br label %start
start:
  %scratch = phi ptr [ null, %entry ], [ %memory, %allocate ]
  store ptr %scratch, ptr %c3
  br label %loop
loop:
  %p = phi i64 [ 0, %start ], [ %p.next, %latch ]
  %more = icmp slt i64 %p, %phases
  br i1 %more, label %phase, label %done
phase:
  %p.at = mul i64 %p, {PHASE}
  %p.word = add i64 %p.at, {HEADER}
  %tasks.p = getelementptr i64, ptr %plan, i64 %p.word
  %tasks = load i64, ptr %tasks.p
  store i64 %tasks, ptr %c4
  %count.p = getelementptr i64, ptr %tasks.p, i64 1
  %count = load i64, ptr %count.p
  store i64 %count, ptr %c5
  %team.p = getelementptr i64, ptr %tasks.p, i64 2
  %team = load i64, ptr %team.p
  %alone = icmp sle i64 %team, 1
  br i1 %alone, label %serial, label %parallel
serial:
  call void @work(ptr %c, i64 0, i64 1)
  br label %latch
parallel:
  %threads = trunc i64 %team to i32
  call void %gomp(ptr @team, ptr %c, i32 %threads, i32 0)
  br label %latch
latch:
  %p.next = add i64 %p, 1
  br label %loop
done:
  br i1 %needs, label %release, label %exit
release:
  call void %free(ptr %scratch)
  br label %exit
exit:
  ret void
}}
"""


def _copy(word: int, slot: int) -> str:
    return f"""
  %w{word}.p = getelementptr i64, ptr %plan, i64 {word}
  %w{word} = load i64, ptr %w{word}.p
  %s{slot} = getelementptr i64, ptr %c, i64 {slot}
  store i64 %w{word}, ptr %s{slot}"""


def many() -> str:
    """LLVM module with ``void kernel(ptr heads, ptr plan)``: one kernel over many sets of arrays.

    The plan's words: body, tasks, number of tasks, threads, omp_get_thread_num,
    omp_get_num_threads, GOMP_parallel. A task's words: where its head lies behind ``heads`` in
    bytes, its meta array, then what ``nest.TASK`` names.
    """
    return f"""
define internal void @work(ptr %c, i64 %first, i64 %step) {{
entry:
  %heads = load ptr, ptr %c
  %body.p = getelementptr ptr, ptr %c, i64 1
  %body = load ptr, ptr %body.p
  %tasks.p = getelementptr ptr, ptr %c, i64 4
  %tasks = load ptr, ptr %tasks.p
  %count.p = getelementptr ptr, ptr %c, i64 5
  %count = load i64, ptr %count.p
  br label %head.
head.:
  %t = phi i64 [ %first, %entry ], [ %next, %body. ]
  %more = icmp slt i64 %t, %count
  br i1 %more, label %body., label %exit
body.:
  %at = mul i64 %t, {len(TASK) + 2}
  %task = getelementptr i64, ptr %tasks, i64 %at
  %offset = load i64, ptr %task
  %head = getelementptr i8, ptr %heads, i64 %offset
  %meta.p = getelementptr i64, ptr %task, i64 1
  %meta = load ptr, ptr %meta.p
  %own = getelementptr i64, ptr %task, i64 2
  call void %body(ptr %head, ptr %meta, ptr %own, ptr null)
  %next = add i64 %t, %step
  br label %head.
exit:
  ret void
}}
{_TEAM}
define void @{NAME}(ptr %heads, ptr %plan) {{
entry:
  %c = alloca [8 x i64], align 8
  store ptr %heads, ptr %c
{_copy(0, 1)}{_copy(1, 4)}{_copy(2, 5)}{_copy(4, 6)}{_copy(5, 7)}
  %team.p = getelementptr i64, ptr %plan, i64 3
  %team = load i64, ptr %team.p
  %alone = icmp sle i64 %team, 1
  br i1 %alone, label %serial, label %parallel
serial:
  call void @work(ptr %c, i64 0, i64 1)
  br label %exit
parallel:
  %gomp.p = getelementptr i64, ptr %plan, i64 6
  %gomp = load ptr, ptr %gomp.p
  %threads = trunc i64 %team to i32
  call void %gomp(ptr @team, ptr %c, i32 %threads, i32 0)
  br label %exit
exit:
  ret void
}}
"""
