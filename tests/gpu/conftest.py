"""Everything in this folder needs an NVIDIA GPU and is skipped where there is none."""

import pytest

import harness


def pytest_collection_modifyitems(items):
    name = harness.gpu()
    for item in items:
        if "gpu" in item.path.parts and "needs_no_gpu" not in item.keywords:
            item.add_marker(pytest.mark.gpu)
            if name is None:
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU that CuPy can use"))


@pytest.fixture(scope="session")
def original():
    import seven

    pytest.importorskip("torch")
    return seven.Side(harness.FIXTURES / "models")


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    import seven

    target = tmp_path_factory.mktemp("converted") / "models"
    return seven.Side(harness.convert(harness.FIXTURES / "models", target), device="cuda")


@pytest.fixture(autouse=True)
def exact_float32():
    """Comparisons are made in float32: convolutions may not round to TF32 here."""
    import cupola

    cupola.backends.cudnn.allow_tf32 = False
    yield
    cupola.backends.cudnn.allow_tf32 = True
