"""Every rule's own examples."""

import pytest

from cupola_transpiler.convert import convert_source
from cupola_transpiler.rule import discover

RULES = discover()
VALID = [(rule.code, text) for rule in RULES for text in rule.VALID]
INVALID = [(rule.code, *pair) for rule in RULES for pair in rule.INVALID]


@pytest.mark.parametrize(("code", "text"), VALID)
def test_valid_stays(code, text):
    result = convert_source(text)
    assert result.text == text
    assert not [n for n in result.notes if n.level == "unsupported"]


@pytest.mark.parametrize(("code", "before", "after"), INVALID)
def test_invalid_becomes(code, before, after):
    result = convert_source(before)
    assert result.text == after
    assert code in {change.rule for change in result.changes}


@pytest.mark.parametrize("text", [pair[2] for pair in INVALID])
def test_results_are_stable(text):
    assert convert_source(text).text == text


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.code)
def test_every_rule_explains_itself(rule):
    assert rule.title()
    assert rule.VALID, "a rule shows what it leaves alone"
    assert rule.INVALID or rule.code in (
        "unsupported-name",
        "remaining-name",
        "vendored-package",
    ), "and what it changes"
