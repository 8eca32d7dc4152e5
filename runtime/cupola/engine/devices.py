"""The backend of each device type, made on first use."""

from __future__ import annotations

import os

from cupola.backends.base import Backend
from cupola.errors import BackendError

_backends: dict[str, Backend] = {}
_inherited: list[Backend] = []


def backend(device_type: str) -> Backend:
    """The backend of a device type, made on first use.

    ``CUPOLA_BACKEND=reference`` runs everything on the CPU through the NumPy references instead.

    Raises:
        BackendError: this installation or machine has no such device; the text says what to
            install.
    """
    found = _backends.get(device_type)
    if found is None:
        if device_type == "cuda":
            from cupola.backends.cuda import CUDABackend

            found = CUDABackend()
        elif device_type == "cpu":
            if os.environ.get("CUPOLA_BACKEND") == "reference":
                from cupola.backends.reference import ReferenceBackend

                found = ReferenceBackend()
            else:
                from cupola.backends.cpu import CPUBackend

                found = CPUBackend()
        else:
            raise BackendError(
                f"device type {device_type!r} holds no values: nothing can be computed there"
            )
        _backends[device_type] = found
    return found


def use_backend(device_type: str, instance: Backend) -> None:
    """Replaces a backend."""
    _backends[device_type] = instance


def _after_fork_in_child() -> None:
    # Not destroyed: its destructors would call a driver that does not work in a forked process.
    found = _backends.pop("cuda", None)
    if found is not None:
        _inherited.append(found)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
