"""What a run says at its end."""

import pytest

from loadtests.arrival import Stage
from loadtests.figures import figures_of
from loadtests.record import Record, Sample
from loadtests.report import page, summary, told
from loadtests.thresholds import Threshold, Verdict

STAGES = (Stage("steady", 10, 1),)


def figures(capacity: float | None = None, **of_record):
    samples = [Sample("photo", "photo <a>", "ok", at_s, 0.1) for at_s in range(10)]
    told = figures_of(Record(samples, **of_record), STAGES, measured_capacity=capacity)
    return {"shape": "steady", "seconds": 10.0} | told


@pytest.mark.parametrize(("capacity", "too_low"), [(2.0, False), (0.9, False), (0.5, True)])
def test_more_answers_than_the_capacity_mean_that_it_was_none(capacity, too_low):
    said = summary(figures(capacity))
    assert f"capacity {capacity} a second" in said
    assert ("which is too low" in said) is too_low


def test_growth_is_told_or_that_it_is_not_known():
    assert "memory grew by 25.0 MB" in summary(figures(memory=[(0, 100e6), (9, 125e6)]))
    assert "does not tell its memory" in summary(figures())


@pytest.mark.parametrize(
    ("met", "word"), [(True, "met"), (False, "MISSED"), (None, "not measured")]
)
def test_a_verdict_is_one_line(met, word):
    verdict = Verdict(Threshold("photo.p95_ms", at_most=50), 60.0, met)
    assert told(verdict).strip() == f"{word}  photo.p95_ms at most 50: 60.0"


def test_names_are_text_on_the_page():
    verdicts = [Verdict(Threshold("photo.p95_ms", at_most=50), 100.0, met=False)]
    html = page(figures(), verdicts, b"png")
    assert "photo &lt;a&gt;" in html
    assert '<td class="missed">missed</td>' in html
