"""Frames that arrive as image files: decoding, rendering, sizes, limits."""

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
from tests.support.fakes import RecordingEngine
from tests.support.images import make_bomb, make_jpeg, make_png, person, quadrants
from tests.support.tiny_model import tiny_spec

LIMITS = ImageLimits(pixels=100_000, side=1000)


@pytest.fixture
def engine():
    return RecordingEngine(tiny_spec(size_hw=(24, 32)))


async def processed(engine, workers, data, **options):
    session = StreamSession(StreamOptions(Segmenter(engine, workers), **options))
    return await process_frame(session, data, LIMITS)


def pixels(rendered) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(rendered.body)))


@pytest.mark.parametrize(
    ("size_hw", "max_side", "expected"),
    [
        ((480, 640), None, (480, 640)),
        ((480, 640), 640, (480, 640)),
        ((480, 640), 4096, (480, 640)),
        ((480, 640), 320, (240, 320)),
        ((640, 480), 100, (100, 75)),
        ((1, 500), 100, (1, 100)),
    ],
)
def test_scale_to_fit_bounds_longer_side(size_hw, max_side, expected):
    assert scale_to_fit(size_hw, max_side) == expected


@pytest.mark.parametrize("output", Output)
@pytest.mark.parametrize(("size", "shape"), [(None, (240, 320)), (100, (75, 100))])
async def test_result_has_requested_size(engine, workers, output, size, shape):
    rendered = await processed(
        engine, workers, make_jpeg(person()), render=RenderOptions(output), size=size
    )
    assert pixels(rendered).shape[:2] == rendered.size_hw == shape


async def test_result_of_rotated_frame_is_upright(engine, workers):
    rendered = await processed(engine, workers, make_jpeg(person(), orientation=6), size=160)
    assert pixels(rendered).shape == (160, 120)


async def test_mask_of_reduced_decode_has_frame_size_and_content(engine, workers):
    rendered = await processed(engine, workers, make_jpeg(quadrants(192, 256)))
    mask = pixels(rendered)
    assert mask.shape == (192, 256)
    assert (mask[40, 60], mask[150, 60], mask[150, 200]) == pytest.approx((254, 0, 255), abs=3)


async def test_composite_has_requested_background(engine, workers):
    render = RenderOptions(Output.COMPOSITE, background=Colour((0, 0, 200)))
    image = pixels(
        await processed(
            engine,
            workers,
            make_png(quadrants()),
            render=render,
            format=ImageFormat.PNG,
            smoothing=0,
        )
    )
    assert tuple(image[16, 80]) == (0, 0, 200)  # green has a red channel of 0: background
    assert tuple(image[16, 16]) == (255, 0, 0)


async def test_background_image_is_scaled_to_cover(engine, workers):
    background = Frame(np.full((10, 10, 3), (9, 8, 7), np.uint8), (10, 10))
    render = RenderOptions(Output.COMPOSITE, background=BackgroundImage())
    options = {"render": render, "background": background, "format": ImageFormat.PNG}
    for _ in range(2):
        image = pixels(await processed(engine, workers, make_png(quadrants()), **options))
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
async def test_invalid_frames_raise_before_inference(engine, workers, data, error):
    with pytest.raises(error):
        await processed(engine, workers, memoryview(data))
    assert engine.batch_sizes == []
