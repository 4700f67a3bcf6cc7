"""Options of `silhouette segment` that come from the parameters of the API."""

import inspect
from collections.abc import Collection

import pytest
import typer
from typer.testing import CliRunner

from silhouette_seg import Client, Session
from silhouette_seg.api.request.parameter_table import PHOTO_PARAMETERS
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.cli import rembg, segment
from silhouette_seg.cli.main import app
from silhouette_seg.cli.options import given_parameters

COMMAND = {param.name for param in typer.main.get_command(segment.app).params}
FILES = {
    "to": "names the files of the results",
    "skip_existing": "is about files of results",
    "overwrite": "is about files of results",
}
VIDEOS = {
    "video_format": "is about videos, which the command alone processes",
    "smoothing": "is about videos; an option of streams over HTTP",
}
SERVICE = {
    "server": "is the URL of a Client",
    "key": "is the key of a Client",
}
PROCESS = {
    "device": "is a setting of the service",
    "model_repository": "is a setting of the service",
}
DIFFERENCES = {
    ("command", "HTTP"): {**FILES, **VIDEOS, **SERVICE, **PROCESS, "inputs": "are the image"},
    ("HTTP", "command"): {"image": "are the inputs", "background_image": "is background"},
    ("command", "library"): {
        **FILES,
        **VIDEOS,
        **SERVICE,
        "inputs": "are the photo",
    },
    ("library", "command"): {
        "photo": "are the inputs",
        "as_": "is the suffix of the result",
        "max_pixels": "is the setting SILHOUETTE_MAX_PIXELS",
    },
}
"""Names that one interface has and another lacks, with the reason."""


def names_of(*functions) -> set[str]:
    """Returns the names of the arguments of functions, with those that `**` stands for."""
    arguments = [one for function in functions for one in inspect.signature(function).parameters]
    return set(arguments) - {"self"}


@pytest.fixture
def help_text() -> str:
    result = CliRunner().invoke(app, ["segment", "--help"])
    assert result.exit_code == 0
    return " ".join(result.stdout.split())


@pytest.mark.parametrize("pair", DIFFERENCES, ids=" without ".join)
def test_interfaces_differ_by_the_listed_names_alone(pair):
    names: dict[str, Collection[str]] = {
        "command": COMMAND,
        "HTTP": PARAMETERS.keys() | {"image", "background_image"},
        "library": names_of(Session, Session.composite, Session.run),
    }
    assert set(names[pair[0]]) - set(names[pair[1]]) == set(DIFFERENCES[pair])


def test_client_has_the_parameters_of_http():
    assert names_of(Client.segment) == PARAMETERS.keys() | {"photo"}


def test_command_of_rembg_has_the_options_for_one_photo():
    ours = {param.name for param in typer.main.get_command(rembg.app).params}
    folders = {"inputs", "skip_existing", "overwrite", "video_format"}
    assert ours == COMMAND - folders | {"photo", "only_mask"}


def test_help_shows_description_range_and_default_of_the_api(help_text):
    for name in COMMAND - {"inputs", "to"}:
        assert f"--{name.replace('_', '-')} " in help_text
    feather = PHOTO_PARAMETERS["feather"].description
    assert f"--feather 0..100 {feather} [default: (0)]" in help_text
    assert "--decontaminate / --no-decontaminate" in help_text


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"output": None, "crop": None}, {}),
        ({"output": "mask", "grow": "-2"}, {"output": "mask", "grow": "-2"}),
        ({"crop": True, "invert": True}, {"crop": "true", "invert": "true"}),
        ({"decontaminate": False}, {"decontaminate": "false"}),
        ({"model": ""}, {"model": ""}),
    ],
)
def test_given_options_become_request_parameters(options, parameters):
    assert given_parameters(options) == parameters
