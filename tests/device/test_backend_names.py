"""Settings keep their places whatever part of a backend is loaded."""

from pathlib import Path

import cupola
from cupola.backends import cuda, settings


def test_no_module_hides_a_setting():
    names = {path.stem for path in Path(cuda.__file__).parent.glob("*.py")}
    assert "matmul" not in names
    assert cupola.backends.cuda.matmul is settings.matmul
