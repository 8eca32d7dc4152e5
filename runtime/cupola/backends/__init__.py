"""Devices that programs run on. Only ``cuda`` imports cupy, and only when it is asked for."""

from cupola.backends.base import Backend

__all__ = ["Backend"]
