"""Tests of reading and checking thresholds."""

import pytest

from loadtests.report.thresholds import (
    DEFAULT_FILE,
    InvalidThresholds,
    Threshold,
    check_thresholds,
    read_thresholds,
)
from loadtests.scenario.shapes import SHAPES

FIGURES = {"failed_share": 0.0, "photo": {"p95_ms": 120.0, "p99_ms": None}, "phases": {"over": {}}}


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        (tmp_path / "thresholds.toml").write_text(text)
        return tmp_path / "thresholds.toml"

    return write


@pytest.mark.parametrize(
    ("threshold", "met"),
    [
        (Threshold("photo.p95_ms", at_most=120.0), True),
        (Threshold("photo.p95_ms", at_most=119.9), False),
        (Threshold("photo.p95_ms", at_least=120.0), True),
        (Threshold("photo.p95_ms", at_least=120.1), False),
        (Threshold("failed_share", at_most=0.0), True),
        (Threshold("photo.p99_ms", at_most=1000), False),
        (Threshold("phases.over.photo.p95_ms", at_most=1000), False),
        (Threshold("failed_share.of.what", at_most=1000), False),
        (Threshold("no_such_figure", at_most=1000), False),
    ],
)
def test_threshold_includes_its_bound_and_missing_figure_misses(threshold, met):
    (verdict,) = check_thresholds([threshold], FIGURES)
    assert verdict.met is met


def test_threshold_of_unmeasured_figure_is_not_judged():
    thresholds = [Threshold("stream.p95_ms", at_most=1), Threshold("phases.over.stream.ok", 1)]
    without_streams = check_thresholds(thresholds, FIGURES, unmeasured=["stream"])
    assert [verdict.met for verdict in without_streams] == [None, None]
    assert [verdict.met for verdict in check_thresholds(thresholds, FIGURES)] == [False, False]


def test_thresholds_of_shape_include_those_of_every_shape(file):
    text = """
    [every]
    "failed_share" = { at_most = 0.01 }
    [steady]
    "photo.p95_ms" = { at_most = 100 }
    [overload]
    "goodput_share" = { at_least = 0.9 }
    """
    assert read_thresholds(file(text), "overload") == [
        Threshold("failed_share", at_most=0.01),
        Threshold("goodput_share", at_least=0.9),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[every",
        "[every]\nfailed_share = 1",
        '[every]\nfailed_share = { at_most = "1" }',
        "[every]\nfailed_share = { at_most = true }",
        "[every]\nfailed_share = { below = 1 }",
        "[every]\nfailed_share = { at_most = 1, at_least = 0 }",
        "[every]\nfailed_share = {}",
        "every = 1",
        "[often]\nfailed_share = { at_most = 1 }",
    ],
)
def test_invalid_file_of_thresholds_raises(file, text):
    with pytest.raises(InvalidThresholds, match=r"thresholds\.toml"):
        read_thresholds(file(text), "steady")


@pytest.mark.parametrize("shape", SHAPES)
def test_default_thresholds_cover_every_shape(shape):
    thresholds = read_thresholds(DEFAULT_FILE, shape)
    assert Threshold("failed_share", at_most=0.0) in thresholds
    assert any("health" in threshold.figure for threshold in thresholds)
