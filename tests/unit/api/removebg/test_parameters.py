"""Parameters of remove.bg's API and the error codes of invalid ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.removebg.errors import error_body
from silhouette_seg.api.removebg.parameters import (
    FIELDS,
    Encoding,
    Length,
    Parameters,
    parse_fields,
)
from silhouette_seg.errors import (
    BadParameter,
    BodyTooLarge,
    Draining,
    ForegroundMissing,
    MissingImage,
    Overloaded,
    ServiceError,
    TooManyPixels,
    Unauthorized,
    UndecodableImage,
    UnknownParameter,
)


def percent(value: float) -> Length:
    return Length(value, percent=True)


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        ({}, Parameters(max_pixels=250_000)),
        ({"size": "regular"}, Parameters(max_pixels=250_000)),
        ({"size": "medium"}, Parameters(max_pixels=1_500_000)),
        ({"size": "hd"}, Parameters(max_pixels=4_000_000)),
        *[({"size": size}, Parameters(max_pixels=None)) for size in ("auto", "full", "4k", "50MP")],
        ({"type": "auto"}, Parameters()),
        ({"type": "person", "type_level": "none"}, Parameters(include_type=False)),
        ({"type_level": "latest"}, Parameters()),
        ({"format": "jpeg"}, Parameters(encoding=Encoding.JPG)),
        ({"format": "zip"}, Parameters(encoding=Encoding.ZIP)),
        ({"channels": "alpha"}, Parameters(alpha_only=True)),
        ({"roi": "0% 0% 100% 100%"}, Parameters()),
        ({"roi": "1 2px 50% 100%"}, Parameters(
            roi=(Length(1), Length(2), percent(50), percent(100)),
        )),
        ({"crop": "True", "crop_margin": "10%"}, Parameters(
            crop=True, crop_margin=(percent(10),) * 4,
        )),
        ({"crop": "1", "crop_margin": "5px 10%"}, Parameters(
            crop=True, crop_margin=(Length(5), percent(10), Length(5), percent(10)),
        )),
        ({"crop": "true", "crop_margin": "1 2 3 4"}, Parameters(
            crop=True, crop_margin=(Length(1), Length(2), Length(3), Length(4)),
        )),
        ({"scale": "50%"}, Parameters(scale=0.5, position=(0.5, 0.5))),
        ({"scale": "50%", "position": "original"}, Parameters(scale=0.5)),
        ({"position": "25%"}, Parameters(position=(0.25, 0.25))),
        ({"position": "0% 100%"}, Parameters(position=(0, 1))),
        ({"position": "center"}, Parameters(position=(0.5, 0.5))),
        ({"scale": "original", "position": "original"}, Parameters()),
        ({"bg_color": "fff"}, Parameters(bg_color=(255, 255, 255, 255))),
        ({"bg_color": "#81d4fa77"}, Parameters(bg_color=(0x81, 0xD4, 0xFA, 0x77))),
        ({"bg_color": "f008"}, Parameters(bg_color=(255, 0, 0, 0x88))),
        ({"bg_color": "Green"}, Parameters(bg_color=(0, 128, 0, 255))),
        ({"bg_color": "transparent"}, Parameters(bg_color=(0, 0, 0, 0))),
        ({"image_url": "", "bg_image_url": "", "bg_color": "", "size": ""}, Parameters()),
        ({"add_shadow": "false", "semitransparency": "true"}, Parameters()),
        ({"shadow_type": "none", "shadow_opacity": "30", "shadow_method": "latest"}, Parameters()),
    ],
)  # fmt: skip
def test_fields_are_parsed_in_every_notation(fields, parameters):
    assert parse_fields(fields) == parameters


INVALID = [
    ("size", "huge"), ("type", "martian"), ("type_level", "3"), ("format", "gif"),
    ("roi", "0 0 1"), ("roi", "0 0 x y"), ("roi", "-1 0 1 1"), ("crop", "maybe"),
    ("crop_margin", "51%"), ("crop_margin", "501px"), ("crop_margin", "1 2 3"),
    ("crop_margin", " "), ("crop_margin", "nan"), ("scale", "9%"), ("scale", "101%"),
    ("scale", "0.5"), ("position", "101%"), ("position", "left"), ("position", "1% 2% 3%"),
    ("channels", "rgb"), ("add_shadow", "true"), ("shadow_type", "drop"),
    ("shadow_opacity", "101"), ("semitransparency", "x"), ("bg_color", "ff"),
    ("bg_color", "fffff"), ("bg_color", "fffffff"), ("bg_color", "nocolor"),
    ("image_url", "http://127.0.0.1/a.jpg"), ("bg_image_url", "http://127.0.0.1/a.jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), INVALID)
def test_invalid_field_is_named_by_its_error_code(name, text):
    with pytest.raises(BadParameter) as rejected:
        parse_fields({name: text})
    status, code, title, _ = body_of(rejected.value)
    assert (status, code) == (400, f"invalid_{name}")
    assert title.startswith(f"{name}: ")


@given(st.sampled_from(sorted(FIELDS)), st.text(max_size=20))
def test_arbitrary_text_is_parsed_or_rejected(name, text):
    try:
        parse_fields({name: text})
    except (BadParameter, ForegroundMissing):
        return


@pytest.mark.parametrize(
    "fields",
    [
        {"crop": "true", "position": "center"},
        {"crop": "true", "position": "center", "scale": "original"},
        {"crop": "true", "position": "0%", "scale": "50%"},
    ],
)
def test_position_with_crop_is_rejected(fields):
    with pytest.raises(BadParameter) as rejected:
        parse_fields(fields)
    assert rejected.value.detail == "position: has no effect with crop=true"


@pytest.mark.parametrize("fields", [{}, {"position": "center"}, {"position": "original"}])
def test_scale_with_crop_is_accepted(fields):
    parameters = parse_fields({"crop": "true", "scale": "50%"} | fields)
    assert (parameters.crop, parameters.scale) == (True, 0.5)


def test_alpha_channel_with_background_is_rejected():
    with pytest.raises(BadParameter, match="background"):
        parse_fields({"channels": "alpha", "bg_color": "fff"})


def test_background_given_twice_has_its_own_error_code():
    with pytest.raises(BadParameter) as rejected:
        parse_fields({"bg_color": "fff"}, has_background_file=True)
    assert body_of(rejected.value)[1] == "multiple_bg_sources"


def test_unknown_field_is_rejected_by_name():
    with pytest.raises(UnknownParameter, match="nope"):
        parse_fields({"nope": "1"})


@pytest.mark.parametrize("kind", ["car", "product", "animal", "graphic", "other"])
def test_other_foreground_types_are_not_found(kind):
    with pytest.raises(ForegroundMissing):
        parse_fields({"type": kind})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MissingImage("No."), 400, "missing_source"),
        (BodyTooLarge("Too many.", limit=5, actual=6), 400, "file_too_large"),
        (UndecodableImage("No."), 400, "failed_to_read_image"),
        (TooManyPixels("Too many."), 400, "resolution_too_high"),
        (ForegroundMissing("No person."), 400, "unknown_foreground"),
        (Unauthorized("No key."), 403, "auth_failed"),
        (Overloaded("Full."), 429, "rate_limit_exceeded"),
        (Draining("Ending."), 503, "draining"),
        (BadParameter("no name at the beginning"), 400, "invalid_parameter"),
        (BadParameter("size: is odd"), 400, "invalid_size"),
        (BadParameter("size_of_it: is unknown"), 400, "invalid_parameter"),
        (BadParameter("image_file_b64: is not base64"), 400, "failed_to_read_image"),
    ],
)
def test_service_error_becomes_removebg_error(error, status, code):
    translated_status, translated_code, title, detail = body_of(error)
    assert (translated_status, translated_code) == (status, code)
    assert title
    assert detail.startswith(error.detail.rstrip("."))
    if error.limit:
        assert "limit 5, got 6" in detail


def body_of(error: ServiceError) -> tuple[int, str, str, str]:
    """Returns the status, code, title and detail of the error body."""
    status, body = error_body(error)
    (entry,) = json.loads(body)["errors"]
    return status, entry["code"], entry["title"], entry["detail"]
