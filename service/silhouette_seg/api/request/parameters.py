"""Parsers of the parameters of `POST /v1/segment`, and the options that they return."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import chain
from typing import TypeVar

from silhouette_seg.api.request.combinations import check_combination
from silhouette_seg.api.request.parameter_table import (
    MAX_BLUR_PERCENT,
    PHOTO_PARAMETERS,
    Schema,
)
from silhouette_seg.errors import BadParameter, Setting, UnknownParameter, UnsupportedImageType
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.model_folders import AUTO, FACE_DETECTOR
from silhouette_seg.pipeline.options import (
    PHOTO_DEFAULTS,
    Background,
    BackgroundImage,
    Blur,
    BlurredFaces,
    Colour,
    MaskEncoding,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.registry import ModelRegistry
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.vision.codec.css_colour import parse_colour
from silhouette_seg.vision.codec.decode import ImageFormat, ImageLimits, check_limits, read_header
from silhouette_seg.vision.codec.header import ImageHeader
from silhouette_seg.vision.compose.layout import parse_layout

DOMAINS = {domain.label: domain for domain in Domain}
MAX_NAME_CHARS = 80
"""Number of characters after which an error message cuts a parameter or part name."""

URL_FIELDS = ("image_url", "url")
"""Names under which other services take the address of a photo."""
BACKGROUND_IMAGE = "background_image"
"""Name of the background as a file; `background` is a colour or blur as text."""
BACKGROUND_TEXT = "a colour or blur is the parameter background"
NO_URLS = "the service fetches nothing from the network; send the file itself"

E = TypeVar("E", bound=StrEnum)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Parsed parameters of one request: model, image format, rendering and distance domain."""

    model: str = AUTO
    format: ImageFormat | None = None
    """Image format of the result; None lets the `Accept` header decide."""
    render: RenderOptions = PHOTO_DEFAULTS
    domain: Domain | None = None
    """Distance of the person; None derives it from the size of the detected face."""
    keep_metadata: bool = False
    """True: the result keeps the resolution, artist and copyright of the photo."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Parser, JSON schema and description of one parameter of the API."""

    parse: Callable[[str], object]
    """Function from the text of a parameter to its value. It raises ValueError if invalid.

    The arguments of the error are the parts of the reason.
    """
    schema: Schema
    """JSON schema of the values that `parse` accepts."""
    description: str
    """Description in Markdown, for the OpenAPI document."""


def merge_parameters(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns the parameters of several sources, such as query and form, as text by name.

    An empty text is left out. Raises UnknownParameter for a name that is not in `PARAMETERS`, and
    the error of `unique_values`.
    """
    pairs = list(chain.from_iterable(sources))
    for name, _ in pairs:
        if name in URL_FIELDS:
            raise UnknownParameter(f"{name}: {NO_URLS}")
        if name == BACKGROUND_IMAGE:
            raise UnknownParameter(f"{name}: is a file and not text; {BACKGROUND_TEXT}.")
        if name not in PARAMETERS:
            raise UnknownParameter(
                f"{name[:MAX_NAME_CHARS]!r} is not a parameter; there are {_NAMES}."
            )
    return unique_values((name, value) for name, value in pairs if value)


def unique_values(pairs: Iterable[tuple[str, V]]) -> dict[str, V]:
    """Returns pairs of name and value as a dictionary.

    A pair may occur several times. Raises BadParameter for a name with two different values.
    """
    values: dict[str, V] = {}
    for name, value in pairs:
        if values.setdefault(name, value) != value:
            raise BadParameter(f"{name[:MAX_NAME_CHARS]}: is given twice, with different values")
    return values


def parse_parameters(
    parameters: Mapping[str, str], *, has_background_image: bool = False
) -> SegmentOptions:
    """Parses the text of each parameter, and returns the options with defaults for the others.

    `has_background_image` is True if the request has a background image as a file. Raises
    BadParameter for an invalid value, or for one that has no effect in this combination.
    """
    values = {name: parse_value(name, text) for name, text in parameters.items()}
    check_combination(values, has_background_image=has_background_image)
    if has_background_image:
        values["background"] = BackgroundImage()
    return SegmentOptions(
        **{name: values[name] for name in _REQUEST_FIELDS if name in values},  # type: ignore[arg-type]
        render=replace(PHOTO_DEFAULTS, **{k: values[k] for k in _RENDER_FIELDS if k in values}),  # type: ignore[arg-type]
    )


def read_background_header(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Reads the header of a background image, checks its size, and returns it.

    Raises UnsupportedImageType, with the name of the parameter, and UnprocessableImage.
    """
    try:
        header = read_header(data)
        check_limits(header, limits)
    except UnsupportedImageType as error:
        reason = f"{error.detail.rstrip('.')}; {BACKGROUND_TEXT}."
        raise UnsupportedImageType(f"{BACKGROUND_IMAGE}: {reason}") from None
    return header


def select_model(options: SegmentOptions, registry: ModelRegistry) -> Segmenter:
    """Returns the segmentation model that `options.model` names, or the default for `auto`.

    Raises UnknownModel for another name. Raises BadParameter if `options.domain` is set and the
    model has no domain input, and for options that require a face detector without one.
    """
    segmenter = registry.get(options.model)
    if options.domain is not None and not segmenter.takes_domain:
        names = ", ".join(other.spec.name for other in registry if other.takes_domain) or "none"
        reason = f"has no effect on {segmenter.spec.name}; models that take one: {names}"
        raise BadParameter.about("domain", reason)
    if options.render.requires_faces and segmenter.face_router(find_faces=True) is None:
        name = "faces" if options.render.faces else "background"
        raise BadParameter.about(name, f"needs the model {FACE_DETECTOR}, which is missing")
    return segmenter


def parse_value(name: str, text: str) -> object:
    """Returns the value of one parameter. Raises BadParameter for an invalid text."""
    try:
        return PARAMETERS[name].parse(text)
    except ValueError as error:
        raise BadParameter.about(name, *error.args) from None


def _one_of(kind: type[E]) -> Callable[[str], E]:
    def parse(text: str) -> E:
        if text not in list(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(text)

    return parse


def _image_format(text: str) -> ImageFormat:
    return _one_of(ImageFormat)("jpeg" if text == "jpg" else text)


def parse_boolean(text: str) -> bool:
    """Parses true, on, yes or 1, or false, off, no or 0, in any case.

    Raises ValueError for other text.
    """
    match text.lower():
        case "true" | "on" | "yes" | "1":
            return True
        case "false" | "off" | "no" | "0":
            return False
    raise ValueError("must be true or false")


def integer_between(low: int, high: int) -> Callable[[str], int]:
    """Returns a function that parses the text of a whole number from `low` to `high`, inclusive.

    The function raises ValueError for other text.
    """

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Returns a function that parses the text of a decimal number from `low` to `high`, inclusive.

    The function raises ValueError for other text.
    """

    def parse(text: str) -> float:
        if not _DECIMAL.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(text)

    return parse


def _background(text: str) -> Background:
    if (rgb := parse_colour(text)) is not None:
        return Colour(rgb)
    if text == str(BlurredFaces()):
        return BlurredFaces()
    kind, colon, radius = text.partition(":")
    if kind == "blur" and colon and _DECIMAL.fullmatch(radius):
        if 0 < float(radius) <= MAX_BLUR_PERCENT:
            return Blur(float(radius))
        raise ValueError(f"the blur must be more than 0 and at most {MAX_BLUR_PERCENT}")
    raise ValueError(
        "must be #rrggbb, #rgb, a CSS colour, blur:<percent of the short side> or blur_faces; "
        "an image is given as ",
        Setting(BACKGROUND_IMAGE),
    )


def _domain(text: str) -> Domain:
    if text not in DOMAINS:
        raise ValueError(f"must be one of {', '.join(DOMAINS)}")
    return DOMAINS[text]


def _model(text: str) -> str:
    if not text:
        raise ValueError(f"must be {AUTO} or the name of a model")
    return text


def _parser(name: str) -> Callable[[str], object]:
    """Returns the parser of a parameter: one of `_PARSERS`, or that of its range."""
    schema = PHOTO_PARAMETERS[name].schema
    match schema["type"]:
        case _ if name in _PARSERS:
            return _PARSERS[name]
        case "boolean":
            return parse_boolean
        case "integer":
            return integer_between(schema["minimum"], schema["maximum"])
    return number_between(schema["minimum"], schema["maximum"])


_DECIMAL = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")
_PARSERS: dict[str, Callable[[str], object]] = {
    "model": _model,
    "output": _one_of(Output),
    "background": _background,
    "format": _image_format,
    "person": _one_of(PersonSelection),
    "refine": _one_of(Refinement),
    "domain": _domain,
    "layout": parse_layout,
    "masks": _one_of(MaskEncoding),
}
PARAMETERS: dict[str, Parameter] = {
    name: Parameter(_parser(name), text.schema, text.for_http)
    for name, text in PHOTO_PARAMETERS.items()
}

_NAMES = ", ".join(PARAMETERS)
_REQUEST_FIELDS = ("model", "format", "domain", "keep_metadata")
_RENDER_FIELDS = tuple(field.name for field in fields(RenderOptions))
