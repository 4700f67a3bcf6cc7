"""Command-line options of `silhouette segment` that stand for request parameters of the API."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from silhouette_seg.api.request.parameters import PARAMETERS, Parameter
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS

CLI_PARAMETERS: Mapping[str, Parameter] = {
    name: parameter for name, parameter in PARAMETERS.items() if name != "require_foreground"
} | {"smoothing": STREAM_PARAMETERS["smoothing"]}
"""Parameters of the API, by name, that are options of `silhouette segment`.

`require_foreground` is left out: it chooses a status code, which only HTTP has.
"""
FLAGS = {
    "decontaminate": ("--keep-spill", "false"),
    "crop": ("--crop", "true"),
    "invert": ("--invert", "true"),
    "keep_metadata": ("--keep-metadata", "true"),
    "faces": ("--faces", "true"),
}
"""Options without a value: for each parameter, the option and the value that it sets."""
HELP = {
    "model": "Name of a model; `silhouette models` lists them.",
    "background": "Background of a composite: #rrggbb, a CSS colour name such as teal, "
    "blur:<percent>, or a picture file. blur_faces shows the photo with blurred faces.",
    "format": "Format of pictures. JPEG cannot hold a cut-out or trimap.",
    "masks": "Write <result>.json with the mask of each person as in COCO's annotations.",
    "faces": "Write <result>.json with the boxes and scores of the faces.",
    "decontaminate": "Leave the old background's colour in the edge.",
    "smoothing": "Temporal smoothing of videos.",
}
"""Help texts, by parameter, that differ from the description of the parameter in the API."""
DEFAULTS = {"format": "png"}
"""Defaults of every command, by parameter, that the API derives from the `Accept` header."""


def with_parameter_options(
    command: Callable[..., None], defaults: Mapping[str, str] = MappingProxyType({})
) -> Callable[..., None]:
    """Returns the command with one option per API parameter instead of its `**parameters`.

    Only its signature changes, which typer reads. `defaults` are the defaults, by parameter, that
    differ from the API's.
    """
    defaults = {**DEFAULTS, **defaults}
    signature = inspect.signature(command)
    named = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    options = [
        _option(name, parameter, defaults.get(name, parameter.schema.get("default")))
        for name, parameter in CLI_PARAMETERS.items()
    ]
    extended = signature.replace(parameters=[*named, *options])
    command.__signature__ = extended  # type: ignore[attr-defined]  # read by inspect
    return command


def given_parameters(options: Mapping[str, str | bool | None]) -> dict[str, str]:
    """Returns the API parameters that the command line sets, as text by name.

    `options` are the values from typer: None and False mean that an option is absent.
    """
    return {
        name: FLAGS[name][1] if isinstance(value, bool) else value
        for name, value in options.items()
        if value is not None and value is not False
    }


def _option(name: str, parameter: Parameter, default: object) -> inspect.Parameter:
    """Returns the option of a parameter; `--help` shows `default` unless it is None."""
    text = HELP.get(name, parameter.description)
    if name in FLAGS:
        annotation: object = Annotated[bool, typer.Option(FLAGS[name][0], help=text)]
    else:
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=text,
            metavar=_metavar(parameter.schema),
            show_default=False if default is None else str(default),
        )
        annotation = Annotated[str | None, option]
    absent = False if name in FLAGS else None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=absent, annotation=annotation
    )


def _metavar(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']:g}..{schema['maximum']:g}"
    return "TEXT"
