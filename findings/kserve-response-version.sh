#!/usr/bin/env bash
# KServe's REST client loses the model version of every response.
#
# kserve 0.21.0. A response of the Open Inference Protocol has `model_version`, and InferResponse has
# an attribute for it. InferResponse.from_rest, for a parsed response, fills it.
# InferResponse.from_bytes, for the bytes of the same response, leaves it None. InferenceRESTClient
# calls from_bytes, so that its user cannot see the version that answered.
#
# Guess before the run: both return the version that to_rest has written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kserve==0.21.0
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata

import numpy as np
import orjson
from kserve import InferOutput, InferResponse

print("kserve", importlib.metadata.version("kserve"))
output = InferOutput("alpha", [1, 2], "UINT8")
output.set_data_from_numpy(np.array([[1, 2]], np.uint8), binary_data=False)
sent = InferResponse("id", "model", [output], model_version="3")
document, _ = sent.to_rest()
body = orjson.dumps(document)
print("sent:", document["model_version"])
from_rest = InferResponse.from_rest(orjson.loads(body))
from_bytes = InferResponse.from_bytes(body, len(body))
print("from_rest:", from_rest.model_version, "- from_bytes:", from_bytes.model_version)
assert from_rest.model_version == "3"
assert from_bytes.model_version is None, "this version no longer loses the model version"
PYTHON
