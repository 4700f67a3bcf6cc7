"""Photos go through the segmenters that are served, and the report tells what a second look did."""

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
"""Sides of the people: a red disc, which the tiny models see as one."""


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
    """One of them has a red spot in it, which is no person."""
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


def test_small_people_are_looked_at_twice_and_seen_better(figures):
    assert [each.spec.name for each in figures.models] == ["md_trisenet", "connectnet"]
    for each in figures.models:
        assert each.rows == tuple(range(1, 24, 2))
        assert len(each.first) == len(each.served) == 24
        for row, (first, served) in enumerate(zip(each.first, each.served, strict=True)):
            assert (first == served) == (row not in each.rows)
            assert served.iou[1] >= first.iou[1]
        assert each.served_ms > 0
        assert each.first_ms > 0


def test_what_is_seen_in_scenes_without_a_person_is_counted(figures):
    assert figures.scenes == 2
    assert {each.alarms for each in figures.models} == {(1, 1)}


def test_the_cost_of_decoding_is_told_of_each_model(figures):
    assert set(figures.decode_ms) == {"md_trisenet", "connectnet"}
    assert min(min(pair) for pair in figures.decode_ms.values()) > 0


def test_the_section_tells_of_groups_that_a_second_look_changed(figures):
    text = zoom_text(figures, "results")
    assert text.startswith("## A second look")
    assert "12 of 24 photos are looked at twice" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    named = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert named.count("source far") == 2
    assert named.count("all") == 2
    assert "source near" not in named
    far = next(row for row in rows if row.startswith("| source far"))
    assert "**+" in far


def test_nothing_is_told_where_no_such_model_is(tmp_path, portraits):
    spec = tiny_spec("rcrnet")
    write_tiny_model(tmp_path, spec)
    figures = measure_zoom([spec], tmp_path, portraits, [])
    assert figures.models == ()
    assert zoom_text(figures, "results") == ""


def test_photos_that_need_no_second_look_have_no_row(repository, portraits):
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    figures = measure_zoom(specs, repository, portraits[:1], [])
    text = zoom_text(figures, "results")
    assert "0 of 1 photos are looked at twice." in text
    assert "| all |" not in text
