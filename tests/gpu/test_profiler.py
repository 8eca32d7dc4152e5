"""cupola.profiler on a GPU: times come from the device's clock."""

import cupola
import cupola.profiler as P


def test_kernels_are_timed_on_the_device():
    a = cupola.randn(2048, 2048, device="cuda")
    (a @ a).sum().item()
    with P.profile(profile_memory=True) as prof:
        for _ in range(3):
            (a @ a + 1).relu().sum().item()
    events = [e for e in prof.events() if e.device == "cuda:0"]
    assert events and all(e.duration > 0 for e in events)
    assert any("matmul" in e.name for e in events)
    assert any(e.place.startswith(__file__) for e in events)
    table = prof.key_averages().table(sort_by="cuda_time_total")
    assert "CUDA time total" in table
    assert prof.memory_timeline()


def test_captured_calls_are_seen():
    @cupola.compile
    def f(x):
        return (x @ x).exp()

    x = cupola.randn(64, 64, device="cuda")
    f(x), f(x)
    with P.profile() as prof:
        f(x).sum().item()
    (graph,) = [e for e in prof.events() if e.kind == "graph"]
    assert graph.duration > 0 and graph.shapes == ((64, 64),)
