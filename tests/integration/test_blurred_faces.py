"""Blurred faces of a portrait, with the published face detector."""

import numpy as np
import pytest
from skimage.data import astronaut

from silhouette_seg.settings import Settings
from tests.integration.conftest import in_process
from tests.integration.pictures import picture
from tests.support.images import make_png
from tests.support.published import REPOSITORY

BLURRED = "?output=composite&background=blur_faces"


@pytest.fixture
async def service():
    settings = Settings(model_repository=REPOSITORY, models=("connectnet", "face_detector"))
    async with in_process(settings) as running:
        yield running


def two_portraits() -> np.ndarray:
    """Returns head and shoulders of a portrait, and their mirror image beside them."""
    portrait = astronaut()[:300, 100:360]
    return np.hstack([portrait, portrait[:, ::-1]])


@pytest.mark.parametrize(
    ("photo", "count"), [(astronaut(), 1), (two_portraits(), 2)], ids=["one", "two"]
)
async def test_detector_finds_no_face_after_blurring(service, photo, count):
    async def faces(image: bytes) -> list[dict]:
        answer = await service.segment(image, "?faces=true", accept="application/json")
        return answer.json()["faces"]

    found = await faces(make_png(photo))
    answer = await service.segment(make_png(photo), BLURRED)
    blurred = picture(answer)

    assert len(found) == count
    assert answer.headers["x-faces-blurred"] == str(count)
    assert await faces(make_png(blurred)) == []
    outside = np.ones(photo.shape[:2], np.bool_)
    for face in found:
        top, left, height, width = (
            face["box"][side] for side in ("top", "left", "height", "width")
        )
        rows = slice(max(0, top - height), top + 2 * height)
        outside[rows, max(0, left - width) : left + 2 * width] = False
    assert (blurred[outside] == photo[outside]).all()
