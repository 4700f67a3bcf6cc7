"""Measures edge refinement and clean colours, and checks the section of the report."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.support.made_data import SIDE, write_data_pack
from training.data.dataset import read_portraits
from training.report import edges
from training.report.edges import (
    METRICS,
    ColourFigures,
    CompositeScene,
    EdgeFigures,
    RefinementFigures,
    colour_error,
    composite_scenes,
    edge_metrics,
    edges_text,
    measure_edges,
)
from training.report.scores import Group

SMALL = ((48, 64), (60, 90))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_pack(tmp_path_factory.mktemp("data"), val=12)


def coarse(portrait, _domain):
    """Returns the true mask as a model of very low resolution would predict it."""
    small = cv2.resize(portrait.truth(), (SIDE // 8, SIDE // 8), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE))


@pytest.fixture(scope="module")
def figures(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edges, "TIMED_SIZES", SMALL)
        backgrounds = sorted((data / "backgrounds").glob("*.jpg"))
        portraits = read_portraits(data, "val")
        return measure_edges({"first": coarse, "second": coarse}, portraits, backgrounds)


def test_edges_have_metrics_for_every_model_and_photo(figures):
    assert [refined.model for refined in figures.refined] == ["first", "second"]
    for refined in figures.refined:
        assert refined.plain.shape == refined.guided.shape == (12, len(METRICS))
        assert ((refined.plain >= 0) & (refined.plain <= 100)).all()


def test_refinement_gains_with_distinct_colours(figures):
    first, all_photos = figures.refined[0], figures.groups[0]
    assert first.gain("fine", all_photos).above_zero
    assert first.gain("levels", all_photos).below_zero


def test_clean_colours_are_closer_to_the_foreground(figures):
    by_truth, by_model = figures.colours
    assert len(by_truth.photo) == len(by_model.clean) == 12
    assert np.mean(by_truth.clean) < 0.5 * np.mean(by_truth.photo)
    assert np.mean(by_model.clean) < np.mean(by_model.photo)


def test_edge_groups_are_all_photos_and_sources(figures):
    assert {group.kind for group in figures.groups} == {"all", "source"}


def test_edge_metrics_of_a_perfect_mask_are_perfect():
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 10:30] = 255
    assert edge_metrics(truth, truth) == (100, 100, 100, 100, 0)
    empty = np.zeros_like(truth)
    assert edge_metrics(empty, empty) == (100, 100, 100, 100, 0)
    assert edge_metrics(empty, truth)[0] == 0


def test_composite_scene_keeps_foreground_under_full_alpha(data):
    backgrounds = sorted((data / "backgrounds").glob("*.jpg"))
    scenes = list(composite_scenes(read_portraits(data, "val"), backgrounds))
    assert len(scenes) == 12
    for scene in scenes:
        opaque = scene.alpha == 255
        assert opaque.any()
        np.testing.assert_array_equal(scene.rgb[opaque], scene.foreground[opaque])
    assert any((scene.rgb != scene.foreground).any() for scene in scenes)


def test_colour_error_counts_only_visible_partial_pixels(data):
    (portrait, *_) = read_portraits(data, "val")
    foreground, alpha = np.full((1, 4, 3), 100, np.uint8), np.array([[0, 50, 150, 255]], np.uint8)
    scene = CompositeScene(portrait, foreground, alpha, foreground)
    assert colour_error(foreground, scene, alpha) == 0
    rgb = foreground.copy()
    rgb[0, :, 0] = (7, 130, 160, 9)  # a pixel at 0 is hidden, one at 255 is the photo's
    expected = (10 * 50 + 20 * 150) / (50 + 150)
    assert colour_error(rgb, scene, alpha) == pytest.approx(expected)
    assert colour_error(rgb, scene, np.full_like(alpha, 255)) == 0


def test_edges_text_has_models_and_bold_differences():
    groups = (Group("all", "all", tuple(range(12))), Group("source", "few", (0, 1)))
    plain = np.full((12, len(METRICS)), 50.0)
    figures = EdgeFigures(
        groups=groups,
        refined=(RefinementFigures("tiny", plain, plain + np.linspace(1, 2, 12)[:, None]),),
        colours=(ColourFigures("true", (8.0, 9.0), (2.0, 3.0)),),
        cpu_ms={(480, 640): (1.25, 2.5)},
    )
    text = edges_text(figures)
    assert "### tiny" in text
    assert "| plain, all | 12 | 50.00 (50.00 to 50.00) |" in text
    assert "| guided, all | 12 | **+1.50 (" in text
    assert "| guided, few | 2 | +1.05 |" in text
    assert "| true | 2 | 8.50 | 2.50 | -6.00 |" in text
    assert "| 640x480 | 1.2 | 2.5 |" in text
    worse_figures = replace(figures, refined=(RefinementFigures("tiny", plain, plain - 1),))
    assert "**-1.00 (-1.00 to -1.00)**" in edges_text(worse_figures)
