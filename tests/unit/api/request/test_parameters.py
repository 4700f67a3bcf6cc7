import re

import pytest

from silhouette_seg.api.request.parameters import (
    PARAMETERS,
    SegmentOptions,
    merge_parameters,
    parse_parameters,
)
from silhouette_seg.errors import BadParameter, BadRequest, UnknownParameter
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.options import (
    PHOTO_DEFAULTS,
    BackgroundImage,
    Blur,
    Colour,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.vision.codec.decode import ImageFormat


def test_parameters_default_to_the_photo_defaults():
    assert parse_parameters({}) == SegmentOptions()
    assert parse_parameters({}).render == PHOTO_DEFAULTS
    assert RenderOptions(refine=Refinement.GUIDED, decontaminate=True) == PHOTO_DEFAULTS


def test_documented_parameter_defaults_match_the_parser():
    """A parameter at its documented default changes nothing."""
    composite = {"output": "composite"}
    context = {"background": composite, "light_wrap": composite, "crop_margin": {"crop": "true"}}
    for name, parameter in PARAMETERS.items():
        if "default" not in parameter.schema:
            continue
        default = str(parameter.schema["default"])
        default = default.lower() if parameter.schema["type"] == "boolean" else default
        others = context.get(name, {})
        assert parse_parameters({**others, name: default}) == parse_parameters(others), name


def test_parse_parameters_reads_every_parameter():
    options = parse_parameters(
        {
            "model": "rcrnet",
            "domain": "half_body",
            "output": "composite",
            "background": "#0aFF10",
            "format": "webp",
            "grow": "-3",
            "feather": "1.5",
            "crop": "true",
            "crop_margin": "10",
            "invert": "true",
            "threshold": ".5",
            "person": "dominant",
            "refine": "none",
            "decontaminate": "false",
            "light_wrap": "40",
            "require_foreground": "true",
        }
    )
    assert options == SegmentOptions(
        "rcrnet",
        ImageFormat.WEBP,
        RenderOptions(
            output=Output.COMPOSITE,
            background=Colour((10, 255, 16)),
            grow=-3,
            feather=1.5,
            crop=True,
            crop_margin=10,
            invert=True,
            threshold=0.5,
            person=PersonSelection.DOMINANT,
            refine=Refinement.NONE,
            decontaminate=False,
            light_wrap=40,
            require_foreground=True,
        ),
        Domain.HALF_BODY,
    )


@pytest.mark.parametrize("domain", Domain)
def test_domain_parameter_accepts_every_domain(domain):
    assert parse_parameters({"domain": domain.label}).domain is domain
    assert domain.label in PARAMETERS["domain"].schema["enum"]


def test_background_is_blur_image_or_default():
    composite = {"output": "composite"}
    assert parse_parameters({**composite, "background": "blur:7.5"}).render.background == Blur(7.5)
    assert (
        parse_parameters(composite, has_background_image=True).render.background
        == BackgroundImage()
    )
    assert parse_parameters(composite).render.background == Blur(3)


def test_parameters_without_effect_are_rejected():
    for parameters in ({"background": "#ffffff"}, {"output": "mask", "background": "blur:4"}):
        with pytest.raises(BadParameter, match="needs output=composite"):
            parse_parameters(parameters)
    with pytest.raises(BadParameter, match="needs output=composite"):
        parse_parameters({}, has_background_image=True)
    with pytest.raises(BadParameter, match="needs crop=true"):
        parse_parameters({"crop": "false", "crop_margin": "1"})
    with pytest.raises(BadParameter, match="light_wrap: needs output=composite"):
        parse_parameters({"output": "cutout", "light_wrap": "1"})
    for name in ("crop", "invert"):
        with pytest.raises(BadParameter, match="layout"):
            parse_parameters({"layout": "x:0.5", name: "true"})


@pytest.mark.parametrize(
    "layout_text",
    ["x:0.3", "y:1,scale:.5", "x:-0.25,flip:true;x:0.75", "scale:4;scale:0.05;flip:false"],
)
def test_layout_matching_the_pattern_round_trips(layout_text):
    assert re.search(PARAMETERS["layout"].schema["pattern"], layout_text)
    layout = parse_parameters({"layout": layout_text}).render.layout
    assert layout is not None
    assert parse_parameters({"layout": str(layout)}).render.layout == layout


@pytest.mark.parametrize("layout_text", ["x", "z:1", "x:a", "x:1,", ";x:1", "flip:yes", "x:1 "])
def test_layout_outside_the_pattern_is_rejected(layout_text):
    assert not re.search(PARAMETERS["layout"].schema["pattern"], layout_text)
    with pytest.raises(BadParameter, match="layout: "):
        parse_parameters({"layout": layout_text})


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"model"}))
@pytest.mark.parametrize("value", ["", " ", "\0", "NaN", "1e999", "٣", "true ", "x" * 10_000])
def test_parameter_with_a_nonsense_value_is_rejected(name, value):
    with pytest.raises(BadRequest) as error:
        parse_parameters({name: value})
    assert len(error.value.detail) < 300


def test_merge_parameters_accepts_each_known_name_with_one_value():
    assert merge_parameters([("grow", "1")], [("crop", "true")]) == {"grow": "1", "crop": "true"}
    assert merge_parameters([("grow", "1")], [("grow", "1"), ("grow", "")]) == {"grow": "1"}
    with pytest.raises(BadParameter, match="grow: is given twice"):
        merge_parameters([("grow", "1")], [("grow", "2")])
    with pytest.raises(UnknownParameter, match="Grow"):
        merge_parameters([("Grow", "1")])


@pytest.mark.parametrize("name", ["image_url", "url"])
def test_merge_parameters_explains_that_urls_are_not_fetched(name):
    with pytest.raises(UnknownParameter, match="send the file itself"):
        merge_parameters([(name, "https://example.com/a.jpg")])


def test_merge_parameters_names_the_parameter_of_a_background_as_text():
    with pytest.raises(UnknownParameter, match="a colour or blur is the parameter background"):
        merge_parameters([("background_image", "teal")])
    with pytest.raises(BadParameter, match=r"an image is given as background_image$"):
        parse_parameters({"output": "composite", "background": "beach.jpg"})


def test_merge_parameters_leaves_out_empty_values():
    assert merge_parameters((name, "") for name in PARAMETERS) == {}
    with pytest.raises(UnknownParameter):
        merge_parameters([("nope", "")])


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "on", "On", "yes"])
def test_boolean_parameter_accepts_every_spelling_of_true(text):
    assert parse_parameters({"invert": text}).render.invert is True


@pytest.mark.parametrize("text", ["false", "False", "FALSE", "0", "off", "no"])
def test_boolean_parameter_accepts_every_spelling_of_false(text):
    assert parse_parameters({"decontaminate": text}).render.decontaminate is False


@pytest.mark.parametrize(
    ("text", "rgb"),
    [
        ("#fff", (255, 255, 255)),
        ("#1aF", (17, 170, 255)),
        ("#20639b", (32, 99, 155)),
        ("red", (255, 0, 0)),
        ("RebeccaPurple", (102, 51, 153)),
        ("lightgoldenrodyellow", (250, 250, 210)),
    ],
)
def test_background_accepts_every_notation_of_css_colours(text, rgb):
    options = parse_parameters({"output": "composite", "background": text})
    assert options.render.background == Colour(rgb)
    assert re.search(PARAMETERS["background"].schema["pattern"], text)


def test_format_accepts_jpg_as_jpeg():
    assert parse_parameters({"format": "jpg"}) == parse_parameters({"format": "jpeg"})


def test_documented_defaults_are_accepted_without_their_context():
    """Clients that send every field at its default get the default result."""
    defaults = {
        name: str(parameter.schema["default"])
        for name, parameter in PARAMETERS.items()
        if "default" in parameter.schema
    }
    assert len(defaults) > 10
    assert parse_parameters(defaults) == SegmentOptions()
    with_image = parse_parameters({**defaults, "output": "composite"}, has_background_image=True)
    assert with_image.render.background == BackgroundImage()
