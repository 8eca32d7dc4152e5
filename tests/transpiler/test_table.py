"""The table: every public name has a row, and every row makes sense."""

from pathlib import Path

import pytest

from cupola_transpiler.report.support import support_page
from cupola_transpiler.rule import discover
from cupola_transpiler.table import (
    MISSING,
    RENAMED,
    SAME,
    STRUCTURAL,
    TORCH_VERSION,
    UNSUPPORTED,
    load,
)

TABLE = load()


def test_rows_are_complete():
    for row in TABLE.names():
        assert row.status in (SAME, RENAMED, STRUCTURAL, *MISSING)
        assert row.target.split(".")[0] in ("cupola", "cupola_compat")
        if row.status in MISSING:
            assert row.reason, f"{row.name} is unsupported without a reason"
        if row.status == STRUCTURAL:
            assert row.rule in {rule.code for rule in discover()}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("torch", "cupola"),
        ("torch.nn.functional.relu", "cupola.nn.functional.relu"),
        ("torch.no.such.name", "cupola.no.such.name"),
        ("torch.__version__", "cupola.torch_version"),
        ("torch.__version__.split", "cupola.torch_version.split"),
        ("torchvision.ops.nms", "cupola_compat.torchvision.ops.nms"),
        ("functorch.vmap", "cupola.func.vmap"),
    ],
)
def test_targets(name, target):
    assert TABLE.target(name) == target


def test_names_without_a_root_have_no_target():
    assert TABLE.root("torchaudio.transforms") is None
    assert TABLE.root("safetensors") is None
    with pytest.raises(KeyError):
        TABLE.target("numpy.zeros")


def test_unsupported_covers_what_lies_inside():
    assert TABLE.row("torch.package.PackageImporter.load").name == "torch.package"
    assert TABLE.row("torch.quantize_per_tensor").status == UNSUPPORTED
    assert TABLE.row("torch.onnx.export").status == UNSUPPORTED
    assert TABLE.row("torch.nn.Linear").status == SAME
    assert TABLE.row("torch.nn.Linear.from_float") is None


def test_every_public_name_of_torch_has_a_row():
    pytest.importorskip("torch")
    from transpiler.enumerate_torch import enumerated

    missing = [
        f"{home}.{name}"
        for home, names in enumerated().items()
        for name in names
        if f"{home}.{name}" not in TABLE.rows
    ]
    assert not missing


def test_rows_lead_somewhere():
    """What a conversion writes exists in the runtime, or is reported."""
    pytest.importorskip("cupola")
    from transpiler.pending import exists

    rows = [row for row in TABLE.names() if row.status in (SAME, RENAMED)]
    missing = [row.target for row in rows if not exists(row.target)]
    assert not missing, f"run tests/transpiler/pending.py: {missing[:20]}"


def test_the_version_is_the_runtimes():
    cupola = pytest.importorskip("cupola")
    assert tuple(map(int, str(cupola.torch_version).split(".")[:2])) == TORCH_VERSION


def test_the_page_says_what_the_table_says():
    page = Path(__file__).parents[2] / "docs" / "support.md"
    stale = page.read_text(encoding="utf-8") != support_page(TABLE)
    assert not stale, "run tests/transpiler/pending.py"
