"""A forked child: its locks are free, and the parent's GPU cannot be used there."""

from __future__ import annotations

import os
import threading

import pytest

from cupola.backends.cuda import device
from cupola.errors import BackendError
from cupola.ir import forks


def in_child(function):
    """What a forked child's function returns, a small number."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_held_locks_are_free_in_the_child():
    lock, begun, go_on = forks.hold(threading.Lock()), threading.Event(), threading.Event()
    state = []

    def change():
        with lock:
            state.append(1)
            begun.set()
            go_on.wait(0.3)
            state.append(2)

    thread = threading.Thread(target=change)
    thread.start()
    begun.wait()
    assert in_child(lambda: len(state) if lock.acquire(timeout=1) else 99) == 2
    thread.join()
    assert lock.acquire(timeout=1)


def test_cuda_of_the_parent(monkeypatch):
    device._found()
    monkeypatch.setattr(device, "_found", lambda: (None, 1, ""))
    device._found.cache_info = lambda: type("Info", (), {"currsize": 1})

    def use():
        with pytest.raises(BackendError, match="Cannot re-initialize CUDA in forked subprocess"):
            device.require()
        return 7

    assert in_child(use) == 7
    assert device.require() is None
