"""What a loader's worker process does."""

from __future__ import annotations

import gc
import os
import sys
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cupola.threads import set_num_threads
from cupola.utils.data import _utils
from cupola.utils.data._fetch import Fetcher, Recipe
from cupola.utils.data._streams import seed_streams
from cupola.utils.data._transport import receive, send

# The parent is asked for this often while a worker waits, for where its end of the pipe was
# inherited by a process that lives on.
_WATCH = 5.0
# This process' ends of pipes: a forked worker must not hold them open.
OPEN: weakref.WeakSet[Any] = weakref.WeakSet()


class Ended:
    """Answer of a worker whose iterable data set is exhausted."""


class Again:
    """Order to begin another pass, and the answer that it has begun."""


class _KeyErrorText(str):
    """``KeyError`` prints its argument's repr."""

    def __repr__(self) -> str:
        return str(self)


class Failure:
    """An exception on its way to another process."""

    def __init__(self, where: str) -> None:
        kind, value, trace = sys.exc_info()
        assert kind is not None
        self.kind: type[BaseException] = kind
        text = "".join(traceback.format_exception(kind, value, trace))
        self.text = f"Caught {kind.__name__} {where}.\nOriginal {text}"

    def reraise(self) -> None:
        """Raises the same type with the original's traceback as its text."""
        text: str = _KeyErrorText(self.text) if self.kind is KeyError else self.text
        if getattr(self.kind, "message", None):
            raise self.kind(message=text)  # type: ignore[call-arg]
        try:
            again = self.kind(text)
        except Exception:
            raise RuntimeError(text) from None  # a type that wants other arguments
        raise again


@dataclass
class Order:
    """What a worker needs to know from the start."""

    recipe: Recipe
    base_seed: int
    number: int
    num_workers: int
    init_fn: Callable[[int], None] | None
    forked: bool


def work(order: Order, connection: Any) -> None:
    """A worker's life: batches for indices until the pipe is closed."""
    try:
        _prepare(order)
        _serve(order, connection)
    except (KeyboardInterrupt, EOFError, ConnectionError):
        pass  # the parent raises, or has gone


def _prepare(order: Order) -> None:
    if order.forked:
        # The parent's objects stay as they are: none is destroyed here, least of all a GPU's.
        gc.freeze()
        for inherited in list(OPEN):
            inherited.close()
    else:
        set_num_threads(1)
    seed_streams(order.base_seed, order.number)
    _utils._worker_info = _utils.WorkerInfo(
        order.number, order.num_workers, order.base_seed + order.number, order.recipe.dataset
    )


def _serve(order: Order, connection: Any) -> None:
    where = f"in DataLoader worker process {order.number}"
    parent = os.getppid()
    answer: Any = None
    try:
        if order.init_fn is not None:
            order.init_fn(order.number)
        fetcher = Fetcher(order.recipe)
    except Exception:
        answer = Failure(where)
    failed, ended = answer is not None, False
    while True:
        while not connection.poll(_WATCH):
            if os.getppid() != parent:
                return
        request = receive(connection)
        if isinstance(request, Again):
            try:
                fetcher, failed, answer = Fetcher(order.recipe), False, request
            except Exception:
                answer, failed = Failure(where), True
                send(connection, request)
                continue
            ended = False
        elif ended:
            answer = Ended()
        elif not failed:
            try:
                answer = fetcher.fetch(request)
            except Exception as error:
                ended = order.recipe.iterable and isinstance(error, StopIteration)
                answer = Ended() if ended else Failure(where)
        _answer(connection, answer, where)
        if not failed:
            answer = None


def _answer(connection: Any, answer: Any, where: str) -> None:
    try:
        send(connection, answer)
    except (EOFError, ConnectionError):
        raise
    except Exception:
        failure = answer if isinstance(answer, Failure) else Failure(where)
        try:
            send(connection, failure)
        except (EOFError, ConnectionError):
            raise
        except Exception:
            failure.kind = RuntimeError  # a type that cannot be found by its name
            send(connection, failure)
