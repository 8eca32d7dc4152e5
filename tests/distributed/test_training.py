"""A plain program under mpirun computes what it computes alone."""

import numpy as np

import cupola
from distributed import ranks

TOLERANCE = 1e-9  # of float64 programs; only the order of additions differs


def trained(folder, size):
    folder.mkdir()
    done = ranks.run(size, "training", folder)
    assert done.stdout.count("samples in an evaluation: 27") == 1, done.stdout
    assert {p.name for p in folder.iterdir()} == {"last.pt", "rank-0.pt"}, "rank 0 alone writes"
    return cupola.load(folder / "last.pt")


def test_several_ranks_compute_what_one_does(tmp_path):
    want = trained(tmp_path / "one", 0)
    for size in (2, 4):
        got = trained(tmp_path / str(size), size)
        for kind, one in want.items():
            for step, (a, b) in enumerate(zip(one["grads"], got[kind]["grads"], strict=True)):
                a, b = a.numpy(), b.numpy()
                assert np.abs(a - b).max() <= TOLERANCE * np.abs(a).max(), (size, kind, step)
            for name, a in one["state"].items():
                b = got[kind]["state"][name].numpy()
                assert np.allclose(a.numpy(), b, rtol=TOLERANCE), (size, kind, name)


def test_weights_and_samples_of_ranks_that_begin_differently():
    ranks.run(3, "seeds")


def test_the_way_over_nccl_by_a_stand_in():
    assert "losses" in ranks.run(2, "standin").stdout


def test_ranks_that_compile_the_same_kernels_share_them(tmp_path):
    def entries(size, folder):
        ranks.run(size, "seeds", CUPOLA_CACHE_DIR=folder)
        files = [p for p in folder.rglob("*") if p.is_file()]
        assert not [p for p in files if p.suffix in (".tmp", ".part")]
        return {p.name for p in files}

    first = entries(2, tmp_path / "cache")
    assert first and entries(2, tmp_path / "cache") == first
