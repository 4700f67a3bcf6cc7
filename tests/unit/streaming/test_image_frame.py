import io

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.errors import SideTooLong, TooManyPixels, UndecodableImage, UnsupportedImageType
from silhouette_seg.pipeline.options import BackgroundImage, Colour, Output, RenderOptions
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.streaming.image_frame import process_frame, scale_to_fit
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.vision.codec.decode import Frame, ImageFormat, ImageLimits
from tests.support.images import make_bomb, make_jpeg, make_png, person, quadrants
from tests.support.tiny_model import tiny_spec
from tests.unit.streaming.conftest import NotingEngine

LIMITS = ImageLimits(pixels=100_000, side=1000)


@pytest.fixture
def engine():
    return NotingEngine(tiny_spec(size_hw=(24, 32)))


async def result(engine, workers, data, **options):
    session = StreamSession(StreamOptions(Segmenter(engine, workers), **options))
    return await process_frame(session, data, LIMITS)


def pixels(rendered) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(rendered.body)))


@pytest.mark.parametrize(
    ("size_hw", "longest", "fits"),
    [
        ((480, 640), None, (480, 640)),
        ((480, 640), 640, (480, 640)),
        ((480, 640), 4096, (480, 640)),
        ((480, 640), 320, (240, 320)),
        ((640, 480), 100, (100, 75)),
        ((1, 500), 100, (1, 100)),
    ],
)
def test_fitting(size_hw, longest, fits):
    assert scale_to_fit(size_hw, longest) == fits


@pytest.mark.parametrize("output", Output)
@pytest.mark.parametrize(("size", "shape"), [(None, (240, 320)), (100, (75, 100))])
async def test_a_result_has_the_size_that_was_asked_for(engine, workers, output, size, shape):
    rendered = await result(
        engine, workers, make_jpeg(person()), render=RenderOptions(output), size=size
    )
    assert pixels(rendered).shape[:2] == rendered.size_hw == shape


async def test_a_turned_frame_comes_back_upright(engine, workers):
    rendered = await result(engine, workers, make_jpeg(person(), orientation=6), size=160)
    assert pixels(rendered).shape == (160, 120)


async def test_the_mask_of_a_reduced_decode_is_that_of_the_frame(engine, workers):
    rendered = await result(engine, workers, make_jpeg(quadrants(192, 256)))
    mask = pixels(rendered)
    assert mask.shape == (192, 256)
    assert (mask[40, 60], mask[150, 60], mask[150, 200]) == pytest.approx((254, 0, 255), abs=3)


async def test_a_composite_is_on_what_was_asked_for(engine, workers):
    look = RenderOptions(Output.COMPOSITE, background=Colour((0, 0, 200)))
    image = pixels(
        await result(
            engine, workers, make_png(quadrants()), render=look, format=ImageFormat.PNG, smoothing=0
        )
    )
    assert tuple(image[16, 80]) == (0, 0, 200)  # green has no red: no person
    assert tuple(image[16, 16]) == (255, 0, 0)


async def test_a_picture_is_scaled_to_cover(engine, workers):
    picture = Frame(np.full((10, 10, 3), (9, 8, 7), np.uint8), (10, 10))
    look = RenderOptions(Output.COMPOSITE, background=BackgroundImage())
    options = {"render": look, "picture": picture, "format": ImageFormat.PNG}
    for _ in range(2):
        image = pixels(await result(engine, workers, make_png(quadrants()), **options))
        assert tuple(image[16, 80]) == (9, 8, 7)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedImageType),
        (b"not an image", UnsupportedImageType),
        (make_jpeg()[:500], UndecodableImage),
        (make_bomb(), SideTooLong),
        (make_bomb(900, 900), TooManyPixels),
    ],
)
async def test_bad_frames_reach_no_engine(engine, workers, data, error):
    with pytest.raises(error):
        await result(engine, workers, memoryview(data))
    assert engine.batch_sizes == []
