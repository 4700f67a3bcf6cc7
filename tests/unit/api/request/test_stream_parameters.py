import base64
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.request.stream_parameters import (
    MAX_BACKGROUND_SIDE_PX,
    STREAM_PARAMETERS,
    StreamOptionsParser,
    effective_options,
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
def parser() -> Iterator[StreamOptionsParser]:
    pool = ThreadPool(1)
    models = [
        Segmenter(FakeEngine(tiny_spec(name)), pool) for name in ("connectnet", "md_trisenet")
    ]
    yield StreamOptionsParser(ModelRegistry(models, pool), pool, ImageLimits(pixels=10_000_000))
    pool.close()


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_stream_options_without_parameters_are_the_defaults(parser):
    options = await parser.parse({})
    assert options.segmenter.spec.name == "connectnet"
    assert (options.render, options.format, options.size) == (RenderOptions(), None, None)
    assert options.smoothing == DEFAULT_SMOOTHING
    assert options.background is None


@pytest.mark.parametrize(
    ("parameters", "expected"),
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
async def test_stream_options_reflect_the_parameters(parser, parameters, expected):
    effective = effective_options(await parser.parse(parameters))
    assert {name: effective[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"nope": 1}, UnknownParameter),
        ({"crop": True}, UnknownParameter),
        ({"model": "nope"}, UnknownModel),
        ({"model": ""}, BadParameter),
        ({"output": "picture"}, BadParameter),
        ({"output": ["mask"]}, BadParameter),
        ({"output": "trimap"}, BadParameter),
        ({"output": "composite", "background": "blur_faces"}, BadParameter),
        ({"masks": "rle"}, UnknownParameter),
        ({"faces": True}, UnknownParameter),
        ({"trimap_band": 1}, UnknownParameter),
        ({"output": {}}, BadParameter),
        ({"size": 63}, BadParameter),
        ({"size": 4097}, BadParameter),
        ({"size": 100.5}, BadParameter),
        ({"size": True}, BadParameter),
        ({"smoothing": 1.1}, BadParameter),
        ({"smoothing": float("nan")}, BadParameter),
        ({"smoothing": float("inf")}, BadParameter),
        ({"grow": 10**400}, BadParameter),
        ({"invert": 2}, BadParameter),
        ({"background": "#ff0000"}, BadParameter),
        ({"output": "cutout", "background": "blur:1"}, BadParameter),
        ({"output": "cutout", "format": "jpeg"}, NotAcceptable),
        ({"output": "composite", "background_image": "%%%"}, BadParameter),
        ({"output": "composite", "background_image": "snow☃"}, BadParameter),
        ({"output": "composite", "background_image": None}, BadParameter),
        ({"output": "composite", "background_image": base64_text(b"text")}, UnsupportedImageType),
        (
            {"output": "composite", "background_image": base64_text(make_jpeg()[:400])},
            UndecodableImage,
        ),
        (
            {"output": "composite", "background_image": base64_text(make_bomb(9000, 9000))},
            TooManyPixels,
        ),
        ({"background_image": base64_text(make_jpeg(person(48, 64)))}, BadParameter),
    ],
)
async def test_bad_stream_parameters_are_rejected(parser, parameters, error):
    with pytest.raises(error):
        await parser.parse(parameters)


@pytest.mark.parametrize(
    ("parameters", "same"),
    [
        ({"background": "blur:3"}, {}),
        ({"output": "cutout", "background": "blur:3.0"}, {"output": "cutout"}),
        ({"format": "jpg"}, {"format": "jpeg"}),
        ({"invert": "True"}, {"invert": True}),
        ({"invert": 0}, {"invert": False}),
        (
            {"output": "composite", "background": "teal"},
            {"output": "composite", "background": "#008080"},
        ),
    ],
)
async def test_stream_parameters_have_the_spellings_of_http(parser, parameters, same):
    spelled, canonical = await parser.parse(parameters), await parser.parse(same)
    assert effective_options(spelled) == effective_options(canonical)


async def test_stream_options_change_only_the_given_parameters(parser):
    first = await parser.parse({"output": "composite", "size": 100, "grow": 2})
    second = await parser.parse({"grow": 5, "background": "#000000"}, first)
    assert (second.size, second.render.grow, second.render.output) == (100, 5, Output.COMPOSITE)
    assert second.render.background == Colour((0, 0, 0))


async def test_null_restores_the_default_stream_option(parser):
    parameters = {
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
    changed = await parser.parse(parameters)
    restored = await parser.parse(dict.fromkeys(parameters), changed)
    assert effective_options(restored) == effective_options(await parser.parse({}))


async def test_effective_stream_options_can_be_sent_back(parser):
    effective = effective_options(await parser.parse({"output": "composite", "size": 100}))
    assert effective_options(await parser.parse(effective)) == effective


async def test_rejected_change_leaves_stream_options_unchanged(parser):
    options = await parser.parse({"output": "cutout"})
    with pytest.raises(NotAcceptable):
        await parser.parse({"format": "jpeg"}, options)
    assert options.format is None
    assert options.image_format is ImageFormat.PNG


class TestBackgroundImage:
    async def parse_with_image(self, parser, data: bytes):
        return await parser.parse({"output": "composite", "background_image": base64_text(data)})

    async def test_stream_background_image_is_decoded(self, parser):
        options = await self.parse_with_image(parser, make_jpeg(person(48, 64)))
        assert options.render.background == BackgroundImage()
        assert options.background.rgb.shape == (48, 64, 3)

    async def test_large_stream_background_image_is_downscaled(self, parser):
        options = await self.parse_with_image(parser, make_jpeg(person(1500, 3000)))
        assert options.background.rgb.shape == (
            MAX_BACKGROUND_SIDE_PX // 2,
            MAX_BACKGROUND_SIDE_PX,
            3,
        )

    async def test_stream_background_image_stays_until_replaced(self, parser):
        options = await self.parse_with_image(parser, make_jpeg(person(48, 64)))
        feathered = await parser.parse({"feather": 2}, options)
        assert feathered.background is options.background
        blurred = await parser.parse({"background": "blur:5"}, feathered)
        assert (blurred.background, blurred.render.background) == (None, Blur(5))

    async def test_second_stream_background_is_rejected(self, parser):
        parameters = {"output": "composite", "background": "#000000", "background_image": "AAAA"}
        with pytest.raises(BadParameter, match="twice"):
            await parser.parse(parameters)


@given(
    st.dictionaries(
        st.sampled_from([*STREAM_PARAMETERS, "nope"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    )
)
async def test_stream_parameters_of_any_value_parse_or_raise(parser, parameters):
    try:
        options = await parser.parse(parameters)
    except ServiceError:
        return
    assert effective_options(options).keys() >= parameters.keys()
