import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "random.md"


def test_the_example_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
