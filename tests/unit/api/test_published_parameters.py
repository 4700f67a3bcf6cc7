"""The published schema of each parameter agrees with its parser: one contract, served as said."""

import pytest

from silhouette_seg.api import rembg, webrtc
from silhouette_seg.api.request.parameters import PARAMETERS, Parameter
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS

TABLES = {
    "photo": PARAMETERS,
    "stream": STREAM_PARAMETERS,
    "webrtc": webrtc.PARAMETERS,
    "rembg": rembg.PARAMETERS,
}
ROWS = [
    pytest.param(parameter, id=f"{table}-{name}")
    for table, parameters in TABLES.items()
    for name, parameter in parameters.items()
]


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("parameter", ROWS)
def test_parser_accepts_every_value_that_the_schema_names(parameter: Parameter):
    schema = parameter.schema
    named = [schema[key] for key in ("default", "minimum", "maximum") if key in schema]
    for value in [*named, *schema.get("enum", ()), *schema.get("examples", ())]:
        parameter.parse(as_text(value))


@pytest.mark.parametrize("parameter", ROWS)
def test_parser_rejects_values_beyond_the_schema(parameter: Parameter):
    schema = parameter.schema
    beyond = [schema["minimum"] - 1, schema["maximum"] + 1] if "minimum" in schema else []
    for value in [*beyond, *(["none of these"] if "enum" in schema else [])]:
        with pytest.raises(ValueError, match="must be"):
            parameter.parse(as_text(value))


def test_default_of_an_enum_is_one_of_its_values():
    for parameters in TABLES.values():
        for name, parameter in parameters.items():
            enum = parameter.schema.get("enum")
            assert enum is None or parameter.schema.get("default", enum[0]) in enum, name
