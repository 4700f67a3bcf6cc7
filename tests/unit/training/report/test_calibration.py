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


def observation(
    *,
    model: str = "connectnet",
    group: str = "far_shot",
    certainty: float = 0.7,
    share: float = 0.3,
    boundary_accuracy: float | None = 0.8,
    iou: float = 0.9,
) -> Observation:
    quality = MaskQuality(share, 1.0, 1, 0, certainty)
    if group == BACKGROUND:
        return Observation(model, group, quality, None)
    return Observation(model, group, quality, boundary_accuracy, iou)


def half(height: int = 60, width: int = 60, column: int = 30) -> np.ndarray:
    alpha = np.zeros((height, width), np.uint8)
    alpha[:, column:] = 255
    return alpha


def test_boundary_accuracy_is_agreement_with_the_reference():
    assert compare_masks(half(), half()) == (1.0, 1.0)
    # The band is 4 columns wide, and one of them is wrong.
    assert compare_masks(half(), half(column=31)) == (0.75, 29 / 30)
    assert compare_masks(half(), half(column=0)) == (0.5, 0.5)
    # A reference of another size is reduced first.
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
    confidence = observation().quality.confidence
    observations = [
        observation(certainty=0.7 + n / 1e6, boundary_accuracy=confidence + (0.1, -0.1)[n % 2])
        for n in range(40)
    ]
    figures = measure_reliability("connectnet", observations)
    assert figures.photos == 40
    assert calibration_error(figures.confidence_bins) == pytest.approx(0, abs=1e-3)
    assert calibration_error(figures.certainty_bins) == pytest.approx(confidence - 0.7, abs=1e-3)
    assert figures.error == pytest.approx(0.1, abs=1e-3)
    assert abs(figures.correlation) < 0.1


def test_reliability_ignores_photos_without_an_outline():
    observations = [
        observation(boundary_accuracy=None),
        observation(group=BACKGROUND),
        observation(certainty=0.4, boundary_accuracy=0.6),
        observation(),
    ]
    figures = measure_reliability("connectnet", observations)
    assert figures.photos == 2
    assert figures.correlation == pytest.approx(1)
    assert [part.predicted for part in figures.certainty_bins] == pytest.approx([0.4, 0.7])
    assert measure_reliability("connectnet", []).photos == 0


SMALL = (MIN_PERSON_SHARE + PERSON_SHARE) / 2
SOFT = PERSON_CERTAINTY * 0.9


def test_presence_counts_alarms_and_losses_by_both_rules():
    observations = [
        observation(group=BACKGROUND),
        observation(group=BACKGROUND, certainty=SOFT, share=SMALL),
        observation(group=BACKGROUND, share=MIN_PERSON_SHARE / 2),
        observation(),
        observation(certainty=SOFT, share=SMALL, iou=USEFUL_IOU),
        observation(certainty=SOFT, share=SMALL, iou=USEFUL_IOU / 2),
        observation(certainty=SOFT),
        observation(group="no_face", share=MIN_PERSON_SHARE / 2, iou=0.0),
    ]
    figures = measure_presence("connectnet", observations)
    assert (figures.scenes, figures.alarms_by_area, figures.alarms) == (3, 2, 1)
    assert figures.lost_people == (
        MissedPeople("far_shot", 4, 0, 2, 1),
        MissedPeople("no_face", 1, 1, 1, 0),
    )


def test_line_passes_through_collinear_photos():
    observations = [
        observation(certainty=at, boundary_accuracy=0.4 + 0.5 * at) for at in (0.2, 0.5, 0.9)
    ]
    assert fit_line([*observations, observation(group=BACKGROUND)]) == pytest.approx((0.4, 0.5))


def test_rules_table_counts_people_and_scenes():
    observations = [
        observation(share=PERSON_SHARES[0] / 2, certainty=0.35),
        observation(group=BACKGROUND, share=PERSON_SHARES[0] / 2, certainty=0.41),
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
        observation(model=model, certainty=at, boundary_accuracy=0.42 + 0.5 * at)
        for model in NAMES
        for at in chance.uniform(0.3, 0.8, 25)
    ]
    empty = [
        observation(model=model, group=BACKGROUND, share=SMALL, certainty=SOFT) for model in NAMES
    ]
    return summarise_calibration([*observations, *empty])


def test_calibration_text_lists_every_model(figures):
    text = calibration_text(figures)
    assert f"](results/{RELIABILITY_PICTURE})" in text
    for name in NAMES:
        assert text.count(f"| {name} | 25 |") == 1
        assert f"| {name} | 100.0 % (1 of 1) | 0.0 % (0 of 1) | 0 | 0 | 0 | 0 of 25 |" in text


def test_reliability_plot_is_drawn(figures, tmp_path):
    draw_reliability(figures, tmp_path, tmp_path)
    picture = cv2.imread(str(tmp_path / RELIABILITY_PICTURE))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert picture.min() < picture.max()


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
    assert [observed.model for observed in none] == list(NAMES) * 5
    assert [observed.group for observed in none[::3]] == [
        *(portrait.domain.label for portrait in portraits),
        *[BACKGROUND] * 3,
    ]
    for no_face, close in zip(none, near, strict=True):
        has_domain = no_face.model == "md_trisenet"
        assert (no_face.quality != close.quality) == has_domain
        assert no_face.boundary_accuracy is None or 0 <= no_face.boundary_accuracy <= 1
    figures = measure_calibration(specs, repository, None, portraits, scenes)
    assert figures == summarise_calibration(none)
    assert {part.group for part in figures.presence[0].lost_people} <= {d.label for d in Domain}
