"""Holds the language of docstrings, class names and test names at its ceilings.

A ceiling is only ever lowered. `python -m tests.support.style PATH` lists the findings.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.style import (
    check_docstring,
    check_test_names,
    class_owners,
    docstrings,
    python_files,
    words,
)

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "service", ROOT / "training", ROOT / "loadtests"]
TESTS = [ROOT / "tests"]


def breaches(roots: list[Path], rule: str) -> list[str]:
    docs = [doc for path in python_files(roots) for doc in docstrings(path)]
    return [str(found) for doc in docs for found in check_docstring(doc) if found.rule == rule]


@pytest.mark.parametrize(("roots", "ceiling"), [(SOURCES, 17.0), (TESTS, 25.0)])
def test_docstrings_stay_below_what_and_who_ceiling(roots, ceiling):
    found = breaches(roots, "what/who")
    total = sum(len(words(d.text)) for path in python_files(roots) for d in docstrings(path))
    assert 1000 * len(found) / total <= ceiling, "\n".join(found)


@pytest.mark.parametrize(("roots", "ceiling"), [(SOURCES, 0.27), (TESTS, 0.24)])
def test_docstrings_begin_with_a_subject(roots, ceiling):
    found = breaches(roots, "fragment")
    total = sum(1 for path in python_files(roots) for _ in docstrings(path))
    assert len(found) / total <= ceiling, "\n".join(found)


def test_package_class_names_have_one_owner():
    owners = class_owners([ROOT / "service"])
    shared = sorted(name for name, n in owners.items() if n > 1 and not name.startswith("_"))
    assert len(shared) <= 27, shared


def test_test_names_have_a_subject():
    found = [f for path in python_files(TESTS) for f in check_test_names(path)]
    rules = Counter(f.rule for f in found)
    assert rules["test without subject"] <= 305, "\n".join(map(str, found))
