"""Parameters of `POST /v1.0/removebg`, with the names and the notation of remove.bg."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from silhouette_seg.api.request.parameters import parse_boolean
from silhouette_seg.errors import BadParameter, ForegroundMissing, UnknownParameter
from silhouette_seg.vision.codec.css_colour import named_colour

Rgba = tuple[int, int, int, int]
"""Colour as red, green, blue and straight alpha, each 0..255."""

MAX_MARGIN_PERCENT = 50
"""Largest `crop_margin` in percent of the person's height or width."""
MAX_MARGIN_PIXELS = 500
"""Largest `crop_margin` in pixels."""
MAX_ECHOED_NAME_CHARS = 80
"""Number of characters after which an error message cuts an unknown field name."""
CENTRE = (0.5, 0.5)
"""Position in the middle of the picture, as shares 0..1 of the free width and height."""

MAX_PIXELS_BY_SIZE = {
    **dict.fromkeys(("preview", "small", "regular"), 250_000),
    "medium": 1_500_000,
    "hd": 4_000_000,
    **dict.fromkeys(("auto", "full", "4k", "50MP"), None),
}
"""Maximum pixels of the result for each value of `size`; None keeps the size of the photo."""

UNSUPPORTED_TYPES = (
    *("product", "animal", "car", "car_interior", "car_part"),
    *("transportation", "graphic", "graphics", "other"),
)
"""Values of the parameter `type` that remove.bg accepts and this service cannot segment."""


class Encoding(StrEnum):
    """File format of the result; AUTO is JPEG if no pixel can be transparent, else PNG."""

    AUTO = "auto"
    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class Length:
    """Length in pixels or, if `percent` is True, in percent of a side."""

    value: float
    percent: bool = False

    def to_pixels(self, side: float) -> float:
        """Returns the length in pixels; a percentage refers to `side`, in pixels."""
        return self.value / 100 * side if self.percent else self.value


ZERO = Length(0)
WHOLE_IMAGE = (ZERO, ZERO, Length(100, percent=True), Length(100, percent=True))


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parsed parameters of one request to `POST /v1.0/removebg`."""

    max_pixels: int | None = MAX_PIXELS_BY_SIZE["preview"]
    """Maximum pixels of the result before cropping; None keeps the size of the photo."""
    encoding: Encoding = Encoding.AUTO
    alpha_only: bool = False
    """True if the result is the mask alone."""
    roi: tuple[Length, Length, Length, Length] = WHOLE_IMAGE
    """Left, top, right and bottom of the region of the photo that may hold the person."""
    crop: bool = False
    crop_margin: tuple[Length, Length, Length, Length] = (ZERO, ZERO, ZERO, ZERO)
    """Margins above, right, below and left of the person's box; percent refer to that box.

    It is the box of the person that was scaled.
    """
    scale: float | None = None
    """Share of the picture that the person fills, 0.1..1; None keeps the person's size.

    It is the picture before it is cropped.
    """
    position: tuple[float, float] | None = None
    """Position of the person across and down, 0..1; None keeps it where it is.

    0 is the left or upper edge of the picture, 1 the right or lower edge.
    """
    bg_color: Rgba | None = None
    include_type: bool = True
    """True if the answer has the header `X-Type`."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Parser, description and default of one text field of the body."""

    parse: Callable[[str], object]
    """Function from the text of the field to its value.

    It raises ValueError for an invalid value, or another ServiceError.
    """
    description: str
    default: str = ""
    """Default in the notation of remove.bg; empty for none."""


def parse_fields(fields: Mapping[str, str], *, has_background_file: bool = False) -> Parameters:
    """Parses the text fields of a body, by name. An empty field has its default.

    Raises UnknownParameter for an unknown name, BadParameter for an invalid value or combination,
    and ForegroundMissing for a `type` other than a person.
    """
    unknown = fields.keys() - FIELDS.keys()
    if unknown:
        name = min(unknown)[:MAX_ECHOED_NAME_CHARS]
        raise UnknownParameter(f"{name!r} is not a parameter.")
    values = {name: _read(name, text) for name, text in fields.items() if text}
    if has_background_file and "bg_color" in values:
        raise BadParameter("bg: send either bg_color or bg_image_file")
    return _to_parameters(values, has_background_file=has_background_file)


def _to_parameters(values: dict[str, Any], *, has_background_file: bool) -> Parameters:
    scale = values.get("scale")
    default_position = None if scale is None else CENTRE
    position = values.get("position", default_position)
    crop = values.get("crop", False)
    alpha_only = values.get("channels") == "alpha"
    if crop and position not in (None, default_position):
        raise BadParameter("position: has no effect with crop=true")
    if alpha_only and (has_background_file or "bg_color" in values):
        raise BadParameter("channels: alpha has no background")
    return Parameters(
        max_pixels=values.get("size", MAX_PIXELS_BY_SIZE["preview"]),
        encoding=values.get("format", Encoding.AUTO),
        alpha_only=alpha_only,
        roi=values.get("roi", WHOLE_IMAGE),
        crop=crop,
        crop_margin=values.get("crop_margin", (ZERO, ZERO, ZERO, ZERO)),
        scale=scale,
        position=position,
        bg_color=values.get("bg_color"),
        include_type=values.get("type_level") != "none",
    )


def _read(name: str, text: str) -> object:
    try:
        return FIELDS[name].parse(text)
    except ValueError as error:
        raise BadParameter(f"{name}: {error}") from None


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _size(text: str) -> int | None:
    return MAX_PIXELS_BY_SIZE[_one_of(*MAX_PIXELS_BY_SIZE)(text)]


def _type(text: str) -> str:
    if text in UNSUPPORTED_TYPES:
        raise ForegroundMissing(f"The type {text} is not supported; this service segments people.")
    return _one_of("auto", "person")(text)


def _format(text: str) -> Encoding:
    return Encoding(_one_of(*Encoding)("jpg" if text == "jpeg" else text))


def _reject_shadow(text: str) -> bool:
    if parse_boolean(text):
        raise ValueError("shadows are not supported")
    return False


def _reject_url(text: str) -> str:
    raise ValueError("this service does not fetch URLs; send the file itself")


def _opacity(text: str) -> float:
    opacity = _number(text)
    if not 0 <= opacity <= 100:
        raise ValueError("must be a number from 0 to 100")
    return opacity


def _roi(text: str) -> tuple[Length, ...]:
    lengths = tuple(map(_length, text.split()))
    if len(lengths) != 4:
        raise ValueError("must be x1 y1 x2 y2, each as 10px or 10%")
    return lengths


def _margin(text: str) -> tuple[Length, ...]:
    lengths = tuple(map(_length, text.split()))
    for length in lengths:
        if length.value > (MAX_MARGIN_PERCENT if length.percent else MAX_MARGIN_PIXELS):
            raise ValueError(f"must be at most {MAX_MARGIN_PERCENT}% or {MAX_MARGIN_PIXELS}px")
    match lengths:
        case (margin,):
            return margin, margin, margin, margin
        case (vertical, horizontal):
            return vertical, horizontal, vertical, horizontal
        case (_, _, _, _):
            return lengths
    raise ValueError("must be one, two or four lengths, each as 10px or 10%")


def _scale(text: str) -> float | None:
    if text == "original":
        return None
    share = _percent(text)
    if not 0.1 <= share <= 1:
        raise ValueError("must be original, or from 10% to 100%")
    return share


def _position(text: str) -> tuple[float, float] | None:
    if text == "original":
        return None
    if text == "center":
        return CENTRE
    match [_percent(part) for part in text.split()]:
        case [both] if both <= 1:
            return both, both
        case [across, down] if max(across, down) <= 1:
            return across, down
    raise ValueError("must be original, center, or one or two of 0% to 100%")


def _colour(text: str) -> Rgba:
    if text.lower() == "transparent":
        return 0, 0, 0, 0
    if (rgb := named_colour(text)) is not None:
        return *rgb, 255
    digits = text.removeprefix("#")
    if not re.fullmatch(r"([0-9a-fA-F]{3,4}){1,2}", digits) or len(digits) == 7:
        raise ValueError(
            "must be hexadecimal (fff, 81d4fa, 81d4fa77) or a colour name such as green"
        )
    if len(digits) < 6:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
    return red, green, blue, alpha


def _length(text: str) -> Length:
    value = _number(text.removesuffix("%").removesuffix("px"))
    return Length(value, percent=text.endswith("%")) if value else ZERO


def _percent(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError("must be in percent")
    return _number(text[:-1]) / 100


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{0,6})?", text):
        raise ValueError("must hold numbers only")
    return float(text)


FIELDS = {
    "image_url": FieldSpec(_reject_url, "Rejected: the service does not fetch URLs."),
    "bg_image_url": FieldSpec(_reject_url, "Rejected: the service does not fetch URLs."),
    "size": FieldSpec(
        _size,
        "Pixel limit of the result: 0.25 megapixels for `preview` (also `small`, `regular`), 1.5 "
        "for `medium`, 4 for `hd`. `auto`, `full`, `4k` and `50MP` keep the size of the photo.",
        "preview",
    ),
    "type": FieldSpec(
        _type, "`auto` or `person`. Other types are answered with `unknown_foreground`.", "auto"
    ),
    "type_level": FieldSpec(
        _one_of("none", "1", "2", "latest"), "`none` omits the header X-Type.", "1"
    ),
    "format": FieldSpec(
        _format,
        "`png`, `jpg` (transparent pixels become white), `webp`, `zip` (color.jpg and alpha.png), "
        "or `auto`: png if any pixel may be transparent, else jpg.",
        "auto",
    ),
    "roi": FieldSpec(_roi, "Region that may hold the person: x1 y1 x2 y2.", "0% 0% 100% 100%"),
    "crop": FieldSpec(parse_boolean, "Crops to the person.", "false"),
    "crop_margin": FieldSpec(
        _margin,
        "Margins of the crop: one, two (vertical, horizontal) or four (clockwise from the top) "
        "lengths of up to 50% or 500px. They come on top of `size`. The request is rejected if the "
        "picture would have more pixels than a photo may have.",
        "0",
    ),
    "scale": FieldSpec(
        _scale,
        "Share of the picture that the person fills, 10% to 100%. With `crop` the scaled person is "
        "cropped.",
        "original",
    ),
    "position": FieldSpec(
        _position, "Position of the person: `center`, or one or two of 0% to 100%.", "original"
    ),
    "channels": FieldSpec(_one_of("rgba", "alpha"), "`alpha` is the mask alone.", "rgba"),
    "add_shadow": FieldSpec(_reject_shadow, "`true` is rejected.", "false"),
    "shadow_type": FieldSpec(_one_of("none", "auto"), "Has no effect.", "none"),
    "shadow_method": FieldSpec(_one_of("latest", "legacy"), "Has no effect.", "latest"),
    "shadow_opacity": FieldSpec(_opacity, "Has no effect."),
    "semitransparency": FieldSpec(parse_boolean, "Concerns cars and has no effect here.", "true"),
    "bg_color": FieldSpec(_colour, "3, 4, 6 or 8 hexadecimal digits, or a colour name."),
}
"""Parser and description of every field, by name, that a body may have besides its files."""
