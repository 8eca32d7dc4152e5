"""What happens when a rank fails: its traceback, then the end of the whole job."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any

_PRINTING = 0.5  # seconds

_state: dict[str, Any] = {"rank": 0, "size": 1, "abort": None}


def install(rank: int, size: int, abort: Any) -> None:
    """An exception that nothing catches ends the job: ``abort(code)`` is MPI's."""
    _state.update(rank=rank, size=size, abort=abort)
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        lines = traceback.format_exception(kind, error, trace)
        if before is not sys.__excepthook__:
            before(kind, error, trace)
        else:
            say(_prefixed("".join(lines)))
        abort_now(130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = hook


def say(text: str) -> None:
    """Writes to the process's standard error, whatever ``sys.stderr`` is."""
    data = text.encode(errors="replace")
    while data:
        data = data[os.write(2, data) :]


def _prefixed(text: str) -> str:
    """One block a rank, each line marked: several ranks may write at the same time."""
    mark = f"[rank {_state['rank']} of {_state['size']}] "
    return "".join(mark + line for line in text.splitlines(keepends=True))


def fail(why: str, thread: int) -> None:
    """Prints where a thread is, then ends the job."""
    frame = sys._current_frames().get(thread)
    lines = ["Traceback (most recent call last):\n", *traceback.format_stack(frame)]
    say(_prefixed("".join(lines) + f"cupola: {why}\n"))
    abort_now(1)


def abort() -> None:
    """Ends the job."""
    abort_now(1)


def abort_now(code: int) -> None:
    """Ends the job: MPI's abort where it answers, else by leaving without it, which mpirun sees."""
    for stream in (sys.stdout, sys.__stdout__):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    if _state["abort"] is not None:
        # The launcher passes on what ranks have printed; the abort ends the launcher, too.
        time.sleep(_PRINTING)
        threading.Thread(target=_state["abort"], args=(code,), daemon=True).start()
        time.sleep(2)
    os._exit(code)
