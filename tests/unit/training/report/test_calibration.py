"""Compares confidence and the no-person rule with the truth, and checks the section."""

import cv2
import numpy as np
import pytest

from silhouette_seg.pipeline.faces import Domain, Face
from silhouette_seg.spec import load_spec
from silhouette_seg.vision.mask.quality import (
    MIN_PERSON_SHARE,
    PERSON_CERTAINTY,
    PERSON_SHARE,
    MaskQuality,
)
from tests.support.made_data import write_data_pack
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.calibrate import (
    PERSON_SHARES,
    USEFUL_IOU,
    Observation,
    compare_masks,
    fit_line,
    observe,
    rules_table,
)
from training.data.dataset import read_backgrounds, read_portraits
from training.evaluation.faces import BACKGROUND
from training.report.calibration import (
    BIN_COUNT,
    RELIABILITY_PICTURE,
    MissedPeople,
    ReliabilityBin,
    calibration_error,
    calibration_text,
    draw_reliability,
    measure_calibration,
    measure_presence,
    measure_reliability,
    reliability_bins,
    summarise_calibration,
)

NAMES = ("connectnet", "md_trisenet", "rcrnet")


def seen(
    *,
    model: str = "connectnet",
    group: str = "far_shot",
    decided: float = 0.7,
    share: float = 0.3,
    boundary_accuracy: float | None = 0.8,
    iou: float = 0.9,
) -> Observation:
    measured = MaskQuality(share, 1.0, 1, 0, decided)
    if group == BACKGROUND:
        return Observation(model, group, measured, None)
    return Observation(model, group, measured, boundary_accuracy, iou)


def half(height: int = 60, width: int = 60, column: int = 30) -> np.ndarray:
    alpha = np.zeros((height, width), np.uint8)
    alpha[:, column:] = 255
    return alpha


def test_boundary_accuracy_is_agreement_with_the_reference():
    assert compare_masks(half(), half()) == (1.0, 1.0)
    # the band is 4 columns wide, and one of them is wrong
    assert compare_masks(half(), half(column=31)) == (0.75, 29 / 30)
    assert compare_masks(half(), half(column=0)) == (0.5, 0.5)
    # a reference of another size is reduced first
    assert compare_masks(half(), half(240, 240, 120)) == (1.0, 1.0)
    assert compare_masks(np.zeros((60, 60), np.uint8), half()) == (None, 0.0)
    assert compare_masks(half(column=60), half(column=60)) == (None, 0.0)


def test_bins_hold_equal_numbers_of_sorted_photos():
    pairs = [(value / 100, value / 200) for value in reversed(range(100))]
    parts = reliability_bins(pairs)
    assert [part.photos for part in parts] == [10] * BIN_COUNT
    assert parts[0] == ReliabilityBin(10, pytest.approx(0.045), pytest.approx(0.0225))
    assert calibration_error(parts) == pytest.approx(np.mean([p - o for p, o in pairs]))
    assert len(reliability_bins(pairs[:3])) == 3
    assert reliability_bins([]) == ()
    assert calibration_error([]) == 0


def test_reliability_errors_of_opposite_sign_cancel_in_bins():
    confidence = seen().quality.confidence
    observations = [
        seen(decided=0.7 + n / 1e6, boundary_accuracy=confidence + (0.1, -0.1)[n % 2])
        for n in range(40)
    ]
    measured = measure_reliability("connectnet", observations)
    assert measured.photos == 40
    assert calibration_error(measured.confidence_bins) == pytest.approx(0, abs=1e-3)
    assert calibration_error(measured.certainty_bins) == pytest.approx(confidence - 0.7, abs=1e-3)
    assert measured.error == pytest.approx(0.1, abs=1e-3)
    assert abs(measured.correlation) < 0.1


def test_reliability_ignores_photos_without_an_outline():
    observations = [
        seen(boundary_accuracy=None),
        seen(group=BACKGROUND),
        seen(decided=0.4, boundary_accuracy=0.6),
        seen(),
    ]
    measured = measure_reliability("connectnet", observations)
    assert measured.photos == 2
    assert measured.correlation == pytest.approx(1)
    assert [part.predicted for part in measured.certainty_bins] == pytest.approx([0.4, 0.7])
    assert measure_reliability("connectnet", []).photos == 0


SMALL = (MIN_PERSON_SHARE + PERSON_SHARE) / 2
SOFT = PERSON_CERTAINTY * 0.9


def test_presence_counts_alarms_and_losses_by_both_rules():
    observations = [
        seen(group=BACKGROUND),
        seen(group=BACKGROUND, decided=SOFT, share=SMALL),
        seen(group=BACKGROUND, share=MIN_PERSON_SHARE / 2),
        seen(),
        seen(decided=SOFT, share=SMALL, iou=USEFUL_IOU),
        seen(decided=SOFT, share=SMALL, iou=USEFUL_IOU / 2),
        seen(decided=SOFT),
        seen(group="no_face", share=MIN_PERSON_SHARE / 2, iou=0.0),
    ]
    measured = measure_presence("connectnet", observations)
    assert (measured.scenes, measured.alarms_by_area, measured.alarms) == (3, 2, 1)
    assert measured.lost_people == (
        MissedPeople("far_shot", 4, 0, 2, 1),
        MissedPeople("no_face", 1, 1, 1, 0),
    )


def test_line_passes_through_collinear_photos():
    observations = [seen(decided=at, boundary_accuracy=0.4 + 0.5 * at) for at in (0.2, 0.5, 0.9)]
    assert fit_line([*observations, seen(group=BACKGROUND)]) == pytest.approx((0.4, 0.5))


def test_rules_table_counts_people_and_scenes():
    observations = [
        seen(share=PERSON_SHARES[0] / 2, decided=0.35),
        seen(group=BACKGROUND, share=PERSON_SHARES[0] / 2, decided=0.41),
    ]
    shares, levels, cells = (column.cells for column in rules_table(observations).columns)
    cells_by_rule = dict(zip(zip(shares, levels, strict=True), cells, strict=True))
    assert cells_by_rule["0.01", "0.3"] == "100.0 %, 0 (0)"
    assert cells_by_rule["0.01", "0.36"] == "100.0 %, 1 (1)"
    assert cells_by_rule["0.01", "0.42"] == "0.0 %, 1 (1)"


@pytest.fixture
def figures():
    chance = np.random.default_rng(0)
    observations = [
        seen(model=model, decided=at, boundary_accuracy=0.42 + 0.5 * at)
        for model in NAMES
        for at in chance.uniform(0.3, 0.8, 25)
    ]
    empty = [seen(model=model, group=BACKGROUND, share=SMALL, decided=SOFT) for model in NAMES]
    return summarise_calibration([*observations, *empty])


def test_calibration_text_lists_every_model(figures):
    text = calibration_text(figures)
    assert f"](results/{RELIABILITY_PICTURE})" in text
    for name in NAMES:
        assert text.count(f"| {name} | 25 |") == 1
        assert f"| {name} | 100.0 % (1 of 1) | 0.0 % (0 of 1) | 0 | 0 | 0 | 0 of 25 |" in text


def test_reliability_plot_is_drawn(figures, tmp_path):
    draw_reliability(figures, tmp_path, tmp_path)
    drawn = cv2.imread(str(tmp_path / RELIABILITY_PICTURE))
    assert drawn.shape[1] > 2 * drawn.shape[0]
    assert drawn.min() < drawn.max()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_repository")
    for name in NAMES:
        write_tiny_model(folder, tiny_spec(name))
    return folder


def test_observations_use_the_domains_of_the_service(tmp_path, repository):
    """The tiny model's alpha depends on the red of the photo and on its domain."""
    data = write_data_pack(tmp_path, train=4, val=2, backgrounds=3)
    specs = [load_spec(repository / name) for name in NAMES]
    portraits, scenes = read_portraits(data, "val"), read_backgrounds(data, "train")
    none = observe(specs, repository, None, portraits, scenes)
    near = observe(specs, repository, lambda _: [Face(0, 0, 0.6, 0.6, 1.0)], portraits, scenes)
    assert [each.model for each in none] == list(NAMES) * 5
    assert [each.group for each in none[::3]] == [
        *(portrait.domain.label for portrait in portraits),
        *[BACKGROUND] * 3,
    ]
    for each, other in zip(none, near, strict=True):
        has_domain = each.model == "md_trisenet"
        assert (each.quality != other.quality) == has_domain
        assert each.boundary_accuracy is None or 0 <= each.boundary_accuracy <= 1
    figures = measure_calibration(specs, repository, None, portraits, scenes)
    assert figures == summarise_calibration(none)
    assert {part.group for part in figures.presence[0].lost_people} <= {d.label for d in Domain}
