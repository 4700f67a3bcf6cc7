"""What must hold, and whether it does."""

import pytest

from loadtests.shapes import SHAPES
from loadtests.thresholds import OWN, BadThresholds, Threshold, check, read_thresholds

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
def test_a_bound_holds_up_to_itself_and_a_figure_that_is_not_there_misses(threshold, met):
    (verdict,) = check([threshold], FIGURES)
    assert verdict.met is met


def test_what_cannot_be_known_is_neither_met_nor_missed():
    thresholds = [Threshold("stream.p95_ms", at_most=1), Threshold("phases.over.stream.ok", 1)]
    assert [each.met for each in check(thresholds, FIGURES, unknown=["stream"])] == [None, None]
    assert [each.met for each in check(thresholds, FIGURES)] == [False, False]


def test_thresholds_are_those_of_every_shape_and_of_one(file):
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
def test_a_bad_file_is_refused(file, text):
    with pytest.raises(BadThresholds, match=r"thresholds\.toml"):
        read_thresholds(file(text), "steady")


@pytest.mark.parametrize("shape", SHAPES)
def test_our_own_hold_every_shape_to_something(shape):
    thresholds = read_thresholds(OWN, shape)
    assert Threshold("failed_share", at_most=0.0) in thresholds
    assert any("health" in threshold.figure for threshold in thresholds)
