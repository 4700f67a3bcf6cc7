"""Measures the zoom pass of the service's segmenters."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from silhouette_seg.spec import ModelTask
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.data.dataset import Portrait
from training.evaluation.specs import find_specs
from training.report.zoom import ZoomFigures, measure_zoom, zoom_text

SIDE = 640
SMALL, LARGE = 70, 500
"""Sides of the people in pixels; the tiny models segment a red disc as a person."""


def write_photo(folder: Path, name: str, side: int) -> Portrait:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if side:
        cv2.circle(mask, (331, 309), side // 2, 255, thickness=-1)
    image, truth = folder / f"{name}.jpg", folder / f"{name}.png"
    rgb = np.dstack([mask, np.full_like(mask, 1), np.zeros_like(mask)])
    cv2.imwrite(str(image), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    cv2.imwrite(str(truth), mask)
    source = "far" if side == SMALL else "near"
    return Portrait(name, source, name, image, truth, face=None)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory) -> list[Portrait]:
    folder = tmp_path_factory.mktemp("photos")
    sides = [LARGE, SMALL] * 12
    return [write_photo(folder, f"photo{number}", side) for number, side in enumerate(sides)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> list[Path]:
    """Returns two scenes without a person; one has a red spot."""
    folder = tmp_path_factory.mktemp("scenes")
    return [write_photo(folder, f"scene{side}", side).image for side in (0, SMALL)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model_repository")
    for name in ("connectnet", "face_detector", "md_trisenet", "rcrnet"):
        write_tiny_model(folder, tiny_spec(name, size_hw=(64, 64)))
    return folder


@pytest.fixture(scope="module")
def figures(repository, portraits, scenes) -> ZoomFigures:
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    return measure_zoom(specs, repository, portraits, scenes)


def test_zoom_of_small_people_improves_their_iou(figures):
    assert [model.spec.name for model in figures.models] == ["md_trisenet", "connectnet"]
    for model in figures.models:
        assert model.rows == tuple(range(1, 24, 2))
        assert len(model.first) == len(model.served) == 24
        for row, (first, served) in enumerate(zip(model.first, model.served, strict=True)):
            assert (first == served) == (row not in model.rows)
            assert served.iou[1] >= first.iou[1]
        assert model.served_ms > 0
        assert model.first_ms > 0


def test_zoom_counts_people_found_in_empty_scenes(figures):
    assert figures.scenes == 2
    assert {model.alarms for model in figures.models} == {(1, 1)}


def test_decode_cost_is_measured_for_each_model(figures):
    assert set(figures.decode_ms) == {"md_trisenet", "connectnet"}
    assert min(min(pair) for pair in figures.decode_ms.values()) > 0


def test_zoom_text_lists_only_groups_with_zoomed_photos(figures):
    text = zoom_text(figures)
    assert text.startswith("## Zoom")
    assert "12 of 24 photos have a zoom pass" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    names = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert names.count("source far") == 2
    assert names.count("all") == 2
    assert "source near" not in names
    far_row = next(row for row in rows if row.startswith("| source far"))
    assert "**+" in far_row


def test_zoom_text_without_a_zoom_model_is_empty(tmp_path, portraits):
    spec = tiny_spec("rcrnet")
    write_tiny_model(tmp_path, spec)
    figures = measure_zoom([spec], tmp_path, portraits, [])
    assert figures.models == ()
    assert zoom_text(figures) == ""


def test_zoom_text_without_zoomed_photos_has_no_row(repository, portraits):
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    figures = measure_zoom(specs, repository, portraits[:1], [])
    text = zoom_text(figures)
    assert "0 of 1 photos have a zoom pass." in text
    assert "| all |" not in text
