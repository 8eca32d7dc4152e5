"""A DistributedDataParallel script, converted, beside the original over torch's gloo."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import cupola
import harness
from distributed import ranks

SCRIPTS = Path(__file__).parent / "scripts"


def original(size, out):
    """What the script prints with torch, in so many processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(size):
        env = ranks.environment(
            RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=size, MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
            CUDA_VISIBLE_DEVICES="",
        )  # fmt: skip
        command = [sys.executable, str(SCRIPTS / "train_ddp.py"), "--out", str(out)]
        running.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    texts = [process.communicate(timeout=120) for process in running]
    assert not any(process.returncode for process in running), texts
    return texts[0][0]


def test_a_converted_script_prints_what_the_original_prints(tmp_path):
    pytest.importorskip("torch")
    folder = harness.convert(SCRIPTS, tmp_path / "converted")
    text = (folder / "train_ddp.py").read_text()
    assert "import torch" not in text
    # Both on the CPU: torch's processes would each ask for a GPU of their own.
    program, out = folder / "train_ddp.py", tmp_path / "ours.pt"
    done = ranks.run(2, program, "--out", out, CUDA_VISIBLE_DEVICES="")
    want = original(2, tmp_path / "theirs.pt")
    number = re.compile(r"loss ([0-9.]+)")
    ours, theirs = number.findall(done.stdout), number.findall(want)
    assert len(ours) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert float(a) == pytest.approx(float(b), rel=2e-5)
    assert number.sub("", done.stdout) == number.sub("", want)
    ours, theirs = (cupola.load(tmp_path / f"{name}.pt") for name in ("ours", "theirs"))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert cupola.allclose(value, theirs[name], rtol=1e-4, atol=1e-5), name


def test_a_group_of_several_processes_needs_mpirun():
    program = (
        "import cupola.distributed as dist\ndist.init_process_group('nccl', rank=0, world_size=2)\n"
    )
    env = ranks.environment()
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode and "mpirun -np 2" in done.stderr


def test_one_process_is_a_group_of_its_own(monkeypatch):
    from cupola import distributed as dist
    from cupola.nn.parallel import DistributedDataParallel

    monkeypatch.setenv("WORLD_SIZE", "1")
    dist.init_process_group("gloo")
    try:
        assert dist.is_initialized() and dist.get_backend() == "gloo"
        t = cupola.ones(3)
        dist.all_reduce(t)
        work = dist.broadcast(t, 0, async_op=True)
        assert work.wait() and t.tolist() == [1.0] * 3
        net = DistributedDataParallel(cupola.nn.Linear(3, 1))
        net(t).backward()
        assert net.module.weight.grad.tolist() == [[1.0] * 3]
        assert list(net.state_dict()) == ["module.weight", "module.bias"]
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()
