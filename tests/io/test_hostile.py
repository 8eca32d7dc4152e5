"""Hostile and damaged checkpoints: one error type, nothing executed, memory bounded."""

from __future__ import annotations

import functools
import io
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_files import as_legacy, as_zip, load_bytes, same, to_numpy, torch_bytes
from cupola.io import CheckpointError, load

BOTH = pytest.mark.parametrize("wrap", [as_zip, as_legacy], ids=["zip", "legacy"])


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that exists only once something from a checkpoint has been executed."""
    return tmp_path / "executed"


def refused(data: bytes, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_bytes(data)
    assert isinstance(caught.value, RuntimeError) and isinstance(
        caught.value, pickle.UnpicklingError
    )


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that would create `marker` in an unpickler that executes what it reads."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    call = b"\x85R."
    system = b"cos\nsystem\n"
    return {
        "os.system": b"\x80\x02" + system + text(command) + call,
        "posix.system": b"\x80\x02cposix\nsystem\n" + text(command) + call,
        "nt.system": b"\x80\x02cnt\nsystem\n" + text(command) + call,
        "eval": b"\x80\x02cbuiltins\neval\n" + text(code) + call,
        "exec": b"\x80\x02c__builtin__\nexec\n" + text(code) + call,
        "execfile": b"\x80\x02c__builtin__\nexecfile\n" + text(code) + call,
        "getattr": b"\x80\x02cbuiltins\ngetattr\ncos\npath\n" + text("os") + b"\x86R.",
        "__import__": b"\x80\x02cbuiltins\n__import__\n" + text("os") + call,
        "subprocess": b"\x80\x02csubprocess\nPopen\n" + text(command) + call,
        "partial": b"\x80\x02cfunctools\npartial\n" + system + text(command) + b"\x86R)R.",
        "methodcaller": b"\x80\x02coperator\nmethodcaller\n" + text("system") + call,
        "attrgetter": b"\x80\x02coperator\nattrgetter\n" + text("system") + call,
        "map": b"\x80\x02cbuiltins\nmap\n" + system + b"]" + text(command) + b"a\x86R.",
        "runpy": b"\x80\x02crunpy\nrun_path\n" + text(str(marker)) + call,
        "pty": b"\x80\x02cpty\nspawn\n" + text("true") + call,
        "torch.load": b"\x80\x02ctorch\nload\n" + text("x") + call,
        "torch.hub": b"\x80\x02ctorch.hub\nload\n" + text("x") + call,
        "numpy.load": b"\x80\x02cnumpy\nload\n" + text("x") + call,
        "runstring": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + text(code) + call,
        "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x17OrderedDict.__class__\x93.",
        "dotted builtin": b"\x80\x04" + text("builtins") + text("dict.fromkeys") + b"\x93.",
        "dotted chain": b"\x80\x04" + text("collections") + text("abc.sys.modules") + b"\x93.",
        "dunder": b"\x80\x02ccollections\n__dict__\n.",
        "INST": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(" + system + text(command) + b"o.",
        "NEWOBJ": b"\x80\x02cos\n_wrap_close\n)\x81.",
        "NEWOBJ type": b"\x80\x02cbuiltins\ntype\n" + text("x") + b")}\x87\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n)}" + text("args") + text(command) + b"s\x92.",
        "EXT1": b"\x80\x02\x82\x01)R.",
        "EXT2": b"\x80\x02\x83\x01\x00)R.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00)R.",
        "copyreg": b"\x80\x02ccopyreg\n_reconstructor\n" + system + text(command) + b"\x86R.",
        "add_extension": b"\x80\x02ccopyreg\nadd_extension\n" + text("os") + call,
        "BUILD on function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + text("a") + b"Nsb.",
        "BUILD on class": b"\x80\x02ccollections\nOrderedDict\n}" + text("a") + b"Nsb.",
        "BUILD hides method": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("items") + b"Nsb.",
        "BUILD dunder": b"\x80\x02cargparse\nNamespace\n)\x81}" + text("__class__") + b"Nsb.",
        "BUILD slots": b"\x80\x02ccollections\nOrderedDict\n)RN}" + text("a") + b"Ns\x86b.",
        "setstate": b"\x80\x02cdecimal\nDecimal\n)R}" + text("__setstate__") + system + b"sb.",
        "defaultdict factory": b"\x80\x02ccollections\ndefaultdict\n" + system + b"\x85R.",
        "rebuild as factory": b"\x80\x02ccollections\ndefaultdict\n"
        b"ctorch._utils\n_rebuild_tensor_v2\n\x85R.",
        "persistent module": b"\x80\x02(" + text("module") + system + b"NNtQ.",
        "persistent string": b"\x80\x02" + text("storage") + b"Q.",
        "PERSID": b"Pstorage\n.",
        "nested persistent id": b"\x80\x02((" + text("storage") + b"tQtQ.",
        "numpy object array": pickle.dumps(np.array([print], dtype=object), 2),
        "numpy object dtype": b"\x80\x02cnumpy\ndtype\n" + text("O8") + b"\x89\x88\x87R.",
        "numpy structured": pickle.dumps(np.dtype([("a", "i4")]), 2),
        "numpy memmap": b"\x80\x02cnumpy\nmemmap\n" + text(str(marker)) + call,
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "READONLY_BUFFER": b"\x80\x05N\x98.",
        "codec": b"\x80\x02c_codecs\nencode\n" + text("a") + text("zip") + b"\x86R.",
        "codec decode": b"\x80\x02c_codecs\ndecode\n" + text("a") + text("zip") + b"\x86R.",
        "from_type": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(" + system
        + b"ctorch\nTensor\n" + text(command) + b"\x85}tR.",
        "from_type nested": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n"
        b"q\x00(h\x00ctorch\nTensor\n)}tR.",
    }  # fmt: skip


@BOTH
def test_nothing_is_executed(wrap: Any, marker: Path) -> None:
    for name, data in attacks(marker).items():
        try:
            load_bytes(wrap(data))
        except CheckpointError:
            pass
        else:
            pytest.fail(f"{name} was read")
        assert not marker.exists(), name


def test_the_attacks_are_real(marker: Path) -> None:
    """Python's own unpickler executes them, so the test above tests something."""
    with pytest.raises(TypeError):
        pickle.loads(attacks(marker)["eval"])()
    assert marker.exists()


def test_modules_are_not_even_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from cupola.io import load_numpy\n"
        "try: load_numpy(sys.argv[1])\n"
        "except RuntimeError as error: print(error)\n"
        "assert 'antigravity' not in sys.modules\n"
    )
    path = tmp_path / "model.pt"
    path.write_bytes(as_zip(b"cantigravity\nx\n."))
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "antigravity.x" in done.stdout


def test_the_error_names_the_global_and_says_what_to_do() -> None:
    data = as_zip(b"\x80\x02cmypackage.models\nNet\n)\x81.")
    with pytest.raises(CheckpointError, match=r"mypackage\.models\.Net.*state_dict.*weights_only"):
        load(io.BytesIO(data), weights_only=False)
    with pytest.raises(CheckpointError, match=r"mypackage\.models\.Net"):
        load(io.BytesIO(data), pickle_module=pickle)
    with pytest.raises(CheckpointError, match="pickle_module"):
        load(io.BytesIO(data), pickle_module=io)
    with pytest.raises(TypeError, match="wrong"):
        load(io.BytesIO(data), wrong=1)


def nested(levels: int, one: bytes, each: bytes) -> bytes:
    return b"\x80\x02" + one + each * levels + b"."


def tensor(storage: bytes, numbers: bytes) -> bytes:
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"Q" + numbers + b"\x89NtR."


FLOATS = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04t"
BOMBS = {
    "string length": b"\x80\x02X\xff\xff\xff\xff.",
    "string length 8": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "bytes length 8": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00.",
    "bytearray length": b"\x80\x05\x96" + b"\xff" * 7 + b"\x00.",
    "long length": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "bytearray(n)": b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R.",
    "bytes(n)": b"\x80\x02cbuiltins\nbytes\nJ\x00\x00\x00\x7f\x85R.",
    "list(range)": b"\x80\x02cbuiltins\nlist\ncbuiltins\nrange\nJ\x00\x00\x00\x7f\x85R\x85R.",
    "set(range)": b"\x80\x02cbuiltins\nset\ncbuiltins\nrange\nJ\x00\x00\x00\x7f\x85R\x85R.",
    "digits": b"I" + b"9" * 100_000 + b"\n.",
    "long digits": b"L" + b"9" * 100_000 + b"L\n.",
    "deep tuple key": nested(100_000, b"}K\x00", b"\x85") [:-1] + b"K\x01s.",
    "wide tuple key": b"\x80\x02}K\x00" + b"2\x86" * 64 + b"K\x01s.",
    "wide tuple in set": b"\x80\x04\x8f(K\x00" + b"2\x86" * 64 + b"\x90.",
    "wide tuple in frozenset": b"\x80\x04(K\x00" + b"2\x86" * 64 + b"\x91.",
    "memo of nothing": b"\x80\x02h\x05.",
    "huge memo get": b"\x80\x02Nj\xff\xff\xff\xff.",
    "negative memo": b"Np-5\n.",
    "protocol": b"\x80\xff.",
    "no stop": b"\x80\x02}",
    "marks left": b"\x80\x02((((.",
    "only marks": b"(" * 100_000 + b".",
    "stack left": b"\x80\x02NNN.",
    "empty": b".",
    "pop nothing": b"0.",
    "append to dict": b"\x80\x02}K\x01a.",
    "items of list": b"\x80\x02]K\x01K\x02s.",
    "odd items": b"\x80\x02}(K\x01u.",
    "add items to list": b"\x80\x04](K\x01\x90.",
    "list as key": b"\x80\x02}]K\x01s.",
    "unknown opcode": b"\x80\x02\xff.",
    "endless line": b"c" + b"a" * 3_000_000,
    "no storage": tensor(FLOATS, b"K\x00)K)"),
    "storage count": tensor(FLOATS[:-3] + b"\x8a\x08" + b"\xff" * 7 + b"\x0ft", b"K\x00))"),
    "tensor of no storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x89NtR.",
    "numpy size": pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"J\x00\x00\x00\x7f\x85"),
    "numpy scalar size": pickle.dumps(np.float64(1), 2).replace(b"f8", b"f4"),
    "numpy dtype size": b"\x80\x02cnumpy\ndtype\n" + text("S9999999999") + b"\x89\x88\x87R.",
    "error message": tensor(FLOATS, b"K\x00]" + b"2\x86" * 64 + b")"),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, wrap: Any) -> None:
    refused(wrap(BOMBS[name]))


VIEWS = {
    "too large": b"K\x00K\x05\x85K\x01\x85",
    "offset": b"K\x01K\x04\x85K\x01\x85",
    "stride": b"K\x00K\x02\x85K\x04\x85",
    "negative offset": b"J\xff\xff\xff\xffK\x01\x85K\x01\x85",
    "negative size": b"K\x00J\xff\xff\xff\xff\x85K\x01\x85",
    "negative stride": b"K\x03K\x04\x85J\xff\xff\xff\xff\x85",
    "overflow": b"K\x00\x8a\x09" + b"\xff" * 8 + b"\x00\x85K\x00\x85",
    "overflow product": b"K\x00" + b"\x8a\x06\x00\x00\x00\x00\x00\x01" * 2 + b"\x86K\x00K\x00\x86",
    "huge empty": b"K\x00K\x00\x8a\x09" + b"\xff" * 8 + b"\x00\x86K\x00K\x00\x86",
    "rank": b"K\x00K\x01\x85K\x01K\x01\x86",
    "many dimensions": b"K\x00(" + b"K\x01" * 65 + b"t(" + b"K\x01" * 65 + b"t",
    "float size": b"K\x00G\x3f\xf0\x00\x00\x00\x00\x00\x00\x85K\x01\x85",
    "bool size": b"K\x00\x88\x85K\x01\x85",
    "text size": b"K\x00" + text("4") + b"K\x01\x85",
}


@pytest.mark.parametrize("name", VIEWS)
def test_tensors_stay_inside_their_storage(name: str) -> None:
    data = np.arange(4, dtype="<f4").tobytes()
    good = tensor(FLOATS, b"K\x01K\x03\x85K\x01\x85")
    same(load_bytes(as_zip(good, {"data/0": data})), np.array([1, 2, 3], np.float32))
    refused(as_zip(tensor(FLOATS, VIEWS[name]), {"data/0": data}))


DEEP = 20_000


def chain(make: bytes, step: bytes, fill: bytes) -> bytes:
    """A pickle that nests `DEEP` objects; `make` leaves a global in memo 0 and a key in memo 1."""
    return b"\x80\x02" + make + step * DEEP + b"N" + fill * DEEP + b"."


def class_of(name: bytes) -> bytes:
    return b"c" + name + b"\nq\x00" + text("a") + b"q\x0100"


NESTS = {
    "marks": b"\x80\x02" + b"](" * DEEP + b".",
    "list": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "tuple": b"\x80\x02N" + b"\x85" * DEEP + b".",
    "dict": chain(b"", b"}K\x01", b"s"),
    "OrderedDict": chain(class_of(b"collections\nOrderedDict"), b"h\x00)Rh\x01", b"s"),
    "Counter": chain(class_of(b"collections\nCounter"), b"h\x00)Rh\x01", b"s"),
    "defaultdict": chain(class_of(b"collections\ndefaultdict"), b"h\x00)Rh\x01", b"s"),
    "Namespace": chain(class_of(b"argparse\nNamespace"), b"h\x00)\x81}h\x01", b"sb"),
    "TorchScript": chain(class_of(b"__torch__\nA"), b"h\x00)\x81}h\x01", b"sb"),
    "SimpleNamespace": chain(class_of(b"types\nSimpleNamespace"), b"h\x00)R}h\x01", b"sb"),
}


def test_deep_nests_neither_recurse_nor_crash(tmp_path: Path) -> None:
    """In a process of its own, because a stack overflow would end it, on a small stack."""
    code = (
        "import sys, threading\n"
        "from cupola.io import load_numpy\n"
        "def work():\n"
        "    for name in sys.argv[1:]:\n"
        "        print(name, flush=True)\n"
        "        try: load_numpy(name)\n"
        "        except RuntimeError: pass\n"
        "    print('alive')\n"
        "threading.stack_size(256 * 1024)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    for name, data in NESTS.items():
        records = {"constants.pkl": b")."} if name == "TorchScript" else {}
        (tmp_path / name).write_bytes(as_zip(data, records))
    command = [sys.executable, "-c", code, *(str(tmp_path / name) for name in NESTS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["alive"], done


# -- archives --------------------------------------------------------------------------------------


def test_zip_bombs() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor(FLOATS, b"K\x00))"))
        archive.writestr("archive/byteorder", bytes(200 << 20))
    refused(out.getvalue(), "bomb")


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def test_archives_that_lie_about_themselves() -> None:
    good = torch_bytes({"a": torch.arange(100.0)})
    raw = torch.arange(100.0).numpy().tobytes()
    crc = struct.pack("<I", zlib.crc32(raw))
    at = good.rindex(crc)  # in the central directory
    larger = good[: at + 4] + struct.pack("<II", 1 << 31, 1 << 31) + good[at + 12 :]
    refused(larger)
    two_sizes = good[: at + 8] + struct.pack("<I", 1 << 31) + good[at + 12 :]
    refused(two_sizes)
    offset = good.rindex(b"archive/data/0") - 4
    header = struct.unpack("<I", good[offset : offset + 4])[0]
    refused(good[:offset] + struct.pack("<I", header + 1) + good[offset + 4 :])
    refused(good[:offset] + struct.pack("<I", 1 << 31) + good[offset + 4 :])
    refused(edited(good, raw, raw[:-1] + b"\x55"), "checksum")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("archive/data.pkl", b"N.")
    refused(other.getvalue(), "compressed")


def test_damage_that_shows_late_is_the_same_error(tmp_path: Path) -> None:
    """Tensors' bytes are read after the structure has been checked."""
    path = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(io.BytesIO(torch_bytes({"a": torch.arange(1000.0)}))) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        record = new.getinfo("archive/data/0")
    data = bytearray(path.read_bytes())
    at = record.header_offset + 30 + len(record.filename)
    data[at] = 0x06  # a block of a kind that does not exist
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"packed\.pt: .*decompress"):
        load(path)


def test_overlapping_records() -> None:
    data = as_zip(b"\x80\x02N.", {"data/0": b"x" * 64, "data/1": b"x" * 64})
    at = data.rindex(b"archive/data/1") - 4
    first = data.rindex(b"archive/data/0") - 4
    refused(data[:at] + data[first : first + 4] + data[at + 4 :], "overlap")


def test_torchscript_modules_that_grow() -> None:
    twice = b"h\x00)\x81q\x02}(" + text("a") + b"h\x03" + text("b") + b"h\x03ubq\x030"
    data = b"\x80\x02c__torch__\nA\nq\x000h\x00)\x81q\x030" + twice * 60 + b"h\x03."
    refused(as_zip(data, {"constants.pkl": b")."}), "million")
    itself = b"\x80\x02c__torch__\nA\n)\x81q\x00}" + text("a") + b"h\x00sb."
    refused(as_zip(itself, {"constants.pkl": b")."}), "itself")
    packed = b"\x80\x02c__torch__\nA\n)\x81K\x01b."
    refused(as_zip(packed, {"constants.pkl": b")."}), "packs")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_repeated_and_missing_records() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/data.pkl", b"K\x01.")
    refused(out.getvalue(), "twice")
    refused(as_zip(tensor(FLOATS, b"K\x00))")), "data/0")
    refused(as_zip(tensor(FLOATS, b"K\x00))"), {"data/0": b"123"}), "16 bytes")
    refused(as_zip(b"N.", {"byteorder": b"middle"}), "byte order")


MISTAKEN = {
    "empty": b"",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "web page": b"<!DOCTYPE html><html>not found</html>",
    "gzip": b"\x1f\x8b\x08\x00",
    "tar": b"x" * 257 + b"ustar\x00" + b"x" * 300,
    "neither": b"hello world",
    "magic number": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("what", MISTAKEN)
def test_files_that_are_something_else(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(MISTAKEN[what])
    with pytest.raises(CheckpointError, match=what) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_zip_files_that_are_something_else() -> None:
    out = io.BytesIO()
    np.savez(out, a=np.ones(2))
    refused(out.getvalue(), "numpy.load")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner/model.pt", b"")
    refused(out.getvalue(), "inner/model.pt")


def test_failures_of_the_machine_are_not_the_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.pt")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(AttributeError, match="BytesIO"):
        load(5)
    with pytest.raises(TypeError, match="binary"):
        load(io.StringIO("x"))


# -- damage ----------------------------------------------------------------------------------------


@functools.cache
def samples() -> dict[str, bytes]:
    state = OrderedDict(
        weight=torch.arange(12.0).reshape(3, 4).t(), bias=torch.ones(5, dtype=torch.bfloat16)
    )
    saved = {"state": state, "p": torch.nn.Parameter(torch.ones(2)), "n": [1, None, "x", 2.5]}
    module = torch.nn.Linear(2, 2)
    script = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.ones(1, 2)), script)
    return {
        "zip": torch_bytes(saved),
        "legacy": torch_bytes(saved, _use_new_zipfile_serialization=False),
        "script": script.getvalue(),
    }


@pytest.mark.parametrize("kind", ["zip", "legacy", "script"])
def test_truncation_is_always_noticed(kind: str) -> None:
    data = samples()[kind]
    load_bytes(data)
    for length in range(0, len(data), max(1, len(data) // 150)):
        refused(data[:length])


def survives(data: bytes) -> None:
    """Loading either gives an object or the documented error."""
    try:
        load_bytes(data)
    except CheckpointError:
        pass


SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("kind", ["zip", "legacy", "script"])
@SETTINGS
@given(seed=st.integers(0, 2**32), count=st.integers(1, 8))
def test_flipped_bytes(kind: str, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    damaged = bytearray(samples()[kind])
    for at in rng.integers(0, len(damaged), count):
        damaged[at] ^= int(rng.integers(1, 256))
    survives(bytes(damaged))


@SETTINGS
@given(seed=st.integers(0, 2**32), count=st.integers(1, 8))
def test_flipped_bytes_of_the_pickle(seed: int, count: int) -> None:
    """Past the checksums, as an attacker would."""
    with zipfile.ZipFile(io.BytesIO(samples()["zip"])) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    rng = np.random.default_rng(seed)
    damaged = bytearray(records.pop("data.pkl"))
    for at in rng.integers(0, len(damaged), count):
        damaged[at] ^= int(rng.integers(1, 256))
    survives(as_zip(bytes(damaged), records))


OPCODES = [code for code in vars(pickle).values() if isinstance(code, bytes) and len(code) == 1]
WORDS = [b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", text("storage"),
         b"cbuiltins\nset\n", b"cnumpy\ndtype\n", b"ctorch\nFloatStorage\n", FLOATS + b"Q",
         b"cnumpy.core.multiarray\n_reconstruct\n", b"K\x01", b"\x89", text("f4"), b"(", b")", b"t",
         b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch\nSize\n", b"ctorch\nfloat32\n",
         b"ctorch._utils\n_rebuild_parameter\n", b"c_codecs\nencode\n", text("latin1")]  # fmt: skip


@SETTINGS
@given(st.lists(st.sampled_from(OPCODES + WORDS * 3) | st.binary(max_size=3), max_size=40))
def test_random_pickles(words: list[bytes]) -> None:
    survives(as_zip(b"".join(words) + b".", {"data/0": bytes(16)}))


def test_memory_stays_in_proportion() -> None:
    """A small hostile file must not make a process large."""
    bombs = [as_zip(b"\x80\x04" + b"\x8f" * 100_000 + b"."), *(as_zip(b) for b in BOMBS.values())]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in bombs:
        survives(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_harmless_files_still_load() -> None:
    theirs = torch.load(io.BytesIO(samples()["zip"]))
    same(load_bytes(samples()["zip"]), to_numpy(theirs))
    assert load_bytes(as_zip(pickle.dumps(defaultdict(list), 2))) == {}
