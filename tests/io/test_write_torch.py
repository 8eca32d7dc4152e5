"""Files that cupola writes, read by torch, and by cupola again."""

from __future__ import annotations

import io
import os
import pathlib
import stat
import zipfile
from collections import Counter, OrderedDict, defaultdict
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from checkpoint_files import load_bytes, numpy_bytes, same, to_numpy
from cupola.io import load_numpy
from cupola.io.seam import Parts, View, array_parts
from cupola.io.writer import write

FORMATS = pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
DTYPES = "float64 float32 float16 int64 int32 int16 int8 uint8 bool complex64 complex128".split()
NEW_DTYPES = "uint16 uint32 uint64".split()


def torch_load(data: bytes, weights_only: bool = True) -> Any:
    return torch.load(io.BytesIO(data), weights_only=weights_only)


@FORMATS
def test_every_dtype(as_zip: bool) -> None:
    names = DTYPES + NEW_DTYPES if as_zip else DTYPES
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in names}
    data = numpy_bytes(arrays, as_zip=as_zip)
    theirs = torch_load(data)
    same(arrays, to_numpy(theirs))
    assert all(str(theirs[name].dtype) == f"torch.{name}" for name in names)
    same(load_bytes(data), arrays)


def test_the_legacy_format_has_no_new_dtypes() -> None:
    # torch writes such files, and cannot read them.
    with pytest.raises(TypeError, match="zip"):
        numpy_bytes([np.ones(2, np.uint16)], as_zip=False)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats(name: str) -> None:
    array = np.linspace(-2, 2, 7).astype(getattr(ml_dtypes, name))
    data = numpy_bytes([array])
    (theirs,) = torch_load(data)
    assert str(theirs.dtype) == f"torch.{name}"
    same(array, to_numpy(theirs))
    same(load_bytes(data), [array])


@FORMATS
def test_views_keep_geometry_and_storage(as_zip: bool) -> None:
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    saved = [
        base, base.transpose(2, 0, 1), base[1], base[:, 1:, ::2],
        np.broadcast_to(base, (5, 2, 3, 4)), base[::-1],
        np.array(3, np.float32), np.empty((0, 3)), fortran, fortran[1],
    ]  # fmt: skip
    data = numpy_bytes(saved, as_zip=as_zip)
    theirs = torch_load(data)
    same(saved, to_numpy(theirs))
    for i in (1, 2, 3, 4, 8, 9):
        assert theirs[i].stride() == tuple(n // saved[i].itemsize for n in saved[i].strides)
    pointers = [t.untyped_storage().data_ptr() for t in theirs]
    assert len(set(pointers[:5])) == 1 and pointers[8] == pointers[9]
    assert pointers[5] != pointers[0]  # torch has no negative strides: a copy
    same(load_bytes(data), saved)
    if as_zip:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            stored = sum("/data/" in name for name in archive.namelist())
            assert stored == 5 and archive.testzip() is None


def test_state_dict_with_metadata_loads_strictly() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state: OrderedDict[str, Any] = OrderedDict(to_numpy(model.state_dict()))
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    theirs = torch_load(numpy_bytes(state))
    assert theirs._metadata == model.state_dict()._metadata
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(theirs, strict=True)
    assert all(map(torch.equal, other.state_dict().values(), model.state_dict().values()))


def test_parameters_and_their_hooks_are_separate() -> None:
    class Parameter(np.ndarray):
        pass

    def parts(obj: Any) -> Parts | None:
        made = array_parts(np.asarray(obj)) if isinstance(obj, np.ndarray) else None
        if made is None or type(obj) is np.ndarray:
            return made
        view = View(made.view.dtype, made.view.offset, made.view.size, made.view.stride, True)
        return Parts(made.data, made.key, view, parameter=True)

    buffer = io.BytesIO()
    first = np.ones(2).view(Parameter)
    write([first, np.zeros(3).view(Parameter), np.zeros(1), first], buffer, parts)
    one, two, plain, again = torch_load(buffer.getvalue())
    assert type(one) is type(two) is torch.nn.Parameter and type(plain) is torch.Tensor
    assert one.requires_grad and not plain.requires_grad and one is again
    one.register_hook(lambda grad: grad)
    assert not two._backward_hooks


PLAIN = {
    "none": None,
    "numbers": [True, False, 0, -1, 255, 256, 65536, -(2**31), 2**31, 2**2030, 1.5, float("inf")],
    "complex": 2 - 3j,
    "text": ["héllo", "", "x" * 70000, "\ud800"],
    "bytes": [b"", b"\x00\xff", bytearray(b"xyz"), bytearray()],
    "sets": [set(), {1, 2}],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "nested": {"a": [{"b": (1, [2])}]},
    "ordered": OrderedDict(b=1, a=2),
    "counter": Counter("hello"),
    1: "integer key",
    (1, "x"): "tuple key",
    "long": list(range(2500)),
    "wide": {str(i): i for i in range(2500)},
}
LOCAL = {
    "huge": 2**2100,
    "frozen": frozenset({"a"}),
    "slice": [slice(1, None), range(3)],
    "default": defaultdict(list, a=[1]),
    "namespace": SimpleNamespace(a=1),
    "numpy": [np.float64(1.5), np.int8(3), np.bool_(True), np.array(["a", "bc"])],
    "numpy dtype": [np.dtype("float32"), np.dtype(">f4"), np.dtype("S3")],
}


@FORMATS
def test_python_objects(as_zip: bool) -> None:
    data = numpy_bytes(PLAIN, as_zip=as_zip)
    assert torch_load(data) == PLAIN
    ours = load_bytes(data)
    assert ours == PLAIN and type(ours["ordered"]) is OrderedDict


@FORMATS
def test_objects_that_torch_reads_only_as_code(as_zip: bool) -> None:
    data = numpy_bytes(LOCAL, as_zip=as_zip)
    same(torch_load(data, weights_only=False), LOCAL)
    ours = load_bytes(data)
    same(ours, LOCAL)
    assert ours["default"].default_factory is list and type(ours["numpy"][0]) is np.float64


def test_recursive_and_shared_objects() -> None:
    shared = [1]
    loop: list[Any] = [shared, shared]
    loop.append((loop, 2))
    inner = OrderedDict()
    inner["self"] = inner
    data = numpy_bytes([loop, inner])
    for loaded in (torch_load(data), load_bytes(data)):
        assert loaded[0][2][0] is loaded[0] and loaded[0][0] is loaded[0][1]
        assert loaded[1]["self"] is loaded[1]


def test_what_is_not_data_is_refused_with_its_place() -> None:
    for value in (print, object(), pathlib.PurePosixPath("x"), torch.nn.Linear, lambda: 0):
        with pytest.raises(TypeError, match=r"checkpoint\['a'\]\[1\] is a .*state_dict"):
            numpy_bytes({"a": [0, value]})
    with pytest.raises(TypeError, match="factory"):
        numpy_bytes(defaultdict(lambda: 0))
    with pytest.raises(RuntimeError, match="clone"):
        array = np.arange(4.0)
        numpy_bytes([array, array.view(np.int64)])


def test_records_are_aligned_and_named_after_the_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.final.pth"
    write([np.ones(3), np.ones(5, np.int8), np.ones(7, np.float32)], path, array_parts)
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist()[0] == "weights.final/data.pkl"
        for info in archive.infolist():
            extra = int.from_bytes(raw[info.header_offset + 28 :][:2], "little")
            assert (info.header_offset + 30 + len(info.filename) + extra) % 64 == 0
    assert len(torch.load(path, mmap=True)) == 3
    assert len(torch.load(path, map_location="meta")) == 3


def test_the_same_objects_give_the_same_bytes() -> None:
    arrays = {"a": np.ones(3), "b": [np.zeros(2)]}
    assert numpy_bytes(arrays) == numpy_bytes(arrays)


def test_saving_what_mmap_loaded_keeps_storages_apart(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.pt"
    write([np.arange(1000.0), np.ones(3)], path, array_parts)
    loaded = load_numpy(path, mmap=True)
    write(loaded, path, array_parts)
    assert path.stat().st_size < 12_000
    same(load_numpy(path), [np.arange(1000.0), np.ones(3)])


def test_a_path_is_replaced_atomically(tmp_path: pathlib.Path) -> None:
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    write([1], real, array_parts)
    os.chmod(real, 0o640)
    link.symlink_to(real)
    write([2], link, array_parts)
    assert link.is_symlink() and torch.load(real) == [2]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640

    class Broken(Exception):
        pass

    def fails(obj: Any) -> Parts | None:
        raise Broken

    with pytest.raises(Broken):
        write([np.ones(1)], real, fails)
    assert torch.load(real) == [2] and sorted(os.listdir(tmp_path)) == ["link.pt", "real.pt"]
    with pytest.raises(OSError):
        write([1], tmp_path / "missing" / "x.pt", array_parts)
    with pytest.raises(IsADirectoryError):
        write([1], tmp_path, array_parts)
    write([1], os.devnull, array_parts)
    fresh = tmp_path / "fresh.pt"
    mask = os.umask(0o027)
    try:
        write([1], fresh, array_parts)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o640


def test_file_objects() -> None:
    with pytest.raises(TypeError, match="binary"):
        write([1], io.StringIO(), array_parts)
    with pytest.raises(AttributeError, match="write"):
        write([1], 5, array_parts)

    class Unseekable(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Unseekable()
    write([np.arange(3)], pipe, array_parts)
    same(load_bytes(pipe.data), [np.arange(3)])
    assert torch_load(pipe.data)[0].tolist() == [0, 1, 2]
