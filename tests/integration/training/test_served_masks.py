"""Masks of a running service, measured on labelled photos."""

import cv2
import numpy as np
import pytest
import typer

from silhouette_seg.settings import Settings
from tests.integration.conftest import on_socket
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.data.dataset import Portrait
from training.evaluation import masks


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_repository")
    write_tiny_model(folder, tiny_spec(size_hw=(64, 96)))
    return folder


@pytest.fixture(scope="module")
def server(repository):
    with on_socket(Settings(model_repository=repository, workers=1)) as running:
        yield running


@pytest.fixture
def portrait(tmp_path) -> Portrait:
    """A person, and a smaller one in the background."""
    image = tmp_path / "two.png"
    photo = np.zeros((64, 96, 3), np.uint8)
    photo[8:60, 8:40] = 255
    photo[20:40, 64:76] = 255
    cv2.imwrite(str(image), photo)
    return Portrait("two", "photos", "two", image, image, face=None)


@pytest.mark.parametrize(("person", "has_smaller"), [("all", True), ("dominant", False)])
def test_served_mask_has_the_people_of_the_choice(server, portrait, person, has_smaller):
    mask = masks.segmenter_from_service(server.url, "connectnet", person)(portrait)
    assert mask.shape == portrait.rgb().shape[:2]
    assert mask[34, 24] > 127
    assert bool(mask[30, 70] > 127) is has_smaller


def test_choice_of_people_without_url_is_an_error(repository, tmp_path):
    with pytest.raises(typer.BadParameter, match="--url"):
        masks.main(repository / "connectnet", tmp_path, person="dominant")
