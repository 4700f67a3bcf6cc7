"""The published models on transparent photos: a cut-out sent again, and an avatar."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.assembly import load_models
from silhouette_seg.pipeline.options import PHOTO_DEFAULTS, Output
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, segment_photo
from silhouette_seg.settings import Settings
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageFormat, read_header
from tests.support.images import make_jpeg, make_png, person, soft_disc
from tests.support.published import REPOSITORY

MODELS = ["connectnet", "md_trisenet", "rcrnet"]
CUTOUT = replace(PHOTO_DEFAULTS, output=Output.CUTOUT)


@pytest.fixture
async def models():
    loaded = load_models(Settings(model_repository=REPOSITORY, workers=1), Telemetry())
    yield loaded.registry
    await loaded.registry.close()
    loaded.pool.close()


async def cut_out(segmenter, photo: bytes) -> bytes:
    file = ImageFile(photo, read_header(photo))
    return (await segment_photo(PhotoJob(file, CUTOUT, ImageFormat.PNG), segmenter)).body


def alpha_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))[..., 3].astype(float)


@pytest.mark.parametrize("name", MODELS)
async def test_cut_out_sent_again_keeps_its_alpha(models, name):
    first = await cut_out(models.get(name), make_jpeg(person(384, 384)))
    again = await cut_out(models.get(name), first)
    assert (alpha_of(again) <= alpha_of(first)).all()
    assert alpha_of(again).sum() >= 0.99 * alpha_of(first).sum()


@pytest.mark.parametrize("name", MODELS)
async def test_person_in_avatar_is_cut_out_inside_it(models, name):
    disc = soft_disc(384, 384)
    photo = person(384, 384)
    alpha = alpha_of(await cut_out(models.get(name), make_png(np.dstack([photo, disc]))))
    whole = alpha_of(await cut_out(models.get(name), make_png(photo)))
    assert (alpha <= disc).all()
    inside = disc == 255
    assert np.abs(alpha - whole)[inside].mean() < 25
