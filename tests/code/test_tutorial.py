"""Every example of docs/tutorials/code.md that runs on the CPU; tests/gpu runs the others."""

import pytest

from code_pages import examples, run


@pytest.mark.parametrize("line, text", examples(False), ids=lambda x: str(x)[:4])
def test_example(line, text):
    run(line, text)


def test_both_kinds_are_there():
    assert len(examples(False)) >= 15 and len(examples(True)) >= 6
