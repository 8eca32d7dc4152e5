"""Downloads of weights, which this package does not do."""

from __future__ import annotations

from typing import Any

from cupola.errors import UnsupportedError

__all__ = ["load_url"]


def load_url(url: str, *args: Any, **kwargs: Any) -> Any:
    """Raises UnsupportedError: fetch the file yourself and load it."""
    raise UnsupportedError(
        "utils.model_zoo.load_url", "download the file and read it with cupola.load(path)"
    )
