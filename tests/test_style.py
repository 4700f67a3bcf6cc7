"""Holds language, names and the sizes of files and packages at their ceilings.

A ceiling is only ever lowered. `python -m tests.support.style PATH` lists the findings.
"""

from pathlib import Path

import pytest

from tests.support.style import class_owners, examine_all

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "service", ROOT / "training", ROOT / "loadtests"]
TESTS = [ROOT / "tests"]
MAX_LINES = 400
MAX_ROOT_MODULES = 8
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


def test_python_files_have_at_most_400_lines():
    files = [file for root in (*SOURCES, *TESTS) for file in root.rglob("*.py")]
    lines = {str(file.relative_to(ROOT)): file.read_text().count("\n") for file in files}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize("package", ["service/silhouette_seg", "training", "loadtests"])
def test_root_packages_have_at_most_eight_modules(package):
    modules = [file.stem for file in (ROOT / package).glob("*.py") if file.stem != "__init__"]
    assert len(modules) <= MAX_ROOT_MODULES, sorted(modules)
