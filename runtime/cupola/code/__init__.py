"""Operators written in C++ and CUDA inside a Python program."""

from cupola.code.call import code
from cupola.code.where import CompileError

__all__ = ["CompileError", "code"]
