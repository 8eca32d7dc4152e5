"""How much memory arrays may take: ``CUPOLA_MEMORY_LIMIT``."""

from __future__ import annotations

import os
import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FORM = re.compile(r"\s*(\d+(?:\.\d*)?)\s*(?:([KMGT]?)(?:i?B)?|(%))\s*", re.IGNORECASE)


def physical() -> int:
    """Bytes of this machine's memory; 16 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 << 30


def memory_limit(total: int) -> int | None:
    """Bytes that arrays may take of a device's ``total``: what ``CUPOLA_MEMORY_LIMIT`` says, as
    ``8G``, ``512M`` (powers of 1024) or ``50%``; None if it is not set.

    Raises:
        ValueError: the variable holds something else.
    """
    text = os.environ.get("CUPOLA_MEMORY_LIMIT", "")
    if not text.strip():
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"CUPOLA_MEMORY_LIMIT={text!r} is no amount of memory: write 8G, 512M or 50%"
        )
    number, unit, percent = found.groups()
    if percent:
        return int(total * float(number) / 100)
    return int(float(number) * _UNITS[(unit or "").upper()])
