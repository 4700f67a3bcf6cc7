import base64
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.request.stream_parameters import (
    MAX_BACKGROUND_SIDE_PX,
    STREAM_PARAMETERS,
    effective_options,
    parse_stream_options,
)
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import (
    BadParameter,
    NotAcceptable,
    ServiceError,
    TooManyPixels,
    UndecodableImage,
    UnknownModel,
    UnknownParameter,
    UnsupportedImageType,
)
from silhouette_seg.pipeline.options import BackgroundImage, Blur, Colour, Output, RenderOptions
from silhouette_seg.pipeline.registry import ModelRegistry
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING
from silhouette_seg.vision.codec.decode import ImageFormat, ImageLimits
from tests.support.images import make_bomb, make_jpeg, person
from tests.support.tiny_model import tiny_spec


@pytest.fixture(scope="module")
def gateway():
    """As much of silhouette_seg.api.gateway.Gateway as options need."""
    workers = ThreadPool(1)
    served = [
        Segmenter(FakeEngine(tiny_spec(name)), workers) for name in ("connectnet", "md_trisenet")
    ]
    yield SimpleNamespace(
        registry=ModelRegistry(served, workers),
        stream_pool=workers,
        image_limits=ImageLimits(pixels=10_000_000),
    )
    workers.close()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_nothing_asked_for(gateway):
    options = await parse_stream_options({}, gateway)
    assert options.segmenter.spec.name == "connectnet"
    assert (options.render, options.format, options.size) == (RenderOptions(), None, None)
    assert options.smoothing == DEFAULT_SMOOTHING
    assert options.picture is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"model": "md_trisenet"}, {"model": "md_trisenet"}),
        ({"model": "auto"}, {"model": "connectnet"}),
        ({"output": "cutout"}, {"output": "cutout", "format": "png"}),
        ({"output": "composite"}, {"background": "blur:3", "format": "jpeg"}),
        ({"output": "composite", "background": "#FF00aa"}, {"background": "#ff00aa"}),
        ({"output": "composite", "background": "blur:2.50"}, {"background": "blur:2.5"}),
        ({"format": "webp"}, {"format": "webp"}),
        ({"size": 320}, {"size": 320}),
        ({"size": "320"}, {"size": 320}),
        ({"smoothing": 0}, {"smoothing": 0.0}),
        ({"smoothing": 0.25}, {"smoothing": 0.25}),
        ({"smoothing": 1e-3}, {"smoothing": 0.001}),
        ({"threshold": 0.5, "grow": -3, "feather": 1.5}, {"threshold": 0.5, "grow": -3}),
        ({"invert": True}, {"invert": True}),
        ({"invert": "false"}, {"invert": False}),
    ],
)
async def test_what_is_asked_for_is_what_holds(gateway, given, expected):
    told = effective_options(await parse_stream_options(given, gateway))
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"nope": 1}, UnknownParameter),
        ({"crop": True}, UnknownParameter),
        ({"model": "nope"}, UnknownModel),
        ({"model": ""}, BadParameter),
        ({"output": "picture"}, BadParameter),
        ({"output": ["mask"]}, BadParameter),
        ({"output": {}}, BadParameter),
        ({"size": 63}, BadParameter),
        ({"size": 4097}, BadParameter),
        ({"size": 100.5}, BadParameter),
        ({"size": True}, BadParameter),
        ({"smoothing": 1.1}, BadParameter),
        ({"smoothing": float("nan")}, BadParameter),
        ({"smoothing": float("inf")}, BadParameter),
        ({"grow": 10**400}, BadParameter),
        ({"invert": 1}, BadParameter),
        ({"background": "#ff0000"}, BadParameter),
        ({"output": "cutout", "background": "blur:1"}, BadParameter),
        ({"output": "cutout", "format": "jpeg"}, NotAcceptable),
        ({"output": "composite", "background_image": "%%%"}, BadParameter),
        ({"output": "composite", "background_image": "snow☃"}, BadParameter),
        ({"output": "composite", "background_image": None}, BadParameter),
        ({"output": "composite", "background_image": text(b"text")}, UnsupportedImageType),
        ({"output": "composite", "background_image": text(make_jpeg()[:400])}, UndecodableImage),
        ({"output": "composite", "background_image": text(make_bomb(9000, 9000))}, TooManyPixels),
        ({"background_image": text(make_jpeg(person(48, 64)))}, BadParameter),
    ],
)
async def test_what_cannot_hold_is_refused(gateway, given, error):
    with pytest.raises(error):
        await parse_stream_options(given, gateway)


async def test_later_options_change_what_they_name(gateway):
    first = await parse_stream_options({"output": "composite", "size": 100, "grow": 2}, gateway)
    then = await parse_stream_options({"grow": 5, "background": "#000000"}, gateway, first)
    assert (then.size, then.render.grow, then.render.output) == (100, 5, Output.COMPOSITE)
    assert then.render.background == Colour((0, 0, 0))


async def test_null_takes_it_back(gateway):
    given = {
        "model": "md_trisenet",
        "output": "composite",
        "background": "#000000",
        "format": "png",
        "size": 100,
        "smoothing": 0.1,
        "threshold": 0.5,
        "grow": 2,
        "feather": 3,
        "invert": True,
    }
    before = await parse_stream_options(given, gateway)
    after = await parse_stream_options(dict.fromkeys(given), gateway, before)
    assert effective_options(after) == effective_options(await parse_stream_options({}, gateway))


async def test_what_is_told_may_be_sent_back(gateway):
    told = effective_options(
        await parse_stream_options({"output": "composite", "size": 100}, gateway)
    )
    assert effective_options(await parse_stream_options(told, gateway)) == told


async def test_a_refused_change_changes_nothing(gateway):
    before = await parse_stream_options({"output": "cutout"}, gateway)
    with pytest.raises(NotAcceptable):
        await parse_stream_options({"format": "jpeg"}, gateway, before)
    assert before.format is None
    assert before.image_format is ImageFormat.PNG


class TestPicture:
    async def with_picture(self, gateway, data: bytes):
        given = {"output": "composite", "background_image": text(data)}
        return await parse_stream_options(given, gateway)

    async def test_it_becomes_the_background(self, gateway):
        options = await self.with_picture(gateway, make_jpeg(person(48, 64)))
        assert options.render.background == BackgroundImage()
        assert options.picture.rgb.shape == (48, 64, 3)

    async def test_it_is_kept_small(self, gateway):
        options = await self.with_picture(gateway, make_jpeg(person(1500, 3000)))
        assert options.picture.rgb.shape == (MAX_BACKGROUND_SIDE_PX // 2, MAX_BACKGROUND_SIDE_PX, 3)

    async def test_it_stays_until_another_background(self, gateway):
        options = await self.with_picture(gateway, make_jpeg(person(48, 64)))
        later = await parse_stream_options({"feather": 2}, gateway, options)
        assert later.picture is options.picture
        blurred = await parse_stream_options({"background": "blur:5"}, gateway, later)
        assert (blurred.picture, blurred.render.background) == (None, Blur(5))

    async def test_two_backgrounds_are_refused(self, gateway):
        given = {"output": "composite", "background": "#000000", "background_image": "AAAA"}
        with pytest.raises(BadParameter, match="twice"):
            await parse_stream_options(given, gateway)


@given(
    st.dictionaries(
        st.sampled_from([*STREAM_PARAMETERS, "nope"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    )
)
async def test_any_values_hold_or_are_refused(gateway, given):
    try:
        options = await parse_stream_options(given, gateway)
    except ServiceError:
        return
    assert effective_options(options).keys() >= given.keys()
