"""The two sides of the comparison, made once a process."""

import pytest

import harness
import seven


@pytest.fixture(scope="session")
def original():
    pytest.importorskip("torch")
    return seven.Side(harness.FIXTURES / "models")


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    target = tmp_path_factory.mktemp("converted") / "models"
    return seven.Side(harness.convert(harness.FIXTURES / "models", target))
