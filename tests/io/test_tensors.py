"""Checkpoints with cupola's own tensors: load, save, and both against torch."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cupola
from checkpoint_files import same, to_numpy, torch_bytes
from cupola import dtypes, engine
from cupola.errors import UnsupportedError
from cupola.io import CheckpointError, load, load_numpy, safetensors, save
from cupola.ir import source
from cupola.ir.device import device
from cupola.nn.parameter import Parameter
from cupola.ops import elementwise, movement
from cupola.tensor import Size, Tensor, from_numpy, tensor

FORMATS = pytest.mark.parametrize(
    "how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"]
)
DTYPES = [kind for kind in dtypes.ALL if kind.name != "complex32"]


def values(obj: Any) -> Any:
    """Arrays in place of cupola's tensors."""
    if isinstance(obj, Tensor):
        return engine.to_numpy(obj.node)
    if isinstance(obj, dict):
        return {key: values(item) for key, item in obj.items()}
    if isinstance(obj, (list, tuple)) and not isinstance(obj, Size):
        return type(obj)(values(item) for item in obj)
    return obj


def saved(obj: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    save(obj, buffer, **kwargs)
    return buffer.getvalue()


def add_one(t: Tensor) -> None:
    one = source.const(1, tuple(t.shape), t.dtype, t.device)
    t.assign(elementwise.add(t.node, one))


@FORMATS
def test_a_training_checkpoint(how: dict[str, Any]) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    scheduler.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rest": [None, 1.5, "x", torch.Size([2]), torch.float16, torch.device("cpu")],
    }
    ours = load(io.BytesIO(torch_bytes(state, **how)))
    rest, their_rest = ours.pop("rest"), state.pop("rest")
    same(values(ours), to_numpy(state))
    assert rest == [None, 1.5, "x", Size([2]), dtypes.float16, device("cpu")]
    assert all(type(t) is Tensor and not t.requires_grad for t in ours["model"].values())
    again = torch.load(io.BytesIO(saved({**ours, "rest": rest}, **how)), weights_only=True)
    assert again.pop("rest") == their_rest
    same(to_numpy(again), to_numpy(state))
    model.load_state_dict(again["model"], strict=True)
    optimizer.load_state_dict(again["optimizer"])
    scheduler.load_state_dict(again["scheduler"])


@FORMATS
@pytest.mark.parametrize("kind", DTYPES, ids=str)
def test_every_dtype_makes_the_round_trip(kind: dtypes.dtype, how: dict[str, Any]) -> None:
    array = np.arange(6).reshape(2, 3).astype(kind.np)
    data = saved({"a": from_numpy(array)}) if not how else torch_bytes(
        {"a": torch.arange(6).reshape(2, 3).to(getattr(torch, kind.name))}, **how
    )  # fmt: skip
    loaded = load(io.BytesIO(data))["a"]
    assert loaded.dtype is kind
    same(values(loaded), array)
    if not how:
        assert str(torch.load(io.BytesIO(data))["a"].dtype) == f"torch.{kind.name}"


def test_shared_storages_stay_shared() -> None:
    base = torch.arange(12.0)
    views = [base, base.view(3, 4), base[2:6], base.view(3, 4).t(), base.view(4, 3)[::2, 1]]
    ours = load(io.BytesIO(torch_bytes(views)))
    same(values(ours), to_numpy(views))
    add_one(ours[2])
    with torch.no_grad():
        views[2] += 1
    same(values(ours), to_numpy(views))
    add_one(ours[3])
    with torch.no_grad():
        views[3] += 1
    same(values(ours), to_numpy(views))
    theirs = torch.load(io.BytesIO(saved(ours)))
    same(to_numpy(theirs), to_numpy(views))
    assert len({t.untyped_storage().data_ptr() for t in theirs}) == 1
    assert [t.stride() for t in theirs] == [t.stride() for t in views]


def test_tied_parameters_stay_tied() -> None:
    tied = torch.nn.Parameter(torch.ones(2, 3))
    state = OrderedDict(a=tied, b=tied, c=tied.data)
    ours = load(io.BytesIO(torch_bytes(state)))
    assert ours["a"] is ours["b"] and type(ours["a"]) is Parameter and ours["a"].requires_grad
    add_one(ours["c"])
    same(values(ours["a"]), np.full((2, 3), 2, np.float32))
    theirs = torch.load(io.BytesIO(saved(ours)))
    assert theirs["a"] is theirs["b"] and type(theirs["a"]) is torch.nn.Parameter
    assert theirs["c"].data_ptr() == theirs["a"].data_ptr() and theirs["c"].sum() == 12


def test_a_frozen_parameter_and_a_plain_tensor_with_grad() -> None:
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    plain = torch.ones(3, requires_grad=True)
    frozen.tag = "kept"
    ours = load(io.BytesIO(torch_bytes([frozen, plain])))
    assert type(ours[0]) is Parameter and not ours[0].requires_grad and ours[0].tag == "kept"
    assert type(ours[1]) is Tensor and ours[1].requires_grad and ours[1].is_leaf
    theirs = torch.load(io.BytesIO(saved(ours)))
    assert type(theirs[0]) is torch.nn.Parameter and not theirs[0].requires_grad
    assert type(theirs[1]) is torch.Tensor and theirs[1].requires_grad


def test_strided_tensors_that_share_nothing() -> None:
    odd = [
        torch.arange(6.0).reshape(2, 3).t(),
        torch.ones(1).expand(1000, 1000),
        torch.arange(3.0).expand(2, 3),
        torch.arange(10.0).unfold(0, 4, 1),
        torch.arange(10.0)[3:7:2],
        torch.empty(0, 3),
        torch.tensor(2.5),
        torch.tensor([1 + 2j]).conj(),
    ]
    ours = load(io.BytesIO(torch_bytes(odd)))
    same(values(ours), to_numpy(odd))
    same(to_numpy(torch.load(io.BytesIO(saved(ours)))), to_numpy(odd))


def test_an_expanded_tensor_costs_no_memory() -> None:
    huge = torch.ones(1).expand(1 << 20, 1 << 20)
    assert load(io.BytesIO(torch_bytes(huge))).shape == (1 << 20, 1 << 20)


def test_views_made_here_are_saved_as_views() -> None:
    base = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    column = base.view_by(movement.permute, dims=(1, 0))
    row = base.view_by(movement.slice, starts=(1, 0), stops=(2, 3), steps=(1, 1))
    theirs = torch.load(io.BytesIO(saved([base, column, row])))
    assert theirs[1].stride() == (1, 3) and theirs[2].storage_offset() == 3
    assert len({t.untyped_storage().data_ptr() for t in theirs}) == 1


def test_memory_shared_with_numpy_is_saved_as_it_is_now() -> None:
    array = np.arange(4.0)
    shared = from_numpy(array)
    array[0] = 7
    same(to_numpy(torch.load(io.BytesIO(saved(shared)))), array)


def test_map_location() -> None:
    data = torch_bytes({"a": torch.ones(2)})
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name).replace(b"X\x03\x00\x00\x00cpu", b"X\x05\x00\x00\x00mps:0")
            new.writestr(name, content)
    elsewhere = out.getvalue()
    with pytest.raises(CheckpointError, match="mps:0.*map_location='cpu'"):
        load(io.BytesIO(elsewhere))
    seen: list[Any] = []

    def keep(storage: Any, location: str) -> Any:
        seen.append((storage.nbytes(), location))
        return storage

    for where in ("cpu", b"cpu", device("cpu"), {"mps:0": "cpu"}, keep, lambda s, _: s.cpu()):
        assert load(io.BytesIO(elsewhere), where)["a"].device == device("cpu")
    assert seen == [(8, "mps:0")]
    with pytest.raises(CheckpointError, match="mps:0"):
        load(io.BytesIO(elsewhere), lambda storage, location: None)
    meta = load(io.BytesIO(elsewhere), map_location="meta")["a"]
    assert meta.is_meta and meta.shape == (2,)
    with pytest.raises(UnsupportedError, match="meta"):
        saved(meta)


@pytest.mark.parametrize("where", [3, 3.5, object(), {"cpu": 7}, lambda s, _: "cpu"])
def test_map_location_of_a_wrong_type(where: Any) -> None:
    data = torch_bytes({"a": torch.ones(2)})
    for read in (torch.load, load):
        with pytest.raises(TypeError):
            read(io.BytesIO(data), map_location=where)


def test_cuda_asked_for_and_absent() -> None:
    try:
        engine.backend("cuda")
    except RuntimeError:
        pass
    else:
        pytest.skip("this machine has CUDA")
    with pytest.raises(CheckpointError, match="map_location='cpu'"):
        load(io.BytesIO(torch_bytes(torch.ones(1))), map_location="cuda")


def test_dtypes_that_cupola_lacks() -> None:
    data = torch_bytes(torch.ones(2).to(torch.float8_e5m2fnuz))
    with pytest.raises(CheckpointError, match="float8_e5m2fnuz.*load_numpy"):
        load(io.BytesIO(data))
    assert load_numpy(io.BytesIO(data)).tolist() == [1, 1]


def test_mmap(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.arange(1000.0)}, path)
    before = path.read_bytes()
    loaded = load(path, mmap=True)
    add_one(loaded["a"])
    same(values(loaded["a"]), np.arange(1, 1001, dtype=np.float32))
    assert path.read_bytes() == before
    save(loaded, path)  # over the file that is still mapped
    same(to_numpy(torch.load(path)), {"a": np.arange(1, 1001, dtype=np.float32)})


def test_safetensors_between_cupola_and_its_own_package(tmp_path: Path) -> None:
    import safetensors.torch as reference

    path = tmp_path / "m.safetensors"
    state = {"b": torch.arange(6).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16)}
    reference.save_file(state, path, {"format": "pt"})
    same(values(load(path)), to_numpy(reference.load_file(path)))
    ours = safetensors.load_file(path)
    assert type(ours["a"]) is Tensor and ours["a"].dtype is dtypes.bfloat16
    safetensors.save_file(ours, tmp_path / "n.safetensors", {"format": "pt"})
    assert (tmp_path / "n.safetensors").read_bytes() == path.read_bytes()


def test_a_module_and_its_torch_original_exchange_weights(tmp_path: Path) -> None:
    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
        )

    theirs, ours = build(torch.nn).eval(), build(cupola.nn).eval()
    path = tmp_path / "model.pt"
    torch.save(theirs.state_dict(), path)
    ours.load_state_dict(cupola.load(path), strict=True)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(from_numpy(x)).detach().numpy(), expected, atol=1e-5)
    cupola.save(ours.state_dict(), path)
    again = build(torch.nn)
    state = torch.load(path, weights_only=True)
    again.load_state_dict(state, strict=True)
    assert state._metadata == theirs.state_dict()._metadata
    same(to_numpy(state), to_numpy(theirs.state_dict()))
    with pytest.raises(TypeError, match="Sequential.*state_dict"):
        cupola.save(ours, path)


def test_an_optimizer_and_its_torch_original_exchange_states(tmp_path: Path) -> None:
    from cupola import optim

    weight = np.random.default_rng(0).standard_normal((3, 2), np.float32)
    theirs, ours = torch.nn.Linear(2, 3), cupola.nn.Linear(2, 3)
    for module, make in ((theirs, torch.from_numpy), (ours, from_numpy)):
        module.load_state_dict({"weight": make(weight), "bias": make(weight[:, 0].copy())})
    first = torch.optim.Adam(theirs.parameters(), lr=0.1)
    second = optim.Adam(ours.parameters(), lr=0.1)

    def step(module: Any, optimizer: Any, make: Any) -> None:
        optimizer.zero_grad()
        module(make(weight[:, :2])).sum().backward()
        optimizer.step()

    path = tmp_path / "state.pt"
    step(theirs, first, torch.from_numpy)
    torch.save([theirs.state_dict(), first.state_dict()], path)
    weights, state = cupola.load(path)
    ours.load_state_dict(weights)
    second.load_state_dict(state)
    for module, optimizer, make in ((theirs, first, torch.from_numpy), (ours, second, from_numpy)):
        step(module, optimizer, make)
    np.testing.assert_allclose(values(ours.weight), theirs.weight.detach().numpy(), rtol=1e-5)
    cupola.save([ours.state_dict(), second.state_dict()], path)
    weights, state = torch.load(path, weights_only=True)
    theirs.load_state_dict(weights, strict=True)
    first.load_state_dict(state)
    assert first.state_dict()["state"][0]["step"] == 2
