"""Files that torch wrote, read without torch."""

from __future__ import annotations

import enum
import io
import pathlib
import pickle
import zipfile
from collections import Counter, OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cupola
from checkpoint_files import load_bytes, same, to_numpy, torch_bytes
from cupola.io import CheckpointError, Storage, load_numpy

ZIP = {}
LEGACY = {"_use_new_zipfile_serialization": False}
FORMATS = pytest.mark.parametrize("how", [ZIP, LEGACY], ids=["zip", "legacy"])
DTYPES = (
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128"
).split()
NEW_DTYPES = "uint16 uint32 uint64 float8_e4m3fn float8_e5m2".split()


def values(dtype: str, *size: int) -> torch.Tensor:
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(5)
    raw = torch.randint(0, 256, (int(np.prod(size)) * 16,), generator=generator)
    if dtype == "bool":
        return (raw[: int(np.prod(size))] % 2 == 0).reshape(size)
    if kind.is_floating_point or kind.is_complex:
        real = torch.randn(size, generator=generator, dtype=torch.float64)
        return (real + 1j * real.flip(0)).to(kind) if kind.is_complex else real.to(kind)
    return raw[: int(np.prod(size))].reshape(size).to(kind)


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES + NEW_DTYPES)
def test_every_dtype(dtype: str, how: dict) -> None:
    tensor = values(dtype, 3, 5)
    loaded = load_bytes(torch_bytes({"t": tensor, "view": tensor[1:, ::2]}, **how))
    same(loaded, to_numpy({"t": tensor, "view": tensor[1:, ::2]}))


@FORMATS
def test_views_keep_their_geometry_and_share_memory(how: dict) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    saved = [
        base,
        base.transpose(0, 2),
        base[1],
        base[:, 1:, ::2],
        base.expand(5, 2, 3, 4),
        torch.tensor(3.5),
        torch.empty(0),
        torch.empty(0, 7),
        base[0, 0, 0],
    ]
    loaded = load_bytes(torch_bytes(saved, **how))
    same(loaded, to_numpy(saved))
    for ours, theirs in zip(loaded, saved, strict=True):
        if ours.size:
            assert tuple(step // 4 for step in ours.strides) == theirs.stride()
    loaded[0][1, 2, 3] = -1
    assert loaded[1][3, 2, 1] == -1 and loaded[2][2, 3] == -1


@FORMATS
def test_the_order_of_dimensions_in_memory_is_kept(how: dict) -> None:
    """What torch laid out as channels_last has those strides here, and in a file written here."""
    images, clips = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 2, 4, 5)
    saved = {
        "images": images.contiguous(memory_format=torch.channels_last),
        "half": images.half().contiguous(memory_format=torch.channels_last),
        "weight": torch.nn.Parameter(images.to(memory_format=torch.channels_last)),
        "clips": clips.contiguous(memory_format=torch.channels_last_3d),
        "matrix": torch.randn(4, 3).t(),
        "plain": images,
    }
    loaded = cupola.load(io.BytesIO(torch_bytes(saved, **how)))
    written = io.BytesIO()
    cupola.save(loaded, written)
    again = torch.load(io.BytesIO(written.getvalue()), weights_only=True)
    for name, want in saved.items():
        for found in (loaded[name], again[name]):
            assert tuple(found.stride()) == want.stride(), name
            np.testing.assert_array_equal(found.detach().numpy(), want.detach().numpy())
    loaded["images"].mul_(2)[0, 1] = 7.0
    want = saved["images"].clone().mul_(2)
    want[0, 1] = 7.0
    np.testing.assert_array_equal(loaded["images"].numpy(), want.numpy())


@FORMATS
def test_python_objects(how: dict) -> None:
    saved = {
        "none": None,
        "numbers": [True, False, 0, -1, 255, 65536, 2**40, -(2**80), 1.5, float("inf"), 2 + 3j],
        "text": "héllo \ud800 \0",
        "bytes": [b"", b"\x00\xff", bytearray(b"xyz")],
        "sets": [set(), {1, 2}, frozenset({"a"})],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "nested": {"a": [{"b": (1, [2])}]},
        "ordered": OrderedDict(b=1, a=2),
        "counter": Counter("hello"),
        1: "integer key",
        (1, "x"): "tuple key",
        "slice": [slice(1, None), range(3)],
        "namespace": SimpleNamespace(a=1),
        "numpy": [np.float64(1.5), np.arange(6).reshape(2, 3).T, np.array(["a", "bc"]), np.int8(3)],
        "numpy dtype": [np.dtype(">f4"), np.array([1, 2], ">i2")],
    }
    loaded = load_bytes(torch_bytes(saved, **how))
    same(loaded, saved)
    assert type(loaded["ordered"]) is OrderedDict and type(loaded["counter"]) is Counter
    assert type(loaded["numpy"][0]) is np.float64


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_pickle_protocol(protocol: int) -> None:
    saved = OrderedDict(a=torch.arange(3), n=[1, -5, 2**70, 1.25, None, True, "é", (1, 2)])
    if protocol == 0:
        saved = [1, -5, 2**70, 1.25, None, True, "é\n", (1, 2), {"a": [3]}]  # no binary ids
    same(load_bytes(torch_bytes(saved, pickle_protocol=protocol)), to_numpy(saved))


@FORMATS
def test_recursive_and_shared_objects(how: dict) -> None:
    shared = [1]
    loop: list = [shared, shared]
    loop.append(loop)
    loaded = load_bytes(torch_bytes(loop, **how))
    assert loaded[2] is loaded and loaded[0] is loaded[1] and loaded[0] == [1]


def test_small_torch_objects() -> None:
    saved = {
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "device": [torch.device("cpu"), torch.device("cuda", 1)],
        "layout": torch.strided,
        "version": torch.__version__,
        "storage": torch.arange(3).untyped_storage(),
    }
    loaded = load_bytes(torch_bytes(saved))
    storage = loaded.pop("storage")
    assert isinstance(storage, Storage) and storage.nbytes() == 24
    assert loaded == {
        "size": (1, 2),
        "dtype": np.dtype("float16"),
        "device": ["cpu", "cuda:1"],
        "layout": "strided",
        "version": str(torch.__version__),
    }


@FORMATS
def test_a_model_and_its_optimizer(how: dict) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])
    model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "parameters": list(model.parameters()),
        "epoch": 3,
    }
    loaded = load_bytes(torch_bytes(saved, **how))
    same(loaded, to_numpy(saved))
    assert loaded["model"]._metadata == saved["model"]._metadata


def test_conjugate_and_negative_views() -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j])
    for saved in (tensor.conj(), tensor.conj().imag):
        same(load_bytes(torch_bytes(saved)), to_numpy(saved))


def test_tensor_attributes_and_buffers() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.tag = "x"
    tensor = torch.zeros(3)
    tensor.tag = [1]
    saved = [parameter, tensor, torch.nn.Buffer(torch.ones(1))]
    same(load_bytes(torch_bytes(saved)), to_numpy(saved))


def swap_byteorder(data: bytes, widths: dict[str, int]) -> bytes:
    """The same zip checkpoint as a big-endian machine would have written it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif (key := name.rpartition("/data/")[2]) in widths:
                width = widths[key]
                content = np.frombuffer(content, f"u{width}").byteswap().tobytes()
            new.writestr(name, content)
    return out.getvalue()


def test_big_endian_files() -> None:
    saved = [
        values(d, 4) for d in ("float32", "complex128", "int16", "bfloat16", "uint8", "uint32")
    ]
    widths = dict(zip("012345", (4, 8, 2, 2, 1, 4), strict=True))
    data = swap_byteorder(torch_bytes(saved), widths)
    same(load_bytes(data), to_numpy(saved))
    theirs = torch.load(io.BytesIO(data))
    for i in range(5):  # torch itself leaves its newest dtypes (uint32) unswapped
        assert torch.equal(theirs[i], saved[i])


def test_several_legacy_objects_in_one_file(tmp_path: pathlib.Path) -> None:
    data = torch_bytes(torch.ones(2), **LEGACY) + torch_bytes([1, torch.zeros(1)], **LEGACY)
    file = io.BytesIO(data)
    same(load_numpy(file), np.ones(2, np.float32))
    same(load_numpy(file), [1, np.zeros(1, np.float32)])


def test_mmap_reads_lazily_and_writes_privately(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.pt"
    saved = {"a": torch.arange(1000.0), "b": torch.ones(3, dtype=torch.float64)}
    torch.save(saved, path)
    before = path.read_bytes()
    loaded = load_numpy(path, mmap=True)
    same(loaded, to_numpy(saved))
    assert not loaded["a"].flags.owndata
    loaded["a"][:] = 0
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="path"):
        load_numpy(io.BytesIO(before), mmap=True)


def test_recompressed_archives() -> None:
    saved = {"a": torch.arange(1000.0), "b": torch.ones(3, dtype=torch.float64)}
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(torch_bytes(saved))) as old:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
    same(load_bytes(out.getvalue()), to_numpy(saved))


class Scripted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
        self.register_buffer("steps", torch.arange(4))
        self.constant = torch.ones(4)
        self.sizes = [1, 2, 3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + torch.tensor([1.5]) + self.sizes[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trace", [False, True], ids=["script", "trace"])
def test_torchscript_archives(trace: bool) -> None:
    module = Scripted().eval()
    made = torch.jit.trace(module, torch.zeros(1, 2, 8, 8)) if trace else torch.jit.script(module)
    buffer = io.BytesIO()
    torch.jit.save(made, buffer)
    loaded = load_bytes(buffer.getvalue())
    same(loaded, to_numpy(dict(made.state_dict())))
    assert type(loaded) is OrderedDict


@pytest.mark.filterwarnings("ignore")
def test_refused_by_name() -> None:
    cases = {
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "sparse": torch.eye(2).to_sparse(),
        "Linear": torch.nn.Linear(1, 1),
        "PosixPath": pathlib.PurePosixPath("x"),
    }
    for what, value in cases.items():
        for how in (ZIP, LEGACY):
            with pytest.raises(CheckpointError, match=what):
                load_bytes(torch_bytes({"x": value}, **how))


class Settings:
    """A class of the program's own, as training scripts keep beside their weights."""

    def __init__(self, lr):
        self.lr = lr


class Slotted:
    __slots__ = ("lr",)


class Kind(enum.Enum):
    MEAN = "mean"


@FORMATS
def test_classes_that_the_program_allows(how: dict, tmp_path: pathlib.Path) -> None:
    import cupola
    from cupola import serialization

    slotted = Slotted()
    slotted.lr = 2
    made = {"s": Settings(1), "k": Kind.MEAN, "o": slotted, "w": torch.ones(2)}
    torch.save(made, tmp_path / "a.pt", **how)
    for library, error in ((torch, pickle.UnpicklingError), (cupola, CheckpointError)):
        with pytest.raises(error, match="Settings"):
            library.load(tmp_path / "a.pt", weights_only=True)
        with library.serialization.safe_globals([Settings, Kind, Slotted]):
            found = library.load(tmp_path / "a.pt", weights_only=True)
        assert found["s"].lr == 1 and found["k"] is Kind.MEAN and found["w"].tolist() == [1, 1]
        assert found["o"].lr == 2
        assert Settings not in library.serialization.get_safe_globals()
    other = f"{__name__}.Settings"
    torch.save({"s": Settings(1)}, tmp_path / "b.pt", **how)
    serialization.add_safe_globals([(SimpleNamespace, other)])
    assert cupola.load(tmp_path / "b.pt")["s"] == SimpleNamespace(lr=1)
    serialization.clear_safe_globals()
    with pytest.raises(CheckpointError, match="add_safe_globals"):
        cupola.load(tmp_path / "b.pt")
    with pytest.raises(TypeError, match="Expected each item"):
        serialization.add_safe_globals(["os.system"])
