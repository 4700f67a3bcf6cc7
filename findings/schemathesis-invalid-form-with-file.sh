#!/usr/bin/env bash
# schemathesis cannot make invalid requests for a long form with a file.
#
# schemathesis 4.32.5 with hypothesis 6.170.17 and jsonschema-rs 0.60.3. A multipart form has one
# field of format binary, 20 fields of text and "additionalProperties": false. Negative generation
# ends with ValueError "Unsupported type: 'Binary'", raised by the validator that jsonschema-rs
# provides: schemathesis hands it its own class of files. With five fields of text, or without
# additionalProperties, 300 requests are generated.
#
# Guess before the run: the number of text fields does not matter, and all three forms work.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  schemathesis==4.32.5 hypothesis==6.170.17 jsonschema-rs==0.60.3
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode


def generate(text_fields, **rules):
    """Returns the message of the first error of five runs, or None."""
    fields = {f"text{number}": {"type": "string"} for number in range(text_fields)}
    form = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}, **fields},
        **rules,
    }
    post = {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {"204": {"description": "done"}},
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "files", "version": "1"},
        "paths": {"/files": {"post": post}},
    }
    operation = next(iter(schemathesis.openapi.from_dict(document).get_all_operations())).ok()
    for number in range(5):

        @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        @settings(
            max_examples=300,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @seed(number)
        def request(case):
            assert case.media_type == "multipart/form-data"

        try:
            request()
        except ValueError as error:
            return str(error).splitlines()[0]
    return None


schemathesis.openapi.format("binary", st.sampled_from([b"one", b"two"]))
print(*(f"{name} {version(name)}" for name in ("schemathesis", "hypothesis", "jsonschema-rs")))
short = generate(5, additionalProperties=False)
open_form = generate(20)
long = generate(20, additionalProperties=False)
print("5 text fields, closed:", short)
print("20 text fields, open:", open_form)
print("20 text fields, closed:", long)
assert (short, open_form, long) == (None, None, "Unsupported type: 'Binary'")
PYTHON
