"""Compiles LLVM IR in this process, through llvmlite and the disk cache."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import glob
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from cupola.backends.cache import DiskCache
from cupola.codegen import form
from cupola.codegen import llvm as dialect
from cupola.codegen.llvm import SYMBOLS, Program, Target, library_function, target_from_features
from cupola.ir import forks

_PLACEHOLDER = "@kernel("


class Jit:
    """Turns module texts into function addresses; one per process.

    Attributes:
        target: the processor that code is generated for.
        cache: compiled code on disk.
    """

    def __init__(self, cache: DiskCache | None = None, target: Target | None = None) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # Half of the compilation time, and no gain: generated addresses are in their final form.
        llvm.set_option("cupola", "-disable-lsr")
        self.target = _host() if target is None else target
        self.cache = DiskCache("cpu") if cache is None else cache
        self._machine = llvm.Target.from_triple(self.target.triple).create_target_machine(
            cpu=self.target.cpu,
            features=self.target.features,
            opt=2,
            reloc="default",
            codemodel="jitdefault",
            jit=True,
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._machine)
        self._lock = forks.hold(threading.Lock())
        forks.hold(llvm.ffi.lib._lock._lock)
        self._programs: dict[str, tuple[int, int]] = {}
        self._symbols: set[str] = set()
        self._version = f"llvmlite {llvmlite.__version__} {self.target.key}"
        _add_libm()

    def program(self, key: str, make: Callable[[], Program]) -> tuple[int, int]:
        """Address of a kernel's code, and its ``Program.parts``.

        ``make`` generates the program; it is called only if no code for ``key`` is on disk.
        """
        digest = self._digest(f"{_generator()}\n{key}")
        with self._lock:
            found = self._programs.get(digest)
            if found is None:
                name = f"k{digest[:32]}"
                entry = self.cache.get(digest)
                if entry is None:
                    program = make()
                    code = self._build(program.text.replace(_PLACEHOLDER, f"@{name}("))
                    facts = json.dumps({"parts": program.parts, "needs": program.needs})
                    entry = facts.encode() + b"\n" + code
                    self.cache.put(digest, entry)
                head, code = entry.split(b"\n", 1)
                known = json.loads(head)
                for symbol, function in known["needs"].items():
                    self._need(symbol, *function)
                found = self._programs[digest] = (self._add(name, code), known["parts"])
            return found

    def module(self, text: str) -> int:
        """Address of the function named ``kernel`` in a module's text."""
        digest = self._digest(text)
        name = f"k{digest[:32]}"
        with self._lock:
            return self._load(digest, name, text.replace(_PLACEHOLDER, f"@{name}("))

    def _need(self, symbol: str, op: str, type_: str, lanes: int) -> None:
        """Makes a library function available to the code that is added next."""
        if symbol not in self._symbols:
            text = library_function(self.target, symbol, op, type_, lanes)
            self._load(self._digest(text), symbol, text)
            self._symbols.add(symbol)

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self._version}\n{text}".encode()).hexdigest()

    def _load(self, digest: str, name: str, text: str) -> int:
        code = self.cache.get(digest)
        if code is None:
            code = self._build(text)
            self.cache.put(digest, code)
        return self._add(name, code)

    def _add(self, name: str, code: bytes) -> int:
        self._engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        address: int = self._engine.get_function_address(name)
        return address

    def _build(self, text: str) -> bytes:
        module = llvm.parse_assembly(text)
        code: bytes = self._machine.emit_object(module)
        return code

    def assembly(self, text: str) -> str:
        """The machine code as text, to look at."""
        result: str = self._machine.emit_assembly(llvm.parse_assembly(text))
        return result


@functools.cache
def _generator() -> str:
    """Differs whenever the code generator does, so that its output on disk is not used too long."""
    digest = hashlib.sha256()
    for name in (form.__file__, *sorted(glob.glob(str(Path(dialect.__file__).parent / "*.py")))):
        digest.update(Path(name).read_bytes())
    return digest.hexdigest()


def _host() -> Target:
    """This machine's processor."""
    features = dict(llvm.get_host_cpu_features())
    return target_from_features(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)


def _add_libm() -> None:
    """Makes the C library's functions known under their own names."""
    name = ctypes.util.find_library("m")
    library: Any = ctypes.CDLL(name)
    for symbol in SYMBOLS:
        function = getattr(library, symbol, None)
        if function is not None:
            llvm.add_symbol(symbol, ctypes.cast(function, ctypes.c_void_p).value)
