"""The parameters of `POST /v1/segment`: one table that reads, documents and limits them."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

from silhouette_seg.errors import BadParameter, UnknownParameter
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.options import (
    PHOTO_DEFAULTS,
    Background,
    BackgroundImage,
    Blur,
    Colour,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.registry import AUTO, ModelRegistry
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.vision.codec.decode import ImageFormat
from silhouette_seg.vision.compose.layout import read_layout

DOMAINS = {domain.label: domain for domain in Domain}
MAX_EDGE_PIXELS = 100
MAX_MARGIN_PERCENT = 100
MAX_BLUR_PERCENT = 25

E = TypeVar("E", bound=StrEnum)
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    model: str = AUTO
    format: ImageFormat | None = None
    """None leaves it to `Accept`."""
    render: RenderOptions = PHOTO_DEFAULTS
    domain: Domain | None = None
    """None leaves it to routing."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`read` turns text into a value or raises ValueError; `schema` is JSON schema and says the
    same to a reader of the documentation."""

    read: Callable[[str], object]
    schema: Schema
    description: str


def merge_parameters(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names and values from query and form alike.

    Raises UnknownParameter, and BadParameter for a name that is given twice.
    """
    given: dict[str, str] = {}
    for name, value in (pair for source in sources for pair in source):
        if name not in PARAMETERS:
            raise UnknownParameter(f"{name[:80]!r} is not a parameter; there are {_NAMES}.")
        if name in given:
            raise BadParameter(f"{name}: is given twice")
        given[name] = value
    return given


def parse_parameters(
    given: Mapping[str, str], *, has_background_image: bool = False
) -> SegmentOptions:
    """Reads parameters; `has_background_image` tells that a background image came along.

    Raises BadParameter for a value that is not allowed, or that would have no effect.
    """
    values = {name: _read(name, text) for name, text in given.items()}
    _refuse_what_has_no_effect(values, has_background_image=has_background_image)
    if has_background_image:
        values["background"] = BackgroundImage()
    return SegmentOptions(
        **{name: values[name] for name in ("model", "format", "domain") if name in values},  # type: ignore[arg-type]
        render=replace(PHOTO_DEFAULTS, **{k: values[k] for k in _RENDER_FIELDS if k in values}),  # type: ignore[arg-type]
    )


def select_model(options: SegmentOptions, registry: ModelRegistry) -> Segmenter:
    """The model that the options ask for.

    Raises UnknownModel, and BadParameter for a domain that the model does not take.
    """
    segmenter = registry.get(options.model)
    if options.domain is not None and not segmenter.takes_domain:
        able = ", ".join(other.spec.name for other in registry if other.takes_domain) or "none"
        raise BadParameter(
            f"domain: has no effect on {segmenter.spec.name}; models that take one: {able}"
        )
    return segmenter


def _read(name: str, text: str) -> object:
    try:
        return PARAMETERS[name].read(text)
    except ValueError as error:
        raise BadParameter(f"{name}: {error}") from None


def _refuse_what_has_no_effect(values: Mapping[str, object], *, has_background_image: bool) -> None:
    if has_background_image and "background" in values:
        raise BadParameter("background: is given twice, as a value and as background_image")
    composite = values.get("output") is Output.COMPOSITE
    if not composite and (has_background_image or "background" in values):
        raise BadParameter("background: needs output=composite")
    if not composite and values.get("light_wrap"):
        raise BadParameter("light_wrap: needs output=composite")
    if "layout" in values and values.get("crop"):
        raise BadParameter("crop: has no effect with a layout, which says where the person goes")
    if "layout" in values and values.get("invert"):
        raise BadParameter("layout: moves the person, and invert=true removes them")
    if "crop_margin" in values and not values.get("crop"):
        raise BadParameter("crop_margin: needs crop=true")


def _one_of(kind: type[E]) -> Callable[[str], E]:
    def read(text: str) -> E:
        if text not in list(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(text)

    return read


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def integer_between(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number of that range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Reads a decimal number of that range."""

    def read(text: str) -> float:
        if not _DECIMAL.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(text)

    return read


def _background(text: str) -> Background:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
        return Colour((red, green, blue))
    kind, colon, radius = text.partition(":")
    if kind == "blur" and colon and _DECIMAL.fullmatch(radius):
        if 0 < float(radius) <= MAX_BLUR_PERCENT:
            return Blur(float(radius))
        raise ValueError(f"the blur must be more than 0 and at most {MAX_BLUR_PERCENT}")
    raise ValueError("must be #rrggbb or blur:<percent of the short side>")


def _domain(text: str) -> Domain:
    if text not in DOMAINS:
        raise ValueError(f"must be one of {', '.join(DOMAINS)}")
    return DOMAINS[text]


def _model(text: str) -> str:
    if not text:
        raise ValueError("is empty; the names are at /v1/models")
    return text


def _boolean_schema(default: bool) -> Schema:
    return {"type": "boolean", "default": default}


def _enum_schema(*values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema if default is None else schema | {"default": default}


def _range_schema(kind: str, low: float, high: float, default: float | None = None) -> Schema:
    schema: Schema = {"type": kind, "minimum": low, "maximum": high}
    return schema if default is None else schema | {"default": default}


_PLACED = r"((x|y|scale):-?([0-9]{1,3}(\.[0-9]*)?|\.[0-9]+)|flip:(true|false))"
_COPY = f"{_PLACED}(,{_PLACED}){{0,3}}"
_DECIMAL = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")

PARAMETERS: dict[str, Parameter] = {
    "model": Parameter(
        _model, {"type": "string", "default": AUTO}, "`auto`, or a name from `/v1/models`."
    ),
    "output": Parameter(
        _one_of(Output),
        _enum_schema(*Output, default=Output.MASK),
        "`mask` is 8-bit grey alpha, `cutout` RGBA, `composite` RGB on a background.",
    ),
    "background": Parameter(
        _background,
        {
            "type": "string",
            "pattern": r"^(#[0-9a-fA-F]{6}|blur:[0-9.]+)$",
            "default": "blur:3",
        },
        "For a composite: `#rrggbb`, or `blur:<radius in percent of the short side>`. Or send "
        "a picture as the part `background_image`; it is scaled to cover.",
    ),
    "format": Parameter(
        _one_of(ImageFormat),
        _enum_schema(*ImageFormat),
        "Wins over `Accept`. Without both it is png. JPEG of a cut-out is a 406.",
    ),
    "person": Parameter(
        _one_of(PersonSelection),
        _enum_schema(*PersonSelection, default=PHOTO_DEFAULTS.person),
        "`all` keeps everyone and what they hold; `dominant` the person of the largest face, or "
        "else the largest and most central. The report lists what was kept and rejected.",
    ),
    "refine": Parameter(
        _one_of(Refinement),
        _enum_schema(*Refinement, default=PHOTO_DEFAULTS.refine),
        "`guided` finds the edge in the photo itself where the model is not sure of it.",
    ),
    "decontaminate": Parameter(
        _boolean,
        _boolean_schema(PHOTO_DEFAULTS.decontaminate),
        "Takes the old background's colour out of the edge of a cut-out or composite.",
    ),
    "grow": Parameter(
        integer_between(-MAX_EDGE_PIXELS, MAX_EDGE_PIXELS),
        _range_schema("integer", -MAX_EDGE_PIXELS, MAX_EDGE_PIXELS, 0),
        "Moves the edge outwards by pixels of the photo; negative moves it inwards.",
    ),
    "feather": Parameter(
        number_between(0, MAX_EDGE_PIXELS),
        _range_schema("number", 0, MAX_EDGE_PIXELS, 0),
        "Softens the edge by pixels of the photo.",
    ),
    "crop": Parameter(
        _boolean, _boolean_schema(False), "Crops to the person; without a person nothing is cut."
    ),
    "crop_margin": Parameter(
        number_between(0, MAX_MARGIN_PERCENT),
        _range_schema("number", 0, MAX_MARGIN_PERCENT, 0),
        "Room around the crop on each side, in percent of the person's height and width.",
    ),
    "invert": Parameter(
        _boolean, _boolean_schema(False), "Keeps the background instead of the person."
    ),
    "threshold": Parameter(
        number_between(0, 1),
        _range_schema("number", 0, 1),
        "Makes the mask hard; absent keeps it soft.",
    ),
    "domain": Parameter(
        _domain,
        _enum_schema(*DOMAINS),
        "How far the person is, for a model that takes a domain; absent leaves it to the size of "
        "the face. Any other model refuses it.",
    ),
    "layout": Parameter(
        read_layout,
        {"type": "string", "pattern": f"^{_COPY}(;{_COPY}){{0,7}}$"},
        "Where the person goes: `x:0.3,y:1,scale:0.6,flip:true` puts the middle of their lower "
        "edge at that share of the picture's width and height, scaled and mirrored; what is left "
        "out stays as it is. Up to 8 copies with `;` between them, a later one in front.",
    ),
    "light_wrap": Parameter(
        number_between(0, 100),
        _range_schema("number", 0, 100, 0),
        "Lets the new background's light come round the person's rim, in percent. For a composite.",
    ),
    "require_foreground": Parameter(
        _boolean,
        _boolean_schema(False),
        "Makes a photo without a person a 422 instead of an empty mask.",
    ),
}

_NAMES = ", ".join(PARAMETERS)
_RENDER_FIELDS = tuple(known.name for known in fields(RenderOptions))
