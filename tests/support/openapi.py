"""Reads schemas of the OpenAPI document, and validates values against them."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

METHODS = ("get", "post", "put", "patch", "delete")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the path and the description of each operation."""
    for path, item in document["paths"].items():
        yield from ((path, item[method]) for method in METHODS if method in item)


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema, or the component to which it refers."""
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return document["components"]["schemas"][name] if name else schema


def check_value(document: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    """Raises ValidationError unless `value` conforms to a schema of the document."""
    whole = schema | {"components": document["components"]}
    Draft202012Validator(whole).validate(value)
