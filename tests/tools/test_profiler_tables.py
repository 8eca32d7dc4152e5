"""Tables by shape and memory, orders that do not exist, compressed files."""

import gzip
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

import cupola
import cupola.profiler as P


@pytest.fixture(scope="module")
def prof():
    kept = []
    with P.profile(profile_memory=True, record_shapes=True) as prof:
        for size in (300, 500):
            x = cupola.ones(size, size)
            kept.append((x * 3 + 1).realize())
        kept[0].sum().item()
    return prof


def test_shapes_are_told_apart(prof):
    plain, shaped = prof.key_averages(), prof.key_averages(group_by_input_shape=True)
    assert len(shaped) > len(plain) and "Shapes" not in plain.table()
    text = shaped.table(sort_by="cpu_time")
    assert "Shapes" in text and "[[300, 300]]" in text and "[[500, 500]]" in text
    assert sum(a.count for a in plain) == sum(a.count for a in shaped)


def test_memory_is_a_column(prof):
    averages = prof.key_averages()
    assert sum(a.cpu_memory_usage for a in averages) >= 4 * 500 * 500
    rows = averages.table(sort_by="self_cpu_memory_usage").splitlines()
    assert "CPU mem" in rows[1] and " Mb " in rows[3]


def test_an_order_that_does_not_exist(prof):
    for known in ("cpu_time_total", "cuda_time_total", "self_device_time_total", "count"):
        prof.key_averages().table(sort_by=known)
    with pytest.raises(AttributeError):
        prof.key_averages().table(sort_by="speed")


def test_compressed_files(prof, tmp_path):
    prof.export_chrome_trace(str(tmp_path / "trace.json.gz"))
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    prof.export_memory_timeline(str(tmp_path / "memory.json.gz"))
    times, sizes = json.loads(gzip.decompress((tmp_path / "memory.json.gz").read_bytes()))
    assert len(times) == len(sizes) > 0
    P.tensorboard_trace_handler(str(tmp_path / "board"), use_gzip=True)(prof)
    (file,) = (tmp_path / "board").iterdir()
    assert file.name.endswith(".pt.trace.json.gz") and gzip.decompress(file.read_bytes())


def test_edges_that_pass_over_rows_run_beside_the_boxes():
    class Skip(cupola.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = (cupola.nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

        def forward(self, x):
            return self.two(self.one(x).relu()) + x

    model = cupola.nn.Sequential(cupola.nn.Conv2d(3, 4, 1), Skip(), Skip())
    graph = cupola.graph(model, cupola.randn(1, 3, 8, 8))
    root = ElementTree.fromstring(graph.svg)
    name = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(r.get(k)) for k in ("x", "y", "width", "height"))
        for r in root.iter(f"{name}rect")
        if r.get("rx")
    ]
    curves = [p.get("d") for p in root.iter(f"{name}path")]
    assert len(curves) == len(graph.edges) and len(boxes) == len(graph.steps)
    wide = float(root.get("width"))
    for curve in curves:
        points = [tuple(map(float, p.split(","))) for p in re.split("[MC ]+", curve) if p]
        for t in (0.1, 0.25, 0.5, 0.75, 0.9):
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            x, y = (sum(w * p[k] for w, p in zip(weights, points, strict=True)) for k in (0, 1))
            assert 0 < x < wide
            assert not any(a < x < a + w and b < y < b + h for a, b, w, h in boxes), curve


def test_profiles_of_the_old_kind():
    from cupola.autograd import profiler

    x = cupola.ones(50, 50)
    with profiler.profile(use_cuda=False, record_shapes=True, profile_memory=True) as prof:
        with profiler.record_function("mine"):
            (x @ x).exp().sum().item()
    assert "mine" in {e.name for e in prof.function_events} and "matmul" in str(prof)
    assert prof.self_cpu_time_total > 0 and prof.total_average().count >= 2
    assert prof.table(sort_by="cpu_time_total").splitlines()[3].strip()
    with profiler.profile(enabled=False) as prof:
        x.sum().item()
    assert prof.function_events == []
    assert cupola.autograd.profiler is profiler
