"""Tables by shape and memory, orders that do not exist, compressed files."""

import gzip
import json

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
