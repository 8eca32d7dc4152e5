"""The converter: rewrites Python source that uses PyTorch so that it runs on cupola.

Sources pass through these stages, each one module: discover -> source -> walk -> module -> rules
-> convert (one file), then link -> plan (the repository) and journal (the disk). Names of the
runtime are strings here.
"""

from cupola_transpiler.convert import convert_source

__all__ = ["convert_source"]
