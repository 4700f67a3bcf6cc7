import base64
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.request.stream_parameters import (
    PICTURE_SIDE,
    STREAM_PARAMETERS,
    effective,
    read_stream_options,
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
from silhouette_seg.pipeline.options import Blur, Colour, Look, Output, Picture
from silhouette_seg.pipeline.registry import Catalog
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import Workers
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING
from silhouette_seg.vision.codec.decode import ImageFormat, ImageLimits
from tests.support.images import make_bomb, make_jpeg, person
from tests.support.tiny_model import tiny_spec


@pytest.fixture(scope="module")
def parts():
    """As much of silhouette_seg.api.gateway.Parts as options need."""
    workers = Workers(1)
    served = [
        Segmenter(FakeEngine(tiny_spec(name)), workers) for name in ("connectnet", "md_trisenet")
    ]
    yield SimpleNamespace(
        catalog=Catalog(served, workers),
        live=workers,
        image_limits=ImageLimits(pixels=10_000_000),
    )
    workers.close()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_nothing_asked_for(parts):
    options = await read_stream_options({}, parts)
    assert options.segmenter.spec.name == "connectnet"
    assert (options.look, options.format, options.size) == (Look(), None, None)
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
async def test_what_is_asked_for_is_what_holds(parts, given, expected):
    told = effective(await read_stream_options(given, parts))
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
async def test_what_cannot_hold_is_refused(parts, given, error):
    with pytest.raises(error):
        await read_stream_options(given, parts)


async def test_later_options_change_what_they_name(parts):
    first = await read_stream_options({"output": "composite", "size": 100, "grow": 2}, parts)
    then = await read_stream_options({"grow": 5, "background": "#000000"}, parts, first)
    assert (then.size, then.look.grow, then.look.output) == (100, 5, Output.COMPOSITE)
    assert then.look.background == Colour((0, 0, 0))


async def test_null_takes_it_back(parts):
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
    before = await read_stream_options(given, parts)
    after = await read_stream_options(dict.fromkeys(given), parts, before)
    assert effective(after) == effective(await read_stream_options({}, parts))


async def test_what_is_told_may_be_sent_back(parts):
    told = effective(await read_stream_options({"output": "composite", "size": 100}, parts))
    assert effective(await read_stream_options(told, parts)) == told


async def test_a_refused_change_changes_nothing(parts):
    before = await read_stream_options({"output": "cutout"}, parts)
    with pytest.raises(NotAcceptable):
        await read_stream_options({"format": "jpeg"}, parts, before)
    assert before.format is None
    assert before.image_format is ImageFormat.PNG


class TestPicture:
    async def with_picture(self, parts, data: bytes):
        given = {"output": "composite", "background_image": text(data)}
        return await read_stream_options(given, parts)

    async def test_it_becomes_the_background(self, parts):
        options = await self.with_picture(parts, make_jpeg(person(48, 64)))
        assert options.look.background == Picture()
        assert options.picture.rgb.shape == (48, 64, 3)

    async def test_it_is_kept_small(self, parts):
        options = await self.with_picture(parts, make_jpeg(person(1500, 3000)))
        assert options.picture.rgb.shape == (PICTURE_SIDE // 2, PICTURE_SIDE, 3)

    async def test_it_stays_until_another_background(self, parts):
        options = await self.with_picture(parts, make_jpeg(person(48, 64)))
        later = await read_stream_options({"feather": 2}, parts, options)
        assert later.picture is options.picture
        blurred = await read_stream_options({"background": "blur:5"}, parts, later)
        assert (blurred.picture, blurred.look.background) == (None, Blur(5))

    async def test_two_backgrounds_are_refused(self, parts):
        given = {"output": "composite", "background": "#000000", "background_image": "AAAA"}
        with pytest.raises(BadParameter, match="twice"):
            await read_stream_options(given, parts)


@given(
    st.dictionaries(
        st.sampled_from([*STREAM_PARAMETERS, "nope"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    )
)
async def test_any_values_hold_or_are_refused(parts, given):
    try:
        options = await read_stream_options(given, parts)
    except ServiceError:
        return
    assert effective(options).keys() >= given.keys()
