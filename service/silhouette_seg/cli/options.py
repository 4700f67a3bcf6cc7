"""Command-line options of `silhouette segment` that stand for request parameters of the API."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from silhouette_seg.api.request.parameter_table import PHOTO_PARAMETERS
from silhouette_seg.api.request.parameters import PARAMETERS, Parameter
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.errors import Setting
from silhouette_seg.runtime.parameter_text import parameter_text

CLI_PARAMETERS: Mapping[str, Parameter] = PARAMETERS | {"smoothing": STREAM_PARAMETERS["smoothing"]}
"""Parameters of the API, by name, that are options of `silhouette segment`."""
HELP = {name: text.description for name, text in PHOTO_PARAMETERS.items()} | {
    "model": "Name of a model; `silhouette models` lists them.",
    "background": "Background of a composite: #rrggbb, a CSS colour name such as teal, "
    "blur:<percent>, or an image file. blur_faces shows the photo with blurred faces.",
    "masks": "Write <result>.json with the mask of each person as in COCO's annotations.",
    "faces": "Write <result>.json with the boxes and scores of the faces.",
    "smoothing": "Temporal smoothing of videos.",
}
"""Help text of each option by parameter."""
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

    `options` are the values from typer: None means that an option is absent.
    """
    return {name: parameter_text(value) for name, value in options.items() if value is not None}


def spell_option(setting: Setting) -> str:
    """Returns the spelling of a parameter on the command line, such as `--output cutout`."""
    if setting.name == "background_image":
        return "the path of a file"
    option = f"--{setting.name.replace('_', '-')}"
    match setting.value:
        case None | "true":
            return option
        case "false":
            return f"--no-{option.removeprefix('--')}"
    return f"{option} {setting.value}"


def _option(name: str, parameter: Parameter, default: object) -> inspect.Parameter:
    """Returns the option of a parameter; `--help` shows `default` unless it is None."""
    is_flag = parameter.schema["type"] == "boolean"
    option = f"--{name.replace('_', '-')}"
    declared = typer.Option(
        f"{option}/--no-{option.removeprefix('--')}" if is_flag else option,
        help=HELP[name],
        metavar=None if is_flag else _metavar(parameter.schema),
        show_default=False if default is None else parameter_text(default),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[bool | None if is_flag else str | None, declared],
    )


def _metavar(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']:g}..{schema['maximum']:g}"
    return "TEXT"
