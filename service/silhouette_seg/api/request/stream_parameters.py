"""Parses the parameters of a video stream.

They come from the `config` message of a WebSocket, or from the query or JSON of `/v1/webrtc`.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from silhouette_seg.api.request.combinations import COMPOSITE, given_twice, needs
from silhouette_seg.api.request.parameters import (
    BACKGROUND_IMAGE,
    MAX_NAME_CHARS,
    PARAMETERS,
    Parameter,
    integer_between,
    number_between,
    read_background_header,
)
from silhouette_seg.errors import BadParameter, NotAcceptable, UnknownParameter
from silhouette_seg.pipeline.model_folders import AUTO
from silhouette_seg.pipeline.options import BackgroundImage, BlurredFaces, Output, RenderOptions
from silhouette_seg.pipeline.registry import ModelRegistry
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.image_frame import scale_to_fit
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING, StreamOptions
from silhouette_seg.vision.codec.decode import (
    Frame,
    ImageFormat,
    ImageLimits,
    decode,
)
from silhouette_seg.vision.geometry import resize

STREAM_OUTPUTS = (Output.MASK, Output.CUTOUT, Output.COMPOSITE)
"""Outputs of streams: all but the trimap, which is for still photos."""
STREAM_BACKGROUND_PATTERN = r"^(#([0-9a-fA-F]{3}){1,2}|[a-zA-Z]+|blur:[0-9.]+)$"
MIN_RESULT_SIDE_PX = 64
"""Smallest value of the parameter `size`, the longer side of a result in pixels."""
MAX_RESULT_SIDE_PX = 4096
"""Largest value of the parameter `size`, the longer side of a result in pixels."""
MAX_BACKGROUND_SIDE_PX = 1920
"""Longer side in pixels to which a background image is scaled down when it is stored.

It stays in memory as long as its stream.
"""

STREAM_PARAMETERS: dict[str, Parameter] = {
    name: PARAMETERS[name]
    for name in ("model", "output", "background", "format", "threshold", "grow", "feather")
} | {
    "invert": PARAMETERS["invert"],
    "output": replace(
        PARAMETERS["output"],
        schema=PARAMETERS["output"].schema | {"enum": [one.value for one in STREAM_OUTPUTS]},
        description="`mask` is 8-bit grey alpha, `cutout` RGBA, `composite` RGB on a background.",
    ),
    "background": replace(
        PARAMETERS["background"],
        schema=PARAMETERS["background"].schema | {"pattern": STREAM_BACKGROUND_PATTERN},
        description="Background of a composite: `#rrggbb`, `#rgb`, a CSS colour, or `blur:` and "
        "the radius in percent of the short side.",
    ),
    "size": Parameter(
        integer_between(MIN_RESULT_SIDE_PX, MAX_RESULT_SIDE_PX),
        {"type": "integer", "minimum": MIN_RESULT_SIDE_PX, "maximum": MAX_RESULT_SIDE_PX},
        "Maximum length of a result's longer side in pixels. If absent, a result has the size of "
        "its frame.",
    ),
    "smoothing": Parameter(
        number_between(0, 1),
        {"type": "number", "minimum": 0, "maximum": 1, "default": DEFAULT_SMOOTHING},
        "Strength of the temporal smoothing of the mask, where the picture does not move; 0 "
        "disables it.",
    ),
    BACKGROUND_IMAGE: Parameter(
        str,
        {"type": "string", "contentEncoding": "base64"},
        "Image behind the person, as base64, only in JSON. It is scaled to cover.",
    ),
}
_UNLIMITED = frozenset({"size", "threshold"})
"""Options that may be null in effect: frames keep their size, and masks stay soft."""
_RENDER_FIELDS = {field.name for field in fields(RenderOptions)}
_DEFAULTS: dict[str, object] = {
    "model": AUTO,
    "format": None,
    "size": None,
    "smoothing": DEFAULT_SMOOTHING,
    **{
        name: getattr(RenderOptions(), name) for name in STREAM_PARAMETERS if name in _RENDER_FIELDS
    },
}


@dataclass(frozen=True, slots=True)
class StreamOptionsParser:
    """Turns the parameters of a video stream into `StreamOptions`.

    `pool` has the threads that decode background images and process the frames of the stream.
    """

    registry: ModelRegistry
    pool: ThreadPool
    image_limits: ImageLimits

    async def parse(
        self, parameters: Mapping[str, object], current: StreamOptions | None = None
    ) -> StreamOptions:
        """Returns the options `current`, or the defaults, with the changes in `parameters`.

        A value is text, number, boolean, or null, which restores the default. Raises BadParameter
        for an invalid value, UnknownParameter, UnknownModel, NotAcceptable for a transparent JPEG,
        and the errors of decoding a background image.
        """
        values = {
            name: _parse_value(name, value)
            for name, value in parameters.items()
            if name != BACKGROUND_IMAGE
        }
        options = current or StreamOptions(self._segmenter(AUTO))
        if "model" in values:
            options = replace(options, segmenter=self._segmenter(str(values.pop("model"))))
        render: dict[str, Any] = {
            name: values.pop(name) for name in list(values) if name in _RENDER_FIELDS
        }
        options = await self._with_background(options, parameters)
        changes: dict[str, Any] = values | {"render": replace(options.render, **render)}
        options = replace(options, **changes)
        _check_combination(parameters, options)
        return options

    async def _with_background(
        self, options: StreamOptions, parameters: Mapping[str, object]
    ) -> StreamOptions:
        """Returns the options with the background image of `parameters`, decoded.

        If `parameters` has another background, a stored image is discarded. Raises BadParameter if
        it has both.
        """
        if BACKGROUND_IMAGE not in parameters:
            return replace(options, background=None) if "background" in parameters else options
        if "background" in parameters:
            raise given_twice()
        image = await self.pool.run_in_thread(self._decode_background, parameters[BACKGROUND_IMAGE])
        render = replace(options.render, background=BackgroundImage())
        return replace(options, render=render, background=image)

    def _segmenter(self, name: str) -> Segmenter:
        return self.registry.get_for_stream(name).with_pool(self.pool)

    def _decode_background(self, value: object) -> Frame:
        try:
            data = base64.b64decode(_as_text(value), validate=True)
        except ValueError:
            raise BadParameter(f"{BACKGROUND_IMAGE}: is not base64") from None
        header = read_background_header(data, self.image_limits)
        stored_hw = scale_to_fit(header.upright_hw, MAX_BACKGROUND_SIDE_PX)
        return Frame(resize(decode(data, header, min_size=stored_hw).rgb, stored_hw), stored_hw)


def effective_options(options: StreamOptions) -> dict[str, object]:
    """Returns all options of a stream in effect, as JSON values by parameter name."""
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


def effective_schemas(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Returns the JSON schemas of those values of `effective_options` that `parameters` names."""
    kept = ("type", "enum", "minimum", "maximum")
    schemas = {
        name: {key: parameter.schema[key] for key in kept if key in parameter.schema}
        for name, parameter in parameters.items()
        if name != BACKGROUND_IMAGE
    }
    for name in _UNLIMITED.intersection(schemas):
        schemas[name]["type"] = [schemas[name]["type"], "null"]
    return schemas


def _check_combination(parameters: Mapping[str, object], options: StreamOptions) -> None:
    if options.render.output not in STREAM_OUTPUTS:
        raise BadParameter(f"output: must be one of {', '.join(STREAM_OUTPUTS)} in a stream")
    if isinstance(options.render.background, BlurredFaces):
        raise BadParameter("background: blur_faces is for photos; faces of streams are not found")
    is_default = options.render.background == RenderOptions().background
    sets_background = parameters.get("background") is not None and not is_default
    if (
        sets_background or BACKGROUND_IMAGE in parameters
    ) and options.render.output is not Output.COMPOSITE:
        raise needs("background", COMPOSITE)
    if options.render.transparent and options.format is ImageFormat.JPEG:
        raise NotAcceptable("JPEG cannot hold transparency; ask for png, webp or avif.")


def _parse_value(name: str, value: object) -> object:
    parameter = STREAM_PARAMETERS.get(name)
    if parameter is None:
        raise UnknownParameter(
            f"{name[:MAX_NAME_CHARS]!r} is not a parameter; there are "
            f"{', '.join(STREAM_PARAMETERS)}."
        )
    if value is None:
        return _DEFAULTS[name]
    try:
        return parameter.parse(_as_text(value))
    except ValueError as error:
        raise BadParameter.about(name, *error.args) from None


def _as_text(value: object) -> str:
    """Returns a JSON string, number or boolean as the text of a query parameter.

    Raises ValueError for any other value.
    """
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return format(value, "f" if isinstance(value, float) else "d")
        case str():
            return value
    raise ValueError("must be text, a number, true or false")
