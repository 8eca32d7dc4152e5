"""Locks that are free in a forked child (a data loader's worker).

Another thread may hold a lock at the moment of a fork: in the child nobody would ever release it.
Locks held here are taken before a fork and released after it on both sides, so that what they
protect is whole in the child too.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

# A lock that the forking thread itself holds cannot be taken: it goes on without.
_PATIENCE = 2.0
_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_taken: list[Any] = []


def hold(lock: Any) -> Any:
    """Has forks wait for the lock; returns it."""
    _locks.add(lock)
    return lock


def _before() -> None:
    _taken.extend(lock for lock in list(_locks) if lock.acquire(timeout=_PATIENCE))


def _after() -> None:
    while _taken:
        _taken.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
