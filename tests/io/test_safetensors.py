"""safetensors and sharded indexes, against the safetensors package."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors as reference
import safetensors.numpy as reference_numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import torch as reference_torch

import cupola
from checkpoint_files import load_bytes, same
from cupola import dtypes
from cupola.io import CheckpointError, load, load_numpy, safetensors
from cupola.tensor import from_numpy

NAMES = [kind.name for kind in dtypes.ALL if kind.name not in ("complex32", "complex128")]


def arrays() -> dict[str, np.ndarray]:
    made = {name: np.arange(6).reshape(2, 3).astype(getattr(dtypes, name).np) for name in NAMES}
    return {**made, "scalar": np.array(1.5), "empty": np.empty((0, 3), np.int8), "é": np.ones(1)}


def by_torch(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = reference_torch.load_file(path)
    return loaded


def test_written_files_are_those_of_the_package(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    tensors = {name: from_numpy(array) for name, array in arrays().items()}
    bits = {
        name: torch.from_numpy(array.view(np.uint8)).view(getattr(torch, name))
        if array.dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
        else torch.from_numpy(array)
        for name, array in arrays().items()
    }
    for metadata in (None, {"format": "pt"}):
        safetensors.save_file(tensors, ours, metadata)
        reference_torch.save_file(bits, theirs, metadata)
        assert ours.read_bytes() == theirs.read_bytes()
        assert safetensors.save(tensors, metadata) == theirs.read_bytes()
        loaded = load_numpy(theirs)
        same(loaded, {name: arrays()[name] for name in loaded})


def test_transposed_tensors_are_written_in_row_major_order(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    safetensors.save_file({"t": from_numpy(array.T)}, tmp_path / "t")
    assert np.array_equal(reference_numpy.load_file(tmp_path / "t")["t"], array.T)


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    shared = from_numpy(np.ones(4))
    path = tmp_path / "x"
    with pytest.raises(RuntimeError, match="'a' and 'b' share memory"):
        safetensors.save_file({"a": shared, "b": shared}, path)
    with pytest.raises(TypeError, match="complex128"):
        safetensors.save_file({"a": from_numpy(np.ones(1, complex))}, path)
    with pytest.raises(TypeError, match="names"):
        safetensors.save_file({"a": [1.0]}, path)
    assert not path.exists()


def test_safe_open(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    reference_numpy.save_file({"a": np.arange(3), "b": np.ones(2)}, path, {"key": "value"})
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        assert sorted(file.keys()) == ["a", "b"] and file.metadata() == {"key": "value"}
        assert file.get_tensor("b").shape == (2,)
        with pytest.raises(KeyError, match="missing"):
            file.get_tensor("missing")


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


EIGHT = bytes(8)
BAD = {
    "dtype": file_of({"a": entry("F33")}, EIGHT),
    "dtype list": file_of({"a": entry(["F32"])}, EIGHT),
    "four bits": file_of({"a": entry("F4", (16,))}, EIGHT),
    "size": file_of({"a": entry(shape=(3,))}, EIGHT),
    "negative size": file_of({"a": entry(shape=(-2, -1))}, EIGHT),
    "fractional size": file_of({"a": entry(shape=(2.0,))}, EIGHT),
    "boolean size": file_of({"a": entry(shape=(True, 2))}, EIGHT),
    "huge size": file_of({"a": entry(shape=(1 << 62, 0))}, EIGHT),
    "huge product": file_of({"a": entry(shape=(1 << 32, 1 << 32))}, EIGHT),
    "digits": file_of(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b"]}}", EIGHT),
    "reversed": file_of({"a": entry(shape=(0,), offsets=(8, 0))}, EIGHT),
    "out of bounds": file_of({"a": entry(offsets=(8, 16))}, EIGHT),
    "overlap": file_of({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "same place": file_of({"a": entry(), "b": entry()}, EIGHT),
    "gap": file_of({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "trailing bytes": file_of({"a": entry()}, bytes(9)),
    "too short": file_of({"a": entry()}, bytes(7)),
    "twice": file_of(b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(
        entry()).encode() + b"}", EIGHT),
    "extra field": file_of({"a": {**entry(), "b": 1}}, EIGHT),
    "missing field": file_of({"a": {"dtype": "F32"}}, EIGHT),
    "not a table": file_of({"a": 1}, EIGHT),
    "metadata": file_of({"__metadata__": {"a": 1}}),
    "metadata list": file_of({"__metadata__": ["a"]}),
    "deep": file_of(b'{"a":' + b"[" * 100_000),
    "not JSON": file_of(b"{hello"),
    "not UTF-8": file_of(b'{"\xff":1}'),
    "length": file_of({}, length=1 << 40) + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_bytes(BAD[name])
    if name not in ("four bits", "twice", "extra field"):  # which the package lets pass
        with pytest.raises(reference.SafetensorError):
            reference.deserialize(BAD[name])
    path = tmp_path / "model.safetensors"
    path.write_bytes(BAD[name])
    for read in (load, safetensors.load_file, safetensors.safe_open):
        with pytest.raises(CheckpointError, match="model.safetensors"):
            read(path)


def test_truncation_is_always_noticed() -> None:
    data = safetensors.save({name: from_numpy(array) for name, array in arrays().items()})
    for length in range(0, len(data), 7):
        with pytest.raises(CheckpointError):
            load_bytes(data[:length])


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_flipped_bytes_as_the_package_judges_them(seed: int, count: int) -> None:
    data = reference_numpy.save({"a": np.arange(3), "b": np.ones((2, 2), np.float32)})
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    for at in rng.integers(0, len(data) - 48, count):
        damaged[at] ^= int(rng.integers(1, 256))
    try:
        reference.deserialize(bytes(damaged))
        valid = True
    except reference.SafetensorError:
        valid = False
    try:
        load_bytes(bytes(damaged))
    except CheckpointError:
        pass
    else:
        assert valid, damaged


# -- sharded ---------------------------------------------------------------------------------------


def sharded(folder: Path, kind: str) -> Path:
    first, second = {"a": torch.ones(2), "unused": torch.ones(9)}, {"b": torch.arange(3)}
    names = [f"model-0000{i}-of-00002.{kind}" for i in (1, 2)]
    for name, state in zip(names, (first, second), strict=True):
        if kind == "safetensors":
            reference_torch.save_file(state, folder / name)
        else:
            torch.save(state, folder / name)
    index = folder / f"model.{kind}.index.json"
    table = {"b": names[1], "a": names[0]}
    index.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": table}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_sharded_checkpoints(kind: str, tmp_path: Path) -> None:
    index = sharded(tmp_path, kind)
    loaded = load_numpy(index)
    same(loaded, {"b": np.arange(3), "a": np.ones(2, np.float32)})
    with open(index, "rb") as file, pytest.raises(CheckpointError, match="path"):
        load_numpy(file)
    (tmp_path / f"model-00002-of-00002.{kind}").unlink()
    with pytest.raises(FileNotFoundError):
        load_numpy(index)


def test_a_shard_that_lacks_a_tensor(tmp_path: Path) -> None:
    index = sharded(tmp_path, "bin")
    torch.save({"c": 1}, tmp_path / "model-00002-of-00002.bin")
    with pytest.raises(CheckpointError, match="'b'"):
        load_numpy(index)


@pytest.mark.parametrize(
    "shard",
    ["../x.bin", "/etc/passwd", "a/b.bin", "..\\x.bin", "..", "", ".hidden", "self.index.json", 1]
    + ["a\0b", "\ud800", "a\nb"],
)
def test_an_index_cannot_point_elsewhere(shard: Any, tmp_path: Path) -> None:
    index = tmp_path / "self.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="self.index.json"):
        load_numpy(index)


def test_an_index_cannot_contain_itself(tmp_path: Path) -> None:
    index = tmp_path / "model.bin"
    index.write_text(json.dumps({"weight_map": {"a": "model.bin"}}))
    with pytest.raises(CheckpointError, match="model.bin: a shard is an index"):
        load_numpy(index)


def test_many_threads_read_one_file(tmp_path):
    """Model loaders fetch the tensors of one open file from a pool of threads."""
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "many.safetensors"
    tensors = {f"t{i}": cupola.full((20_000,), float(i)) for i in range(40)}
    safetensors.save_file(tensors, path)
    with safetensors.safe_open(path) as file, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: file.get_slice(f"t{i}")[...].numpy(), range(40)))
    assert [sorted(set(array.tolist())) for array in found] == [[float(i)] for i in range(40)]
