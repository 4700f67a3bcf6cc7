"""Compares a manifest with the schema of KServe's API.

The schema is that of the models in the package `kserve`. Its files are read, not imported: they
would import a web framework and clients of clouds.
"""

import ast
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

SCALARS: dict[str, type] = {"int": int, "str": str, "bool": bool}


def _models() -> Path | None:
    try:
        return Path(str(distribution("kserve").locate_file("kserve/models")))
    except PackageNotFoundError:
        return None


MODELS = _models()
MISSING_SCHEMA = "" if MODELS else "the package kserve is not installed"
"""Reason to skip the tests of KServe's schema, or an empty string."""


def schema_errors(value: Any, type_name: str, path: str = "") -> list[str]:
    """Returns the fields of a value that its type in KServe's API does not have, with the reason.

    Types of Kubernetes itself are not part of the package, so their values are not compared.
    """
    if match := re.fullmatch(r"list\[(.+)\]", type_name):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [error for item in value for error in schema_errors(item, match[1], path)]
    if scalar := SCALARS.get(type_name):
        return [] if isinstance(value, scalar) else [f"{path} is no {type_name}"]
    fields = _fields(type_name)
    if fields is None:
        return []
    if not isinstance(value, dict):
        return [f"{path} is no {type_name}"]
    errors = []
    for name, inner in value.items():
        inner_path = f"{path}.{name}".removeprefix(".")
        if name in fields:
            errors += schema_errors(inner, fields[name], inner_path)
        else:
            errors.append(f"{inner_path} is unknown")
    return errors


def _fields(type_name: str) -> dict[str, str] | None:
    """Returns JSON name -> type of the fields of a KServe type, or None for another type."""
    assert MODELS is not None
    words = re.findall(r"V\d+(?:alpha\d+|beta\d+)?|[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", type_name)
    file = MODELS / f"{'_'.join(words).lower()}.py"
    if not file.exists():
        return None
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Dict)
    }
    types, names = tables["openapi_types"], tables["attribute_map"]
    return {names[attribute]: type_name for attribute, type_name in types.items()}
