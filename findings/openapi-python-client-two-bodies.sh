#!/usr/bin/env bash
# openapi-python-client generates a module that cannot be imported.
#
# openapi-python-client 0.29.1. An operation accepts one object as a form or as JSON, and its body is
# required. The generated function has a default of UNSET for the body, but its module imports
# neither UNSET nor Unset. Importing it raises NameError. The generator itself reports success. An
# optional parameter beside the body brings the import, so that the module works.
#
# Guess before the run: the generated module can be imported in both cases.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openapi-python-client==0.29.1
cd "$folder"
for optional in no yes; do
  venv/bin/python - "$optional" >"$optional.json" <<'PYTHON'
import json
import sys

item = {"$ref": "#/components/schemas/Item"}
parameter = {"name": "page", "in": "query", "required": False, "schema": {"type": "integer"}}
operation = {
    "operationId": "add_item",
    "tags": ["items"],
    "parameters": [parameter] if sys.argv[1] == "yes" else [],
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": item}, "application/json": {"schema": item}},
    },
    "responses": {"204": {"description": "done"}},
}
document = {
    "openapi": "3.1.0",
    "info": {"title": f"items {sys.argv[1]}", "version": "1"},
    "paths": {"/items": {"post": operation}},
    "components": {"schemas": {"Item": {"type": "object", "properties": {"n": {"type": "string"}}}}},
}
print(json.dumps(document))
PYTHON
  venv/bin/openapi-python-client generate --path "$optional.json" --meta none \
    --output-path "client_$optional" >"$optional.log" 2>&1
done
venv/bin/python - <<'PYTHON'
import importlib
import importlib.metadata

print("openapi-python-client", importlib.metadata.version("openapi-python-client"))
importlib.import_module("client_yes.api.items.add_item")
print("with an optional parameter: imported")
try:
    importlib.import_module("client_no.api.items.add_item")
except NameError as error:
    print("without:", error)
    assert "Unset" in str(error), error
else:
    raise SystemExit("this version generates a module that can be imported")
PYTHON
