"""Tests of a recipe's sources, which limit photos and backgrounds of training alone."""

from pathlib import Path

import pytest

from tests.support.made_data import write_data_pack, write_unlabelled
from tests.support.made_tasks import make_recipe
from training.tasks.segmentation import SegmentationTask


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_unlabelled(write_data_pack(tmp_path_factory.mktemp("data")))


def task(data: Path, *sources: str, **more) -> SegmentationTask:
    return SegmentationTask(make_recipe("connectnet", sources=sources or None, **more), data)


def test_recipe_without_sources_trains_on_all_photos(data):
    all_sources = task(data, pseudo_labels={})
    assert {photo.source for photo in all_sources.portraits} == {"discs", "moons", "webcams"}
    assert len(all_sources.backgrounds) == 3


def test_recipe_sources_limit_photos_and_backgrounds(data):
    limited_task = task(data, "moons", "streets")
    assert {photo.source for photo in limited_task.portraits} == {"moons"}
    assert len(limited_task.backgrounds) == 1
    assert {photo.source for photo in limited_task.validation} == {"discs", "moons"}


def test_recipe_with_pseudo_labels_alone_is_accepted(data):
    limited_task = task(data, "webcams", pseudo_labels={"min_agreement": 0.9})
    assert [photo.id for photo in limited_task.portraits] == [f"webcam{n}" for n in (0, 1, 3, 4)]


def test_recipe_without_any_photo_is_rejected(data):
    with pytest.raises(ValueError, match="no photo of the sources"):
        task(data, "nowhere")
