"""What hand-written modules share: a function of one argument that a team of threads runs together.

The argument is an array of 64-bit words, of which the last ones are ``WORDS``.
"""

from __future__ import annotations

WORDS = ("thread", "threads", "gomp", "team")
"""omp_get_thread_num, omp_get_num_threads and GOMP_parallel, and how many threads to ask for."""


def begin(arguments: tuple[str, ...]) -> str:
    """The start of ``@work(ptr %args)``: ``%mine`` of ``%all`` threads; ends in block ``ready``."""
    return f"""
define internal void @work(ptr %args) {{
entry:
{_word("team", arguments)}
  %alone = icmp sle i64 %team, 1
  br i1 %alone, label %single, label %several
single:
  br label %ready
several:
{_word("thread", arguments, "ptr")}
{_word("threads", arguments, "ptr")}
  %mine32 = call i32 %thread()
  %all32 = call i32 %threads()
  %mine64 = zext i32 %mine32 to i64
  %all64 = zext i32 %all32 to i64
  br label %ready
ready:
  %mine = phi i64 [ 0, %single ], [ %mine64, %several ]
  %all = phi i64 [ 1, %single ], [ %all64, %several ]"""


def entry(arguments: tuple[str, ...]) -> str:
    """``void kernel(ptr args)``, which has the team run ``@work``."""
    return f"""
define void @kernel(ptr %args) {{
{_word("team", arguments)}
  %alone = icmp sle i64 %team, 1
  br i1 %alone, label %single, label %several
single:
  call void @work(ptr %args)
  ret void
several:
{_word("gomp", arguments, "ptr")}
  %count = trunc i64 %team to i32
  call void %gomp(ptr @work, ptr %args, i32 %count, i32 0)
  ret void
}}
"""


def _word(name: str, arguments: tuple[str, ...], type_: str = "i64") -> str:
    """Loads the word ``name`` as a value of that name."""
    at = arguments.index(name)
    return (
        f"  %{name}.p = getelementptr i64, ptr %args, i64 {at}\n"
        f"  %{name} = load {type_}, ptr %{name}.p"
    )
