"""The options of a stream, for every transport: JSON of a `config` message, or a query."""

import base64
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from silhouette_seg.api.gateway import Gateway
from silhouette_seg.api.request.parameters import (
    PARAMETERS,
    Parameter,
    integer_between,
    number_between,
)
from silhouette_seg.errors import BadParameter, NotAcceptable, UnknownParameter
from silhouette_seg.pipeline.options import BackgroundImage, Output, RenderOptions
from silhouette_seg.pipeline.registry import AUTO, STREAM_PREFERENCE
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.streaming.image_frame import scale_to_fit
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING, StreamOptions
from silhouette_seg.vision.codec.decode import Frame, ImageFormat, check_limits, decode, read_header
from silhouette_seg.vision.geometry import resize

BACKGROUND_IMAGE = "background_image"
RESULT_SIDE_RANGE_PX = (64, 4096)
"""Pixels that a result's longer side may be asked to have."""
MAX_BACKGROUND_SIDE_PX = 1920
"""Pixels of the longer side that a background is kept at, for as long as its stream lasts."""

STREAM_PARAMETERS: dict[str, Parameter] = {
    name: PARAMETERS[name]
    for name in ("model", "output", "background", "format", "threshold", "grow", "feather")
} | {
    "invert": PARAMETERS["invert"],
    "size": Parameter(
        integer_between(*RESULT_SIDE_RANGE_PX),
        {"type": "integer", "minimum": RESULT_SIDE_RANGE_PX[0], "maximum": RESULT_SIDE_RANGE_PX[1]},
        "Pixels of the longer side that a result has at most; absent keeps the frame's own.",
    ),
    "smoothing": Parameter(
        number_between(0, 1),
        {"type": "number", "minimum": 0, "maximum": 1, "default": DEFAULT_SMOOTHING},
        "How much a mask owes to the one before it where the picture stands still.",
    ),
    BACKGROUND_IMAGE: Parameter(
        str,
        {"type": "string", "contentEncoding": "base64"},
        "A picture to put behind the person, in JSON alone; scaled to cover.",
    ),
}
_RENDER_FIELDS = {known.name for known in fields(RenderOptions)}
_DEFAULTS: dict[str, object] = {
    "model": AUTO,
    "format": None,
    "size": None,
    "smoothing": DEFAULT_SMOOTHING,
    **{
        name: getattr(RenderOptions(), name) for name in STREAM_PARAMETERS if name in _RENDER_FIELDS
    },
}


async def parse_stream_options(
    given: Mapping[str, object], gateway: Gateway, before: StreamOptions | None = None
) -> StreamOptions:
    """What `given` asks for, over what held `before`.

    JSON numbers count as text; null is what holds where nothing is asked for. Raises BadParameter,
    UnknownParameter, UnknownModel, NotAcceptable, and for a picture what decoding it raises.
    """
    values = {name: _read(name, value) for name, value in given.items() if name != BACKGROUND_IMAGE}
    now = before or StreamOptions(_segmenter(AUTO, gateway))
    if "model" in values:
        now = replace(now, segmenter=_segmenter(str(values.pop("model")), gateway))
    render: dict[str, Any] = {
        name: values.pop(name) for name in list(values) if name in _RENDER_FIELDS
    }
    if BACKGROUND_IMAGE in given:
        if "background" in given:
            raise BadParameter(f"background: is given twice, as a value and as {BACKGROUND_IMAGE}")
        render["background"] = BackgroundImage()
        now = replace(
            now,
            picture=await gateway.stream_pool.run_in_thread(
                _picture, given[BACKGROUND_IMAGE], gateway
            ),
        )
    elif "background" in render:
        now = replace(now, picture=None)
    new: dict[str, Any] = values | {"render": replace(now.render, **render)}
    now = replace(now, **new)
    asked = given.get("background") is not None or BACKGROUND_IMAGE in given
    if asked and now.render.output is not Output.COMPOSITE:
        raise BadParameter("background: needs output=composite")
    if now.render.transparent and now.format is ImageFormat.JPEG:
        raise NotAcceptable("JPEG cannot hold transparency; ask for png or webp.")
    return now


def effective_options(options: StreamOptions) -> dict[str, object]:
    """The same as JSON, for a client that wants to know what it got."""
    render = options.render
    return {
        "model": options.segmenter.spec.name,
        "output": render.output.value,
        "background": str(render.background),
        "format": options.image_format.value,
        "size": options.size,
        "smoothing": options.smoothing,
        "threshold": render.threshold,
        "grow": render.grow,
        "feather": render.feather,
        "invert": render.invert,
    }


def _segmenter(name: str, gateway: Gateway) -> Segmenter:
    return gateway.registry.get(name, preference=STREAM_PREFERENCE).with_pool(gateway.stream_pool)


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


def _picture(value: object, gateway: Gateway) -> Frame:
    try:
        data = base64.b64decode(_text(value), validate=True)
    except ValueError:
        raise BadParameter(f"{BACKGROUND_IMAGE}: is not base64") from None
    header = read_header(data)
    check_limits(header, gateway.image_limits)
    kept_hw = scale_to_fit(header.upright_hw, MAX_BACKGROUND_SIDE_PX)
    return Frame(resize(decode(data, header, at_least=kept_hw).rgb, kept_hw), kept_hw)
