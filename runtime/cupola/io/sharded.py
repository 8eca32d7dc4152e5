"""Sharded checkpoints of Hugging Face: a JSON index that says which file holds which tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from cupola.io.errors import CheckpointError, guarded
from cupola.io.source import Source

MAX_INDEX = 100_000_000


def weight_map(source: Source) -> dict[str, str] | None:
    """The index's table of names and files; None when the file is JSON of another kind."""
    if source.size > MAX_INDEX:
        return None
    try:
        # JSON is UTF-8; json.loads would guess at bytes and import the codec it guessed.
        table = json.loads(source.read(0, source.size).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    names = table.get("weight_map") if isinstance(table, dict) else None
    return names if isinstance(names, dict) else None


def read(f: Any, table: dict[str, str], read_shard: Callable[[str], Any]) -> dict[str, Any]:
    """All tensors of the index at the path `f`, in its order.

    Each shard must lie beside the index, be no index itself, and hold what the index says.
    """
    if not isinstance(f, (str, os.PathLike)):
        raise CheckpointError(
            "this is the index of a sharded checkpoint: load it by its path, beside its shards"
        )
    path = os.fspath(f)
    with guarded(path):
        for shard in set(table.values()):
            # The index may come from anywhere: it must not make us read other places.
            if not _plain(shard):
                raise CheckpointError(f"the index names the shard {shard!r}, not a file beside it")
    found: dict[str, Any] = {}
    for shard in dict.fromkeys(table.values()):
        tensors = read_shard(os.path.join(os.path.dirname(path), shard))
        for name in [name for name, place in table.items() if place == shard]:
            if not isinstance(tensors, dict) or name not in tensors:
                raise CheckpointError(f"{path}: the shard {shard} does not hold {name!r}")
            found[name] = tensors[name]
    return {name: found[name] for name in table}


def _plain(name: Any) -> bool:
    """Tells whether a shard's name is that of a file beside the index, and nothing cleverer."""
    if not isinstance(name, str) or not name or name != os.path.basename(name.replace("\\", "/")):
        return False
    # Names with a null or half of a surrogate pair cannot be opened.
    return name.isprintable() and not name.startswith(".") and not name.endswith((".json", " "))
