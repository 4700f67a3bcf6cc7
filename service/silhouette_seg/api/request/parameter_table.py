"""Values and texts of the parameters of a photo, for the API, `--help` and docstrings alike.

It imports no third-party package, so that the library and the clients can read it at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from silhouette_seg.pipeline.options import (
    PHOTO_DEFAULTS,
    MaskEncoding,
    Output,
    PersonSelection,
    Refinement,
)

MAX_EDGE_PIXELS = 100
MAX_MARGIN_PERCENT = 100
MAX_BLUR_PERCENT = 25
MAX_TRIMAP_BAND_PERCENT = 10

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParameterText:
    """JSON schema and description of one parameter."""

    schema: Schema
    """JSON schema of the values."""
    description: str
    """Description in Markdown that holds for every interface."""
    http: str = ""
    """Sentences in Markdown that hold for HTTP alone."""

    @property
    def for_http(self) -> str:
        """Description in Markdown for the OpenAPI document."""
        return f"{self.description} {self.http}".rstrip()

    @property
    def values(self) -> str:
        """Values and default as text, such as `0 to 100; by default 0`; empty for any text."""
        schema = self.schema
        if "enum" in schema:
            values = ", ".join(schema["enum"])
        elif "minimum" in schema:
            values = f"{schema['minimum']} to {schema['maximum']}"
        else:
            values = "True or False" if schema["type"] == "boolean" else ""
        default = f"by default {schema['default']}" if "default" in schema else ""
        return "; ".join(filter(None, [values, default]))


def describe_parameters(names: Iterable[str]) -> str:
    """Returns a paragraph for each parameter with its values, default and description."""
    return "\n".join(_describe(name, PHOTO_PARAMETERS[name]) for name in names)


def _describe(name: str, text: ParameterText) -> str:
    values = f" ({text.values})" if text.values else ""
    paragraph = f"{name}{values}: {text.description.replace('`', '')}"
    return fill(paragraph, width=88, subsequent_indent="    ", break_on_hyphens=False)


def _boolean(default: bool = False) -> Schema:
    return {"type": "boolean", "default": default}


def _choice(*values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema if default is None else schema | {"default": default}


def _range(kind: str, low: float, high: float, default: float | None = None) -> Schema:
    schema: Schema = {"type": kind, "minimum": low, "maximum": high}
    return schema if default is None else schema | {"default": default}


_PLACEMENT = r"((x|y|scale):-?([0-9]{1,3}(\.[0-9]*)?|\.[0-9]+)|flip:(true|false))"
_LAYOUT_COPY = f"{_PLACEMENT}(,{_PLACEMENT}){{0,3}}"

PHOTO_PARAMETERS: dict[str, ParameterText] = {
    "model": ParameterText(
        {"type": "string", "default": "auto"},
        "`auto`, or the name of a model.",
        "`/v1/models` lists the names.",
    ),
    "output": ParameterText(
        _choice(*Output, default=Output.MASK.value),
        "`mask` is 8-bit grey alpha, `cutout` RGBA, `composite` RGB on a background. `trimap` is "
        "grey for matting tools: 0 background, 128 unknown, 255 person.",
    ),
    "background": ParameterText(
        {
            "type": "string",
            "pattern": r"^(#([0-9a-fA-F]{3}){1,2}|[a-zA-Z]+|blur:[0-9.]+|blur_faces)$",
            "default": "blur:3",
            "examples": ["#20639b", "white", "blur:4"],
        },
        "Background of a composite: `#rrggbb`, `#rgb`, a CSS colour, `blur:` and the radius in "
        "percent of the short side, or an image, which is scaled to cover. `blur_faces` shows the "
        "photo as it is, with the faces that are found made unrecognisable.",
        "Send an image as the form part `background_image`. `X-Faces-Blurred` is the number of "
        "faces.",
    ),
    "format": ParameterText(
        _choice("jpeg", "png", "webp", "avif", "jpg"),
        "Encoding of the result; png if absent. JPEG cannot encode a cut-out or trimap. Masks, "
        "trimaps and the alpha of cut-outs are exact in png, webp and avif.",
        "It overrides `Accept`. A cut-out or trimap in JPEG is a 406.",
    ),
    "person": ParameterText(
        _choice(*PersonSelection, default=PHOTO_DEFAULTS.person.value),
        "`all` keeps all people and the objects they hold. `dominant` keeps the person with the "
        "largest face; without faces, the largest and most central one.",
        "The report lists the pieces that were kept and rejected.",
    ),
    "refine": ParameterText(
        _choice(*Refinement, default=PHOTO_DEFAULTS.refine.value),
        "`guided` refines uncertain edges of the mask with the edges of the photo.",
    ),
    "decontaminate": ParameterText(
        _boolean(PHOTO_DEFAULTS.decontaminate),
        "Removes the colour of the old background from the edge of a cut-out or composite.",
    ),
    "grow": ParameterText(
        _range("integer", -MAX_EDGE_PIXELS, MAX_EDGE_PIXELS, 0),
        "Moves the edge outwards, in pixels of the photo. Negative values move it inwards.",
    ),
    "feather": ParameterText(
        _range("number", 0, MAX_EDGE_PIXELS, 0), "Softens the edge, in pixels of the photo."
    ),
    "crop": ParameterText(
        _boolean(), "Crops to the person. A photo without a person is not cropped."
    ),
    "crop_margin": ParameterText(
        _range("number", 0, MAX_MARGIN_PERCENT, 0),
        "Margin on each side of the crop, in percent of the person's height and width.",
    ),
    "invert": ParameterText(_boolean(), "Keeps the background instead of the person."),
    "threshold": ParameterText(
        _range("number", 0, 1),
        "Makes the mask binary: pixels with at least this alpha are person. If absent, the mask "
        "stays soft.",
    ),
    "domain": ParameterText(
        _choice("far_shot", "whole_body", "half_body", "close_shot", "head_shot", "no_face"),
        "Distance of the person, for a model with a domain input. If absent, it is derived from "
        "the size of the face. Any other model rejects it.",
    ),
    "layout": ParameterText(
        {
            "type": "string",
            "pattern": f"^{_LAYOUT_COPY}(;{_LAYOUT_COPY}){{0,7}}$",
            "examples": ["x:0.3,y:1,scale:0.6", "x:0.3,scale:0.6;x:0.72,scale:0.6,flip:true"],
        },
        "Places the person: `x:0.3,y:1,scale:0.6,flip:true` puts the middle of their lower edge at "
        "that share of the width and height, scaled and mirrored. Omitted keys leave the person "
        "as in the photo. Up to 8 copies, separated by `;`; later copies are in front.",
    ),
    "light_wrap": ParameterText(
        _range("number", 0, 100, 0),
        "Light of the new background that spills over the person's edge, in percent. It applies to "
        "composites only.",
    ),
    "trimap_band": ParameterText(
        _range("number", 0, MAX_TRIMAP_BAND_PERCENT, 1),
        "Reach of the unknown band of a trimap, beyond uncertain pixels and to either side of the "
        "edge, in percent of the short side.",
    ),
    "masks": ParameterText(
        _choice(*MaskEncoding),
        "Lists each person with a mask as in annotations of COCO: `polygon`, or `rle` in the "
        "compressed form of pycocotools.",
        "The list is in the JSON report.",
    ),
    "faces": ParameterText(
        _boolean(), "Lists the faces, with boxes and scores.", "The list is in the JSON report."
    ),
    "keep_metadata": ParameterText(
        _boolean(),
        "Keeps the resolution (dpi), artist and copyright of the photo in the result. All other "
        "metadata, such as the location, is never kept.",
    ),
    "require_foreground": ParameterText(
        _boolean(),
        "Makes a photo without a person an error, instead of an empty mask.",
        "The error is a 422.",
    ),
}
"""Parameters of `POST /v1/segment` by name."""
