"""The options of a stream, for every transport: JSON of a `config` message, or a query."""

import base64
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from silhouette_seg.api.gateway import Parts
from silhouette_seg.api.request.parameters import PARAMETERS, Parameter, number, whole
from silhouette_seg.errors import BadParameter, NotAcceptable, UnknownParameter
from silhouette_seg.pipeline.options import Look, Output, Picture
from silhouette_seg.pipeline.registry import AUTO, FOR_STREAMS
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.streaming.image_frame import scale_to_fit
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING, StreamOptions
from silhouette_seg.vision.codec.decode import Frame, ImageFormat, check_limits, decode, read_header
from silhouette_seg.vision.geometry import shrink

PICTURE = "background_image"
SIDES = (64, 4096)
"""Pixels that a result's longer side may be asked to have."""
PICTURE_SIDE = 1920
"""Pixels of the longer side that a background is kept at, for as long as its stream lasts."""

STREAM_PARAMETERS: dict[str, Parameter] = {
    name: PARAMETERS[name]
    for name in ("model", "output", "background", "format", "threshold", "grow", "feather")
} | {
    "invert": PARAMETERS["invert"],
    "size": Parameter(
        whole(*SIDES),
        {"type": "integer", "minimum": SIDES[0], "maximum": SIDES[1]},
        "Pixels of the longer side that a result has at most; absent keeps the frame's own.",
    ),
    "smoothing": Parameter(
        number(0, 1),
        {"type": "number", "minimum": 0, "maximum": 1, "default": DEFAULT_SMOOTHING},
        "How much a mask owes to the one before it where the picture stands still.",
    ),
    PICTURE: Parameter(
        str,
        {"type": "string", "contentEncoding": "base64"},
        "A picture to put behind the person, in JSON alone; scaled to cover.",
    ),
}
_LOOK = {known.name for known in fields(Look)}
_DEFAULTS: dict[str, object] = {
    "model": AUTO,
    "format": None,
    "size": None,
    "smoothing": DEFAULT_SMOOTHING,
    **{name: getattr(Look(), name) for name in STREAM_PARAMETERS if name in _LOOK},
}


async def read_stream_options(
    given: Mapping[str, object], parts: Parts, before: StreamOptions | None = None
) -> StreamOptions:
    """What `given` asks for, over what held `before`.

    JSON numbers count as text; null is what holds where nothing is asked for. Raises BadParameter,
    UnknownParameter, UnknownModel, NotAcceptable, and for a picture what decoding it raises.
    """
    values = {name: _read(name, value) for name, value in given.items() if name != PICTURE}
    now = before or StreamOptions(_segmenter(AUTO, parts))
    if "model" in values:
        now = replace(now, segmenter=_segmenter(str(values.pop("model")), parts))
    look: dict[str, Any] = {name: values.pop(name) for name in list(values) if name in _LOOK}
    if PICTURE in given:
        if "background" in given:
            raise BadParameter(f"background: is given twice, as a value and as {PICTURE}")
        look["background"] = Picture()
        now = replace(now, picture=await parts.live.run(_picture, given[PICTURE], parts))
    elif "background" in look:
        now = replace(now, picture=None)
    new: dict[str, Any] = values | {"look": replace(now.look, **look)}
    now = replace(now, **new)
    asked = given.get("background") is not None or PICTURE in given
    if asked and now.look.output is not Output.COMPOSITE:
        raise BadParameter("background: needs output=composite")
    if now.look.transparent and now.format is ImageFormat.JPEG:
        raise NotAcceptable("JPEG cannot hold transparency; ask for png or webp.")
    return now


def effective(options: StreamOptions) -> dict[str, object]:
    """The same as JSON, for a client that wants to know what it got."""
    look = options.look
    return {
        "model": options.segmenter.spec.name,
        "output": look.output.value,
        "background": str(look.background),
        "format": options.image_format.value,
        "size": options.size,
        "smoothing": options.smoothing,
        "threshold": look.threshold,
        "grow": look.grow,
        "feather": look.feather,
        "invert": look.invert,
    }


def _segmenter(name: str, parts: Parts) -> Segmenter:
    return parts.catalog.get(name, auto=FOR_STREAMS).on(parts.live)


def _read(name: str, value: object) -> object:
    known = STREAM_PARAMETERS.get(name)
    if known is None:
        raise UnknownParameter(
            f"{name[:80]!r} is not a parameter; there are {', '.join(STREAM_PARAMETERS)}."
        )
    if value is None:
        return _DEFAULTS[name]
    try:
        return known.read(_text(value))
    except ValueError as error:
        raise BadParameter(f"{name}: {error}") from None


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return format(value, "f" if isinstance(value, float) else "d")
        case str():
            return value
    raise ValueError("must be text, a number, true or false")


def _picture(value: object, parts: Parts) -> Frame:
    try:
        data = base64.b64decode(_text(value), validate=True)
    except ValueError:
        raise BadParameter(f"{PICTURE}: is not base64") from None
    header = read_header(data)
    check_limits(header, parts.image_limits)
    kept_hw = scale_to_fit(header.upright_hw, PICTURE_SIDE)
    return Frame(shrink(decode(data, header, at_least=kept_hw).rgb, kept_hw), kept_hw)
