"""The parameters of `POST /v1.0/removebg`, by the names and in the notation of remove.bg."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from silhouette_seg.errors import BadParameter, ForegroundMissing, UnknownParameter

T = TypeVar("T")

Rgba = tuple[int, int, int, int]

MAX_MARGIN_PERCENT = 50
MAX_MARGIN_PIXELS = 500
CENTRE = (0.5, 0.5)

SIZES = {
    **dict.fromkeys(("preview", "small", "regular"), 250_000),
    "medium": 1_500_000,
    "hd": 4_000_000,
    **dict.fromkeys(("auto", "full", "4k", "50MP"), None),
}
"""Most pixels of the result; None is as many as the photo has."""

OTHER_TYPES = (
    *("product", "animal", "car", "car_interior", "car_part"),
    *("transportation", "graphic", "graphics", "other"),
)
COLOURS = {
    "transparent": "0000",
    **{"black": "000", "silver": "c0c0c0", "gray": "808080", "grey": "808080", "white": "fff"},
    **{"maroon": "800000", "red": "f00", "purple": "800080", "fuchsia": "f0f", "magenta": "f0f"},
    **{"green": "008000", "lime": "0f0", "olive": "808000", "yellow": "ff0", "orange": "ffa500"},
    **{"navy": "000080", "blue": "00f", "teal": "008080", "aqua": "0ff", "cyan": "0ff"},
    **{"pink": "ffc0cb", "brown": "a52a2a"},
}


class Encoding(StrEnum):
    AUTO = "auto"
    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class Length:
    value: float
    percent: bool = False

    def of(self, whole: float) -> float:
        """In pixels, of a side of that many."""
        return self.value / 100 * whole if self.percent else self.value


ZERO = Length(0)
WHOLE = (ZERO, ZERO, Length(100, percent=True), Length(100, percent=True))


@dataclass(frozen=True, slots=True)
class Wanted:
    max_pixels: int | None = SIZES["preview"]
    encoding: Encoding = Encoding.AUTO
    only_alpha: bool = False
    roi: tuple[Length, Length, Length, Length] = WHOLE
    """Left, top, right and bottom of where the person may be, in the photo."""
    crop: bool = False
    crop_margin: tuple[Length, Length, Length, Length] = (ZERO, ZERO, ZERO, ZERO)
    """Top, right, bottom, left; of the person's box."""
    scale: float | None = None
    """The person's share of the picture, 0..1; None leaves it."""
    position: tuple[float, float] | None = None
    """Across and down, 0..1; None leaves it."""
    bg_color: Rgba | None = None
    names_type: bool = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """`read` turns text into a value or raises ValueError, or what it says of itself."""

    read: Callable[[str], object]
    description: str
    default: str = ""


def parse(fields: Mapping[str, str], *, has_picture: bool = False) -> Wanted:
    """Reads parameters; an empty one is as one that was not sent.

    Raises UnknownParameter, BadParameter, and ForegroundMissing for a `type` that is no person.
    """
    unknown = fields.keys() - PARAMETERS.keys()
    if unknown:
        raise UnknownParameter(f"{min(unknown)[:80]!r} is not a parameter.")
    values = {name: _read(name, text) for name, text in fields.items() if text}
    if has_picture and "bg_color" in values:
        raise BadParameter("bg: send either bg_color or bg_image_file")
    return _wanted(values, has_picture=has_picture)


def _wanted(values: dict[str, Any], *, has_picture: bool) -> Wanted:
    scale = values.get("scale")
    position = values.get("position", CENTRE if scale is not None else None)
    crop = values.get("crop", False)
    only_alpha = values.get("channels") == "alpha"
    idle = [name for name in ("scale", "position") if values.get(name) is not None]
    if crop and idle:
        raise BadParameter(f"{idle[0]}: has no effect with crop=true")
    if only_alpha and (has_picture or "bg_color" in values):
        raise BadParameter("channels: alpha has no background")
    return Wanted(
        max_pixels=values.get("size", SIZES["preview"]),
        encoding=values.get("format", Encoding.AUTO),
        only_alpha=only_alpha,
        roi=values.get("roi", WHOLE),
        crop=crop,
        crop_margin=values.get("crop_margin", (ZERO, ZERO, ZERO, ZERO)),
        scale=scale,
        position=position,
        bg_color=values.get("bg_color"),
        names_type=values.get("type_level") != "none",
    )


def _read(name: str, text: str) -> object:
    try:
        return PARAMETERS[name].read(text)
    except ValueError as error:
        raise BadParameter(f"{name}: {error}") from None


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("must be true or false")
    return text.lower() in ("true", "1")


def _size(text: str) -> int | None:
    return SIZES[_one_of(*SIZES)(text)]


def _type(text: str) -> str:
    if text in OTHER_TYPES:
        raise ForegroundMissing(f"Only people are found here, and nothing of the type {text}.")
    return _one_of("auto", "person")(text)


def _format(text: str) -> Encoding:
    return Encoding(_one_of(*Encoding)("jpg" if text == "jpeg" else text))


def _no_shadow(text: str) -> bool:
    if _flag(text):
        raise ValueError("no shadows are made here")
    return False


def _fetches_nothing(text: str) -> str:
    raise ValueError("this service fetches nothing from the network; send the file itself")


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
        case (every,):
            return every, every, every, every
        case (down, across):
            return down, across, down, across
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
    digits = COLOURS.get(text.lower(), text.removeprefix("#"))
    if not re.fullmatch(r"([0-9a-fA-F]{3,4}){1,2}", digits) or len(digits) == 7:
        raise ValueError("must be hexadecimal (fff, 81d4fa, 81d4fa77), or a plain name as green")
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
        raise ValueError("holds something that is no number")
    return float(text)


PARAMETERS = {
    "image_url": Parameter(_fetches_nothing, "Refused: nothing is fetched from the network."),
    "bg_image_url": Parameter(_fetches_nothing, "Refused: nothing is fetched from the network."),
    "size": Parameter(
        _size,
        "`preview` (`small`, `regular`) has at most 0.25 megapixels, `medium` 1.5, `hd` 4; `auto`, "
        "`full`, `4k` and `50MP` have those of the photo.",
        "preview",
    ),
    "type": Parameter(_type, "`auto` or `person`; any other finds nothing.", "auto"),
    "type_level": Parameter(_one_of("none", "1", "2", "latest"), "`none` leaves X-Type out.", "1"),
    "format": Parameter(
        _format,
        "`png`, `jpg` (on white where nothing else is behind), `webp`, `zip` (color.jpg and "
        "alpha.png), or `auto`: png where something is transparent, else jpg.",
        "auto",
    ),
    "roi": Parameter(_roi, "Where the person is looked for: x1 y1 x2 y2.", "0% 0% 100% 100%"),
    "crop": Parameter(_flag, "Crops to the person.", "false"),
    "crop_margin": Parameter(
        _margin,
        "Around the crop: one, two (above and below, beside) or four (clockwise from the top) of "
        "up to 50% or 500px. It comes on top of `size`, and is refused where the picture would "
        "have more pixels than a photo may.",
        "0",
    ),
    "scale": Parameter(_scale, "The person's share of the picture, 10% to 100%.", "original"),
    "position": Parameter(
        _position, "Where the person is: `center`, or one or two of 0% to 100%.", "original"
    ),
    "channels": Parameter(_one_of("rgba", "alpha"), "`alpha` is the mask alone.", "rgba"),
    "add_shadow": Parameter(_no_shadow, "`true` is refused.", "false"),
    "shadow_type": Parameter(_one_of("none", "auto"), "No shadow is made.", "none"),
    "shadow_method": Parameter(_one_of("latest", "legacy"), "No shadow is made.", "latest"),
    "shadow_opacity": Parameter(_opacity, "No shadow is made."),
    "semitransparency": Parameter(_flag, "Is of cars; without effect here.", "true"),
    "bg_color": Parameter(_colour, "3, 4, 6 or 8 hexadecimal digits, or a plain name."),
}
