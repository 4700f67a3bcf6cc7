"""Errors of options name them as the command and the library do, and say nothing of HTTP."""

import re

import pytest

from silhouette_seg.api.request.combinations import WITHOUT_EFFECT_ON_FACES
from silhouette_seg.api.request.negotiation import NO_JPEG
from silhouette_seg.api.request.parameters import PARAMETERS, parse_parameters
from silhouette_seg.cli.outcome import explain
from silhouette_seg.errors import NotAcceptable, ServiceError
from silhouette_seg.library.parsing import spell_argument
from tests.unit.api.request.test_combinations import FACES, OTHER_VALUES

HTTP = re.compile(
    r"\b(HTTP|requests?|headers?|multipart|form|query|body|parameters?|Accept|[45]\d\d|v1"
    r"|background_image)\b"
)
COMBINATIONS = [
    {"background": "teal"},
    {"light_wrap": "5"},
    {"crop_margin": "5"},
    {"trimap_band": "5"},
    {"layout": "x:0.5", "crop": "true"},
    {"layout": "x:0.5", "invert": "true"},
    {"layout": "x:0.5", "output": "trimap"},
    *(FACES | {name: OTHER_VALUES[name]} for name in WITHOUT_EFFECT_ON_FACES),
]


def errors() -> list[ServiceError]:
    """Returns an error for each parameter with a wrong value, and for each wrong combination."""
    found: list[ServiceError] = [NotAcceptable(*parts) for parts in NO_JPEG.values()]
    for parameters in [
        {name: "" if name == "model" else "\0"} for name in PARAMETERS
    ] + COMBINATIONS:
        with pytest.raises(ServiceError) as raised:
            parse_parameters(parameters)
        found.append(raised.value)
    return found


@pytest.mark.parametrize("error", errors(), ids=lambda error: error.detail.partition(":")[0])
def test_error_of_an_option_says_nothing_of_http(error):
    name = error.detail.partition(": ")[0]
    of_command, of_library = explain(error), error.spelled(spell_argument)
    assert not HTTP.search(of_command + of_library)
    assert "=" not in of_command
    if name in PARAMETERS:
        assert of_command.startswith(f"--{name.replace('_', '-')}: ")
        assert of_library.startswith(f"{name}: ")


def test_command_spells_other_options_as_they_are_typed():
    with pytest.raises(ServiceError) as error:
        parse_parameters(FACES | {"decontaminate": "false"})
    assert explain(error.value) == "--decontaminate: has no effect with --background blur_faces"
