"""Options of `silhouette segment` that come from the parameters of the API."""

import pytest
from typer.testing import CliRunner

from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.cli.main import app
from silhouette_seg.cli.options import given_parameters

OPTIONS = {
    "--output", "--background", "--format", "--model", "--domain", "--person", "--refine",
    "--keep-spill", "--grow", "--feather", "--threshold", "--crop", "--crop-margin", "--invert",
    "--layout", "--light-wrap", "--smoothing",
}  # fmt: skip


@pytest.fixture
def help_text(monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "300")
    result = CliRunner().invoke(app, ["segment", "--help"])
    assert result.exit_code == 0
    return result.stdout


def test_help_lists_every_option(help_text):
    assert set(help_text.split()) >= OPTIONS


def test_help_shows_description_range_and_default_of_the_api(help_text):
    (line,) = [line for line in help_text.splitlines() if "--feather " in line]
    assert PARAMETERS["feather"].description in line
    assert "0..100" in line
    assert "[default: (0)]" in line


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"output": None, "crop": False}, {}),
        ({"output": "mask", "grow": "-2"}, {"output": "mask", "grow": "-2"}),
        ({"crop": True, "invert": True}, {"crop": "true", "invert": "true"}),
        ({"decontaminate": True}, {"decontaminate": "false"}),  # --keep-spill
        ({"model": ""}, {"model": ""}),
    ],
)
def test_given_options_become_request_parameters(options, parameters):
    assert given_parameters(options) == parameters
