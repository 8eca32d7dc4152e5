"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing for what is quick."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 5.0  # seconds between plain lines


@contextmanager
def progress(title: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Yields a function to be told how many more items are done."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda number: bar.advance(task, number)
        return
    done, last = 0, time.monotonic()

    def step(number: int) -> None:
        nonlocal done, last
        done += number
        if time.monotonic() - last >= PLAIN_EVERY:
            last = time.monotonic()
            console.print(f"{title} {done:,} of {total:,} files", highlight=False)

    yield step
