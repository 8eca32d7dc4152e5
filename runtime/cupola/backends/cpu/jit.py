"""Compiles LLVM IR in this process, through llvmlite and the disk cache."""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from cupola.backends.cache import DiskCache
from cupola.codegen.llvm import SYMBOLS, Target, library_function, target_from_features

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
        self._lock = threading.Lock()
        self._addresses: dict[str, int] = {}
        self._version = f"llvmlite {llvmlite.__version__} {self.target.key}"
        _add_libm()

    def compile(self, text: str, needs: Mapping[str, tuple[str, str, int]] | None = None) -> int:
        """Address of the function named ``kernel`` in the module text; ``needs`` as in
        ``Program``.
        """
        digest = self._digest(text)
        with self._lock:
            found = self._addresses.get(digest)
            if found is None:
                for symbol, (op, type_, lanes) in (needs or {}).items():
                    if symbol not in self._addresses:
                        code = library_function(self.target, symbol, op, type_, lanes)
                        self._addresses[symbol] = self._load(self._digest(code), symbol, code)
                name = f"k{digest[:32]}"
                text = text.replace(_PLACEHOLDER, f"@{name}(")
                found = self._addresses[digest] = self._load(digest, name, text)
            return found

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self._version}\n{text}".encode()).hexdigest()

    def _load(self, digest: str, name: str, text: str) -> int:
        code = self.cache.get(digest)
        if code is None:
            code = self._build(text)
            self.cache.put(digest, code)
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
