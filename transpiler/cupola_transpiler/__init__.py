"""The converter: rewrites Python source that uses PyTorch so that it runs on cupola.

Sources pass through these stages, each one module: discover -> source -> walk -> module -> rules
-> convert (one file), then link -> plan (the repository) and journal (the disk). Names of the
runtime are strings here.
"""

from typing import Any

__all__ = ["convert_source"]


def __getattr__(name: str) -> Any:
    # LibCST takes a while to load, and `cupola --help` or `cupola parity` do not need it.
    if name == "convert_source":
        from cupola_transpiler.convert import convert_source

        return convert_source
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
