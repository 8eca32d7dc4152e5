"""A watch over all ranks: one that hangs, has ended or waits elsewhere ends the job, by name.

Every rank reports once a second to the first one, beside MPI, from a thread: how many collectives
it has entered, whether it waits in one, and since when its main thread has been at the same place.
``CUPOLA_MPI_TIMEOUT`` is how many seconds a rank may stay at one place while another waits for it
(20; 0 turns the watch off); ``patience`` marks long work.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from cupola.distributed import faults
from cupola.ir.op import pending

_EVERY = 1.0
_ENDED_GRACE = 5.0
_FRAMES = 40


def timeout() -> float:
    """Seconds after which a rank that others wait for counts as hanging; 0: never."""
    return float(os.environ.get("CUPOLA_MPI_TIMEOUT", "20"))


class Status:
    """What this rank is doing; read by the reporting thread."""

    def __init__(self) -> None:
        self.calls = 0
        self.waiting: tuple[float, str] | None = None
        self.patient = 0
        self.gpu = False
        self.ended = False
        self._place: Any = None
        self._since = time.monotonic()

    def report(self, main: int) -> dict[str, Any]:
        """One message; ``main`` is the main thread."""
        now = time.monotonic()
        place = (pending.count, self.calls, _position(main))
        if place != self._place or self.patient or sys.gettrace() is not None:
            self._place, self._since = place, now
        waiting = self.waiting
        return {
            "calls": self.calls,
            "waits": None if waiting is None else now - waiting[0],
            "what": None if waiting is None else waiting[1],
            "idle": now - self._since,
            "gpu": self.gpu,
            "ended": self.ended,
        }


def _position(thread: int) -> tuple[Any, ...]:
    frame, out = sys._current_frames().get(thread), []
    while frame is not None and len(out) < _FRAMES:
        out.append((id(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    return tuple(out)


status = Status()


class collective:
    """A block in which this rank communicates."""

    __slots__ = ("_attrs", "_dtype", "_group", "_kind", "_shape")

    def __init__(self, kind: str, group: Any, shape: Any, dtype: Any, attrs: Any) -> None:
        self._kind, self._group = kind, group
        self._shape, self._dtype, self._attrs = shape, dtype, attrs

    def __enter__(self) -> None:
        self._group.sequence += 1
        if self._group.size > 1:
            status.calls += 1
            status.waiting = (time.monotonic(), self)  # type: ignore[assignment]

    def __exit__(self, *exc: object) -> None:
        status.waiting = None

    def __str__(self) -> str:
        of = "" if self._dtype is None else f" of {self._dtype} {list(self._shape)}"
        attrs = ", ".join(f"{k}={v}" for k, v in self._attrs.items())
        return f"{self._kind}{of}{f' ({attrs})' if attrs else ''} number {self._group.sequence}"


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Work in the block may take any time without counting as a hang."""
    status.patient += 1
    try:
        yield
    finally:
        status.patient -= 1


Report = dict[str, Any]


def judge(reports: dict[int, Report], limit: float) -> tuple[list[int], str] | None:
    """Who holds the job up, and why; None while all is well.

    Args:
        reports: the latest message of each rank, with ``age``, the seconds since it came.
        limit: seconds that a rank may keep others waiting.
    """
    waiting = {r: s for r, s in reports.items() if s["waits"] is not None and not s["ended"]}
    longest = max((s["waits"] for s in waiting.values()), default=0.0)
    others = {r: s for r, s in reports.items() if r not in waiting}
    waiters = "; ".join(f"rank {r} waits in {s['what']}" for r, s in waiting.items())
    ended = [r for r, s in others.items() if s["ended"]]
    if ended and longest >= min(_ENDED_GRACE, limit):
        return ended, f"the program has ended there, but {waiters}"
    silent = [r for r, s in others.items() if s["age"] >= limit and not s["ended"]]
    if silent:
        return silent, f"it has not answered for {limit:g} s"
    stuck = [r for r, s in others.items() if s["idle"] >= limit]
    if stuck and longest >= limit:
        return stuck, f"it has been at one place for {limit:g} s, while {waiters}"
    if waiting and not others and min(s["waits"] for s in waiting.values()) >= limit:
        calls = {s["what"] for s in waiting.values()}
        if len(calls) > 1 or longest >= 10 * limit:
            return list(waiting), f"the ranks wait for each other: {waiters}"
    if not waiting and len(stuck) == len(reports) and any(s["gpu"] for s in reports.values()):
        fewest = min(s["calls"] for s in reports.values())
        if any(s["calls"] > fewest for s in reports.values()):
            behind = [r for r, s in reports.items() if s["calls"] == fewest]
            return behind, f"other ranks are ahead of it, and wait on their GPUs for {limit:g} s"
    return None


class Watch:
    """The threads of this rank: its reporter, and at the first rank the judge."""

    def __init__(self, world: Any) -> None:
        self.rank, self.size, self.limit = world.rank, world.size, timeout()
        self._main = threading.main_thread().ident or 0
        self._all_ended = threading.Event()
        server, address = None, None
        if self.rank == 0:
            server = socket.create_server(("", 0), backlog=self.size)
            address = (socket.gethostname(), server.getsockname()[1], secrets.token_hex(16))
        host, port, token = world.transport.broadcast_object(address, 0)
        if server is not None:
            self._start(self._judge, server, token)
        if host == socket.gethostname():
            host = "127.0.0.1"
        self._start(self._report, (host, port), token)

    @staticmethod
    def _start(target: Any, *args: Any) -> None:
        threading.Thread(target=target, args=args, daemon=True, name="cupola watch").start()

    def _report(self, address: tuple[str, int], token: str) -> None:
        try:
            link = socket.create_connection(address, timeout=30)
        except OSError:
            return  # no route beside MPI: the job runs unwatched
        link.settimeout(None)
        self._link, self._lock = link, threading.Lock()
        self._send({"token": token, "rank": self.rank})
        self._start(self._listen, link)
        while True:
            if not self._send(status.report(self._main)):
                return
            time.sleep(_EVERY)

    def _send(self, message: dict[str, Any]) -> bool:
        message = {k: str(v) if k == "what" and v is not None else v for k, v in message.items()}
        try:
            with self._lock:
                self._link.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def _listen(self, link: socket.socket) -> None:
        for line in link.makefile("r"):
            faults.fail(line.strip(), self._main)

    def _judge(self, server: socket.socket, token: str) -> None:
        """Collects reports, and ends the job when somebody holds it up."""
        chosen = selectors.DefaultSelector()
        chosen.register(server, selectors.EVENT_READ, None)
        links: dict[int, socket.socket] = {}
        heard: dict[int, tuple[float, Report]] = {}
        parts: dict[socket.socket, bytes] = {}
        while True:
            for key, _ in chosen.select(_EVERY):
                if key.fileobj is server:
                    link, _ = server.accept()
                    chosen.register(link, selectors.EVENT_READ, [None])
                    continue
                link = key.fileobj  # type: ignore[assignment]
                data = _received(link)
                if not data:
                    chosen.unregister(link)
                    continue
                *lines, parts[link] = (parts.get(link, b"") + data).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if key.data[0] is None:
                        if message.get("token") != token:
                            chosen.unregister(link)
                            link.close()
                            break
                        key.data[0] = message["rank"]
                        links[message["rank"]] = link
                    else:
                        heard[key.data[0]] = (time.monotonic(), message)
            if len(heard) == self.size:
                self._decide(heard, links)

    def _decide(self, heard: dict[int, tuple[float, Report]], links: dict[int, Any]) -> None:
        if all(message["ended"] for _, message in heard.values()):
            self._all_ended.set()
            return
        if self.limit <= 0:
            return
        now = time.monotonic()
        verdict = judge({r: {**m, "age": now - t} for r, (t, m) in heard.items()}, self.limit)
        if verdict is None:
            return
        ranks, why = verdict
        faults.say(f"cupola: rank {_listed(ranks)} holds the job up: {why}\n")
        for rank in ranks:
            with contextlib.suppress(OSError):
                links[rank].sendall(f"rank {rank} was stopped here: {why}\n".encode())
        time.sleep(3)  # a rank that still answers prints its own traceback
        faults.abort()

    def close(self) -> None:
        """Called when the program has ended: the first rank judges until all others have, too."""
        status.ended = True
        if not hasattr(self, "_link"):
            return
        self._send(status.report(self._main))
        if self.rank == 0:
            self._all_ended.wait()


def _received(link: socket.socket) -> bytes:
    try:
        return link.recv(1 << 16)
    except OSError:
        return b""


def _listed(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))
