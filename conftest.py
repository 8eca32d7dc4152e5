"""Settings that must be made before NumPy, torch or an OpenMP library is imported."""

import os

# Two test processes share two cores; more threads only make them wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_modifyitems(items):
    """Puts the longest tests first, so that the processes end at about the same time."""
    items.sort(key=lambda item: "models" not in item.path.parts)
