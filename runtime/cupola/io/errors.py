"""The one error that reading a checkpoint raises."""

from __future__ import annotations

import contextlib
import pickle
import reprlib
from collections.abc import Iterator
from typing import Any

_PASSED_ON = (OSError, MemoryError)


class CheckpointError(RuntimeError, pickle.UnpicklingError):
    """A checkpoint is damaged, hostile, or holds something that cupola does not read.

    Code written for PyTorch catches either `RuntimeError` or `pickle.UnpicklingError`, whichever
    its version raised, so this is both. Nothing from the file has been executed when it is raised.
    """


@contextlib.contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn whatever the parsing of hostile bytes trips over into a `CheckpointError`.

    The formats are read with the standard library's own readers where that is possible, and those
    raise a dozen error types (struct.error, zlib.error, BadZipFile, UnicodeDecodeError, ...).
    Failures of the machine (`OSError`, `MemoryError`) say nothing about the file and pass.
    """
    try:
        yield
    except CheckpointError as error:
        if str(error).startswith(name):
            raise
        raise CheckpointError(f"{name}: {error}") from error.__cause__
    except _PASSED_ON:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise CheckpointError(
            f"{name}: the file is damaged or is not a checkpoint ({reason}). Fetch it again, or "
            "check that it was written completely."
        ) from error


def short(value: Any) -> str:
    """`value` for an error message, without following what a hostile file nested in it."""
    text = reprlib.repr(value) if isinstance(value, (str, bytes, int, float)) else f"{type(value)}"
    return text[:80]
