"""Golden values of the mask metrics."""

import dataclasses

import numpy as np
import pytest

from training.evaluation.metrics import (
    boundary,
    boundary_iou,
    compare_metrics,
    contour_accuracy,
    estimate_metrics,
    mean_estimate,
    score_mask,
    summarise_masks,
)


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    picture = np.zeros((64, 64), bool)
    for top, left, bottom, right in boxes:
        picture[top:bottom, left:right] = True
    return picture


TRUTH = (16, 16, 48, 48)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        pytest.param([TRUTH], 1.0, id="same"),
        pytest.param([(16, 17, 48, 49)], 1.0, id="shifted by the tolerance"),
        pytest.param([(16, 18, 48, 50)], 0.515625, id="shifted by two"),
        pytest.param([(18, 18, 50, 50)], 0.046875, id="shifted by two both ways"),
        pytest.param([(15, 15, 49, 49)], 0.985075, id="grown by one"),
        pytest.param([(14, 14, 50, 50)], 0.0, id="grown by two"),
        pytest.param([TRUTH, (2, 2, 8, 8)], 0.914286, id="with a blob"),
        pytest.param([], 0.0, id="empty"),
    ],
)
def test_contour_accuracy_has_golden_values(
    prediction: list[tuple[int, int, int, int]], expected: float
) -> None:
    assert contour_accuracy(mask(*prediction), mask(TRUTH), radius=1) == pytest.approx(
        expected, abs=1e-6
    )


def test_boundary_of_a_box_has_128_pixels() -> None:
    assert boundary(mask(TRUTH)).sum() == 128


def test_boundary_excludes_the_image_border() -> None:
    assert not boundary(np.ones((8, 8), bool)).any()


def test_summary_has_class_iou_and_three_means() -> None:
    half, quarter = mask((0, 0, 64, 32)), mask((0, 0, 32, 32))
    small = score_mask(quarter, half)
    assert small.iou == pytest.approx((2048 / 3072, 1024 / 2048))
    perfect = score_mask(half, half)
    summary = summarise_masks([small, perfect])
    assert summary["photos"] == 2
    assert summary["miou_image_mean"] == pytest.approx(100 * np.mean([2 / 3, 1 / 2, 1, 1]))
    assert summary["iou_fg_image_mean"] == pytest.approx(75)
    dataset = np.mean([(2048 + 2048) / (3072 + 2048), (1024 + 2048) / (2048 + 2048)])
    assert summary["miou_dataset"] == pytest.approx(100 * dataset)
    assert summary["pixel_accuracy"] == pytest.approx(100 * (3072 + 4096) / 8192)


def test_score_of_two_empty_masks_is_perfect() -> None:
    empty = score_mask(mask(), mask())
    assert empty.iou == (1.0, 1.0)
    assert empty.connectivity == 1.0
    assert empty.contour_accuracy == 1.0


def shifted_mask(columns: int) -> np.ndarray:
    return mask((16, 16 + columns, 48, 48 + columns))


def test_estimate_lies_between_its_interval_ends() -> None:
    scores = [score_mask(shifted_mask(columns), mask(TRUTH)) for columns in range(8)]
    figures, summary = estimate_metrics(scores), summarise_masks(scores)
    assert figures.keys() == summary.keys() - {"photos"}
    for name, figure in figures.items():
        assert figure.value == pytest.approx(summary[name])
        assert figure.low < figure.value < figure.high


def test_interval_matches_the_deviation_of_the_mean() -> None:
    """The deviation of the mean is 0.5 / sqrt(n) for equal numbers of IoU 0 and 1."""
    empty_score, full_score = score_mask(mask(), mask(TRUTH)), score_mask(mask(TRUTH), mask(TRUTH))
    figure = estimate_metrics([empty_score, full_score] * 50)["iou_fg_image_mean"]
    assert figure.value == pytest.approx(50)
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * 5, rel=0.1)


def test_interval_of_equal_photos_has_no_width() -> None:
    figure = estimate_metrics([score_mask(shifted_mask(3), mask(TRUTH))] * 5)["miou_image_mean"]
    assert figure.low == pytest.approx(figure.value) == pytest.approx(figure.high)


def test_difference_is_paired_by_photo() -> None:
    """Each photo loses the same: the difference is certain, the two scores are not."""
    rows = [score_mask(mask(TRUTH), mask(TRUTH)), score_mask(shifted_mask(4), mask(TRUTH))] * 4
    assert (
        estimate_metrics(rows)["pixel_accuracy"].low < estimate_metrics(rows)["pixel_accuracy"].high
    )
    worse = [dataclasses.replace(row, correct=row.correct - 41) for row in rows]
    figure = compare_metrics(worse, rows)["pixel_accuracy"]
    expected = pytest.approx(-100 * 41 / 64**2)
    assert (figure.value, figure.low, figure.high) == (expected, expected, expected)


def test_difference_of_unequal_photo_counts_raises() -> None:
    row = score_mask(mask(TRUTH), mask(TRUTH))
    with pytest.raises(ValueError, match="2 photos"):
        compare_metrics([row, row], [row])


@pytest.mark.parametrize(("photos", "significant"), [(9, False), (10, True)])
def test_difference_of_few_photos_is_not_significant(photos: int, significant: bool) -> None:
    good_score, bad_score = (
        score_mask(mask(TRUTH), mask(TRUTH)),
        score_mask(shifted_mask(9), mask(TRUTH)),
    )
    better = compare_metrics([good_score] * photos, [bad_score] * photos)["miou_image_mean"]
    worse = compare_metrics([bad_score] * photos, [good_score] * photos)["miou_image_mean"]
    assert (better.above_zero, worse.below_zero) == (significant, significant)
    assert not better.below_zero
    assert not worse.above_zero


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        pytest.param([TRUTH], 1.0, id="same"),
        pytest.param([(15, 15, 49, 49)], 124 / 372, id="grown by one"),
        pytest.param([(12, 12, 52, 52)], 0.0, id="grown by more than a rim"),
        pytest.param([], 0.0, id="empty"),
    ],
)
def test_boundary_iou_has_golden_values(
    prediction: list[tuple[int, int, int, int]], expected: float
) -> None:
    assert boundary_iou(mask(*prediction), mask(TRUTH)) == pytest.approx(expected)


def test_boundary_iou_of_empty_masks_is_perfect() -> None:
    assert boundary_iou(mask(), mask()) == 1


def test_mean_estimate_lies_within_its_interval() -> None:
    figure = mean_estimate([1.0, 2.0, 3.0, 6.0] * 5)
    assert figure.value == 3
    assert 2 < figure.low < 3 < figure.high < 4
    assert figure.photos == 20
    assert mean_estimate(np.full(12, -2.0)).below_zero
