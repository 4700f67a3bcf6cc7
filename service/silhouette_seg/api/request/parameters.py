"""Parameters of `POST /v1/segment`: one table with the parser, JSON schema and text of each."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import chain
from typing import Any, TypeVar

from silhouette_seg.api.request.combinations import check_combination
from silhouette_seg.errors import BadParameter, UnknownParameter
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
from silhouette_seg.vision.codec.decode import ImageFormat
from silhouette_seg.vision.compose.layout import parse_layout

DOMAINS = {domain.label: domain for domain in Domain}
MAX_NAME_CHARS = 80
"""Number of characters after which an error message cuts a parameter or part name."""
MAX_EDGE_PIXELS = 100
MAX_MARGIN_PERCENT = 100
MAX_BLUR_PERCENT = 25
MAX_TRIMAP_BAND_PERCENT = 10

URL_FIELDS = ("image_url", "url")
"""Names under which other services take the address of a photo."""
NO_URLS = "the service fetches nothing from the network; send the file itself"

E = TypeVar("E", bound=StrEnum)
V = TypeVar("V")
Schema = dict[str, Any]


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
    """Function from the text of a parameter to its value. It raises ValueError if invalid."""
    schema: Schema
    """JSON schema of the values that `parse` accepts."""
    description: str
    """Description in Markdown, for the OpenAPI document and `--help`."""


def merge_parameters(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns the parameters of several sources, such as query and form, as text by name.

    An empty text is left out. Raises UnknownParameter for a name that is not in `PARAMETERS`, and
    the error of `unique_values`.
    """
    pairs = list(chain.from_iterable(sources))
    for name, _ in pairs:
        if name in URL_FIELDS:
            raise UnknownParameter(f"{name}: {NO_URLS}")
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
    values = {name: _parse_value(name, text) for name, text in parameters.items()}
    check_combination(values, has_background_image=has_background_image)
    if has_background_image:
        values["background"] = BackgroundImage()
    return SegmentOptions(
        **{name: values[name] for name in _REQUEST_FIELDS if name in values},  # type: ignore[arg-type]
        render=replace(PHOTO_DEFAULTS, **{k: values[k] for k in _RENDER_FIELDS if k in values}),  # type: ignore[arg-type]
    )


def select_model(options: SegmentOptions, registry: ModelRegistry) -> Segmenter:
    """Returns the segmentation model that `options.model` names, or the default for `auto`.

    Raises UnknownModel for another name. Raises BadParameter if `options.domain` is set and the
    model has no domain input, and for options that require a face detector without one.
    """
    segmenter = registry.get(options.model)
    if options.domain is not None and not segmenter.takes_domain:
        names = ", ".join(other.spec.name for other in registry if other.takes_domain) or "none"
        raise BadParameter(
            f"domain: has no effect on {segmenter.spec.name}; models that take one: {names}"
        )
    if options.render.requires_faces and segmenter.face_router(find_faces=True) is None:
        name = "faces" if options.render.faces else "background"
        raise BadParameter(f"{name}: needs the model {FACE_DETECTOR}, which is not served")
    return segmenter


def _parse_value(name: str, text: str) -> object:
    try:
        return PARAMETERS[name].parse(text)
    except ValueError as error:
        raise BadParameter(f"{name}: {error}") from None


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
        "must be #rrggbb, #rgb, a CSS colour, blur:<percent of the short side> or blur_faces"
    )


def _domain(text: str) -> Domain:
    if text not in DOMAINS:
        raise ValueError(f"must be one of {', '.join(DOMAINS)}")
    return DOMAINS[text]


def _model(text: str) -> str:
    if not text:
        raise ValueError("must not be empty; /v1/models lists the names")
    return text


def _boolean_schema(default: bool) -> Schema:
    return {"type": "boolean", "default": default}


def _enum_schema(*values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema if default is None else schema | {"default": default}


def _range_schema(kind: str, low: float, high: float, default: float | None = None) -> Schema:
    schema: Schema = {"type": kind, "minimum": low, "maximum": high}
    return schema if default is None else schema | {"default": default}


_PLACEMENT = r"((x|y|scale):-?([0-9]{1,3}(\.[0-9]*)?|\.[0-9]+)|flip:(true|false))"
_LAYOUT_COPY = f"{_PLACEMENT}(,{_PLACEMENT}){{0,3}}"
_DECIMAL = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")

PARAMETERS: dict[str, Parameter] = {
    "model": Parameter(
        _model, {"type": "string", "default": AUTO}, "`auto`, or a name from `/v1/models`."
    ),
    "output": Parameter(
        _one_of(Output),
        _enum_schema(*Output, default=Output.MASK),
        "`mask` is 8-bit grey alpha, `cutout` RGBA, `composite` RGB on a background. `trimap` is "
        "grey for matting tools: 0 background, 128 unknown, 255 person.",
    ),
    "background": Parameter(
        _background,
        {
            "type": "string",
            "pattern": r"^(#([0-9a-fA-F]{3}){1,2}|[a-zA-Z]+|blur:[0-9.]+|blur_faces)$",
            "default": "blur:3",
            "examples": ["#20639b", "white", "blur:4"],
        },
        "Background of a composite: `#rrggbb`, `#rgb`, a CSS colour, or `blur:` and the radius in "
        "percent of the short side. Or send an image as the form part `background_image`, which is "
        "scaled to cover. `blur_faces` shows the photo as it is, with the faces that are found "
        "made unrecognisable; `X-Faces-Blurred` is their number.",
    ),
    "format": Parameter(
        _image_format,
        _enum_schema(*ImageFormat, "jpg"),
        "Encoding of the result. It overrides `Accept`; without both the result is png. "
        "JPEG cannot encode a cut-out or trimap (406). Masks, trimaps and the alpha of cut-outs "
        "are exact in png, webp and avif.",
    ),
    "person": Parameter(
        _one_of(PersonSelection),
        _enum_schema(*PersonSelection, default=PHOTO_DEFAULTS.person),
        "`all` keeps all people and the objects they hold. `dominant` keeps the person with the "
        "largest face; without faces, the largest and most central one. The report lists the "
        "pieces that were kept and rejected.",
    ),
    "refine": Parameter(
        _one_of(Refinement),
        _enum_schema(*Refinement, default=PHOTO_DEFAULTS.refine),
        "`guided` refines uncertain edges of the mask with the edges of the photo.",
    ),
    "decontaminate": Parameter(
        parse_boolean,
        _boolean_schema(PHOTO_DEFAULTS.decontaminate),
        "Removes the colour of the old background from the edge of a cut-out or composite.",
    ),
    "grow": Parameter(
        integer_between(-MAX_EDGE_PIXELS, MAX_EDGE_PIXELS),
        _range_schema("integer", -MAX_EDGE_PIXELS, MAX_EDGE_PIXELS, 0),
        "Moves the edge outwards, in pixels of the photo. Negative values move it inwards.",
    ),
    "feather": Parameter(
        number_between(0, MAX_EDGE_PIXELS),
        _range_schema("number", 0, MAX_EDGE_PIXELS, 0),
        "Softens the edge, in pixels of the photo.",
    ),
    "crop": Parameter(
        parse_boolean,
        _boolean_schema(False),
        "Crops to the person. A photo without a person is not cropped.",
    ),
    "crop_margin": Parameter(
        number_between(0, MAX_MARGIN_PERCENT),
        _range_schema("number", 0, MAX_MARGIN_PERCENT, 0),
        "Margin on each side of the crop, in percent of the person's height and width.",
    ),
    "invert": Parameter(
        parse_boolean, _boolean_schema(False), "Keeps the background instead of the person."
    ),
    "threshold": Parameter(
        number_between(0, 1),
        _range_schema("number", 0, 1),
        "Makes the mask binary: pixels with at least this alpha are person. If absent, the mask "
        "stays soft.",
    ),
    "domain": Parameter(
        _domain,
        _enum_schema(*DOMAINS),
        "Distance of the person, for a model with a domain input. If absent, it is derived from "
        "the size of the face. Any other model rejects the parameter.",
    ),
    "layout": Parameter(
        parse_layout,
        {
            "type": "string",
            "pattern": f"^{_LAYOUT_COPY}(;{_LAYOUT_COPY}){{0,7}}$",
            "examples": ["x:0.3,y:1,scale:0.6", "x:0.3,scale:0.6;x:0.72,scale:0.6,flip:true"],
        },
        "Places the person: `x:0.3,y:1,scale:0.6,flip:true` puts the middle of their lower edge at "
        "that share of the width and height, scaled and mirrored. Omitted keys leave the person "
        "as in the photo. Up to 8 copies, separated by `;`; later copies are in front.",
    ),
    "light_wrap": Parameter(
        number_between(0, 100),
        _range_schema("number", 0, 100, 0),
        "Light of the new background that spills over the person's edge, in percent. It applies to "
        "composites only.",
    ),
    "trimap_band": Parameter(
        number_between(0, MAX_TRIMAP_BAND_PERCENT),
        _range_schema("number", 0, MAX_TRIMAP_BAND_PERCENT, 1),
        "Reach of the unknown band of a trimap, beyond uncertain pixels and to either side of the "
        "edge, in percent of the short side.",
    ),
    "masks": Parameter(
        _one_of(MaskEncoding),
        _enum_schema(*MaskEncoding),
        "Lists each person in the JSON report with a mask as in annotations of COCO: `polygon`, or "
        "`rle` in the compressed form of pycocotools.",
    ),
    "faces": Parameter(
        parse_boolean,
        _boolean_schema(False),
        "Lists the faces in the JSON report, with boxes and scores.",
    ),
    "keep_metadata": Parameter(
        parse_boolean,
        _boolean_schema(False),
        "Keeps the resolution (dpi), artist and copyright of the photo in the result. All other "
        "metadata, such as the location, is never kept.",
    ),
    "require_foreground": Parameter(
        parse_boolean,
        _boolean_schema(False),
        "Answers 422 for a photo without a person, instead of an empty mask.",
    ),
}

_NAMES = ", ".join(PARAMETERS)
_REQUEST_FIELDS = ("model", "format", "domain", "keep_metadata")
_RENDER_FIELDS = tuple(field.name for field in fields(RenderOptions))
