"""Tests of the report of a run."""

import pytest

from loadtests.measurement.figures import compute_figures
from loadtests.measurement.record import RunRecord, Sample
from loadtests.report.page import render_html, summary_line, verdict_line
from loadtests.report.thresholds import Threshold, Verdict
from loadtests.scenario.arrival import Phase

PHASES = (Phase("steady", 10, 1),)


def figures(capacity: float | None = None, **record):
    samples = [Sample("photo", "photo <a>", "ok", at_s, 0.1) for at_s in range(10)]
    computed = compute_figures(RunRecord(samples, **record), PHASES, measured_capacity=capacity)
    return {"shape": "steady", "seconds": 10.0} | computed


@pytest.mark.parametrize(("capacity", "too_low"), [(2.0, False), (0.9, False), (0.5, True)])
def test_summary_reports_capacity_that_was_too_low(capacity, too_low):
    line = summary_line(figures(capacity))
    assert f"capacity {capacity} per second" in line
    assert ("which is too low" in line) is too_low


def test_summary_reports_memory_growth_or_its_absence():
    assert "memory grew by 25.0 MB" in summary_line(figures(memory=[(0, 100e6), (9, 125e6)]))
    assert "memory is not reported" in summary_line(figures())


@pytest.mark.parametrize(
    ("met", "word"), [(True, "met"), (False, "MISSED"), (None, "not measured")]
)
def test_verdict_is_one_line(met, word):
    verdict = Verdict(Threshold("photo.p95_ms", at_most=50), 60.0, met)
    assert verdict_line(verdict).strip() == f"{word}  photo.p95_ms at most 50: 60.0"


def test_names_are_escaped_in_html():
    verdicts = [Verdict(Threshold("photo.p95_ms", at_most=50), 100.0, met=False)]
    html = render_html(figures(), verdicts, b"png")
    assert "photo &lt;a&gt;" in html
    assert '<td class="missed">missed</td>' in html
