"""Holds the language of docstrings, class names and test names at its ceilings.

A ceiling is only ever lowered. `python -m tests.support.style PATH` lists the findings.
"""

from pathlib import Path

import pytest

from tests.support.style import class_owners, examine_all

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "service", ROOT / "training", ROOT / "loadtests"]
TESTS = [ROOT / "tests"]
SHARED_NAMES = {"Box", "Piece"}
"""Names that a class of pixels shares with its counterpart in the JSON report."""


@pytest.mark.parametrize(
    ("roots", "rule", "ceiling"),
    [
        pytest.param(roots, rule, ceiling, id=f"{roots[0].name}: {rule}")
        for roots, ceilings in [
            (SOURCES, {"what/who": 0, "fragment": 0, "long sentence": 0, "dialect": 0}),
            (TESTS, {"what/who": 0, "fragment": 0, "long sentence": 0, "dialect": 0}),
            (TESTS, {"test without subject": 0, "test name length": 0}),
        ]
        for rule, ceiling in ceilings.items()
    ],
)
def test_findings_of_style_rule_stay_at_ceiling(roots, rule, ceiling):
    reports = examine_all(roots)
    found = [str(one) for report in reports for one in report.findings if one.rule == rule]
    assert len(found) <= ceiling, "\n".join(found)


def test_package_class_names_have_one_owner():
    owners = class_owners([ROOT / "service"])
    shared = {name for name, n in owners.items() if n > 1 and not name.startswith("_")}
    assert shared == SHARED_NAMES
