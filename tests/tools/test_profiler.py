"""cupola.profiler, cupola.summary, cupola.graph."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import cupola
import cupola.profiler as P
from cupola import nn
from cupola.engine import compiled
from cupola.ir.op import Primitive


def model():
    cupola.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 4))


def test_kernels_and_their_python_lines(tmp_path):
    net, x = model(), cupola.randn(8, 16)
    before = compiled.run, Primitive.__call__
    want = net(x).sum().item()
    with P.profile(profile_memory=True) as prof:
        with P.record_function("forward"):
            total = net(x).sum().item()
        product = x * 3 + 1
        product.exp().sum().item()  # the marked line
    assert total == want
    assert (compiled.run, Primitive.__call__) == before  # nothing is left behind
    names = {e.name for e in prof.events()}
    assert any("matmul" in n for n in names) and "forward" in names
    lines = open(__file__).read().splitlines()
    marked = 1 + next(k for k, t in enumerate(lines) if t.endswith("# the marked line"))
    kernels = [e for e in prof.events() if "exp" in e.name]
    assert kernels and all(e.place == f"{__file__}:{marked}" for e in kernels)
    assert all(e.duration > 0 for e in prof.events())
    table = prof.key_averages().table(sort_by="cpu_time_total", row_limit=5)
    assert "matmul" in table and "Calls" in table and "CPU time total" in table
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    kernels = [e for e in events if e["ph"] == "X" and e["cat"] == "kernel"]
    assert kernels and all(e["dur"] > 0 and e["ts"] >= 0 for e in kernels)
    assert any(e["args"]["line"].startswith(__file__) for e in kernels)
    assert prof.memory_timeline() and any(e["ph"] == "C" for e in events)


def test_backward_and_inline_sources():
    x = cupola.randn(4, 4, requires_grad=True)
    with P.profile() as prof:
        y = cupola.code((4, 4), x.dtype, [x], cpu_src="""
            for (int i = 0; i < 4; i++) for (int j = 0; j < 4; j++) @out(i, j) = @in0(i, j) * 2;
        """, grad=lambda g, i, o: g[0] * 2)  # fmt: skip
        (y * y).sum().backward()
        x.grad.sum().item()
    assert [e.name for e in prof.events()].count("code") == 1
    assert cupola.allclose(x.grad, 8 * x)


def test_schedule(tmp_path):
    seen = []

    def ready(prof):
        seen.append(len(prof.events()))

    plan = P.schedule(wait=1, warmup=1, active=2, repeat=1)
    assert [plan(k).name for k in range(5)] == [
        "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE",
    ]  # fmt: skip
    x = cupola.randn(5)
    with P.profile(schedule=plan, on_trace_ready=ready) as prof:
        for _ in range(6):
            (x * x).sum().item()
            prof.step()
    assert len(seen) == 1 and seen[0] >= 2
    with P.profile(on_trace_ready=P.tensorboard_trace_handler(str(tmp_path))):
        (x + 1).sum().item()
    (file,) = tmp_path.iterdir()
    assert file.name.endswith(".pt.trace.json") and json.loads(file.read_text())


def test_profiles_do_not_nest():
    with P.profile(), pytest.raises(RuntimeError, match="cannot be nested"), P.profile():
        pass
    with P.profile() as prof:
        cupola.ones(3).sum().item()
    assert prof.key_averages().total_average().count >= 0


def test_summary():
    found = cupola.summary(model(), cupola.randn(8, 16))
    assert [r[2] for r in found.rows] == [
        "Sequential", "Linear", "ReLU", "LayerNorm", "Linear",
    ]  # fmt: skip
    assert found.rows[1][3] == [[8, 32]] and found.rows[1][4] == 16 * 32 + 32
    assert found.parameters == found.trainable == 16 * 32 + 32 + 64 + 32 * 4 + 4
    assert "LayerNorm" in str(found) and "[8, 4]" in str(found)


def test_graph(tmp_path):
    drawn = cupola.graph(model(), cupola.randn(8, 16), str(tmp_path / "graph.svg"))
    labels = [s[0] for s in drawn.steps]
    assert sum("matmul" in n for n in labels) == 2 and len(labels) <= 4
    assert all(a < b for a, b in drawn.edges) and len(drawn.edges) >= len(labels) - 1
    root = ElementTree.parse(tmp_path / "graph.svg").getroot()
    assert root.tag.endswith("svg")
    texts = " ".join(t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "matmul" in texts and "[8, 4]" in texts and "containers.py" not in labels


def test_graph_of_branches():
    def f(x, y):
        a = x @ y
        return (a + 1).sum(0), (a * 2).exp() @ y

    drawn = cupola.graph(f, (cupola.randn(4, 4), cupola.randn(4, 4)))
    assert len(drawn.steps) >= 3 and drawn.svg.count("<path") == len(drawn.edges)


def test_captured_calls_are_seen():
    @cupola.compile
    def f(x):
        return (x @ x).exp()

    x = cupola.randn(8, 8)
    f(x), f(x)
    with P.profile() as prof:
        f(x).sum().item()
    assert f.reason == "" and any("matmul" in e.name for e in prof.events())


def test_every_kernel_has_its_line():
    """Also parts of layers and of gradients, which are recorded as one operator each."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    net.append(nn.Linear(8 * 36, 10))
    x, y = cupola.rand(4, 3, 8, 8), cupola.arange(4)
    optimizer = cupola.optim.AdamW(net.parameters())
    for _ in range(3):  # the last two know the gradients' structure
        with cupola.profiler.profile() as prof:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            float(net[0].weight.sum())
    work = [e for e in prof.events() if e.kind != "region"]
    assert work and all(Path(e.place.rpartition(":")[0]).name == Path(__file__).name for e in work)
    assert len({e.place for e in work}) > 2


def test_memory_over_time(tmp_path):
    with cupola.profiler.profile(profile_memory=True) as prof:
        for _ in range(3):
            float(cupola.rand(100, 100).exp().sum())
    prof.export_memory_timeline(str(tmp_path / "memory.json"))
    times, sizes = json.loads((tmp_path / "memory.json").read_text())
    assert len(times) == len(sizes) > 2 and times == sorted(times)
    prof.export_memory_timeline(str(tmp_path / "memory.html"))
    text = (tmp_path / "memory.html").read_text()
    ElementTree.fromstring(text[text.index("<svg") :])
    with cupola.profiler.profile() as bare:
        float(cupola.rand(3).sum())
    with pytest.raises(RuntimeError, match="profile_memory=True"):
        bare.export_memory_timeline(str(tmp_path / "no.json"))
