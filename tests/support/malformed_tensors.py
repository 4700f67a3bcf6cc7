"""Inference requests that the Open Inference Protocol routes must reject.

They are requests for the tiny model `connectnet`. Its input `image` is uint8 [N,24,32,3] with at
most 8 rows, and its output is `alpha`.
"""

import json
from typing import Any

SHAPE = [1, 24, 32, 3]
NUMBERS = 24 * 32 * 3
IMAGE: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": SHAPE}
ZEROS = IMAGE | {"data": [0] * NUMBERS}


def infer_body(*inputs: object, **members: object) -> bytes:
    """Returns a request body; `members` are further members of the request."""
    return json.dumps({"inputs": list(inputs)} | members).encode()


def _changed(**members: object) -> bytes:
    return infer_body(ZEROS | members)


def _without(member: str) -> bytes:
    return infer_body({name: value for name, value in ZEROS.items() if name != member})


def _with_parameters(tensor: dict[str, Any], **parameters: object) -> bytes:
    return infer_body(tensor | {"parameters": parameters})


VALID = infer_body(ZEROS)
_OPEN_IMAGE = b'{"inputs":[%s' % json.dumps(IMAGE).encode()[:-1]

MALFORMED = {
    "empty": (b"", "cannot be parsed"),
    "zero bytes": (b"\0" * 100, "cannot be parsed"),
    "unclosed object": (b"{", "cannot be parsed"),
    "two documents": (VALID + VALID, "cannot be parsed"),
    "array outside an object": (b'"data": [1', "cannot be parsed"),
    "nested lists": (b'{"inputs": ' + b"[" * 60_000, "nested too deeply"),
    "nested objects": (b'{"a":' * 20_000, "besides its tensors"),
    "nested data": (b'{"data": [' * 5000, "cannot be parsed"),
    "data twice": (VALID.replace(b'"data"', b'"data": [1], "data"'), "data twice"),
    "no object": (b"[]", "must be an object"),
    "no inputs": (b"{}", "image is missing"),
    "inputs no list": (b'{"inputs": {}}', "inputs must be a list"),
    "input no object": (infer_body(1), "Each of inputs must be an object"),
    "input without name": (_without("name"), "name must be a string"),
    "many inputs without name": (infer_body(*[{}] * 5000), "name must be a string"),
    "unknown input": (_changed(name="prior"), 'connectnet has no "prior"; it has image'),
    "long name": (_changed(name="x" * 5000), 'no "xxx'),
    "input twice": (infer_body(ZEROS, ZEROS), "image is given twice"),
    "other datatype": (_changed(datatype="FP32"), 'datatype is "FP32", not UINT8'),
    "datatype in a list": (_changed(datatype=["UINT8"]), 'datatype is ["UINT8"], not UINT8'),
    "no datatype": (_without("datatype"), "datatype is null, not UINT8"),
    "other shape": (_changed(shape=[1, 3, 24, 32]), "shape is [1, 3, 24, 32], not [-1, 24, 32, 3]"),
    "flat shape": (_changed(shape=[NUMBERS]), "shape is [2304], not"),
    "long shape": (_changed(shape=[1] * 5000), "shape is [1, 1"),
    "empty shape": (_changed(shape=[]), "shape is [], not"),
    "no shape": (_without("shape"), "shape must be a list"),
    "true in shape": (_changed(shape=[True, 24, 32, 3]), "shape is [true, 24"),
    "fraction in shape": (_changed(shape=[1.0, 24, 32, 3]), "shape is [1.0, 24"),
    "no rows": (_changed(shape=[0, 24, 32, 3], data=[]), "shape is [0, 24"),
    "negative rows": (_changed(shape=[-1, 24, 32, 3]), "shape is [-1, 24"),
    "too many rows": (_changed(shape=[9, 24, 32, 3]), "at most 8 rows in a request"),
    "gigantic rows": (_changed(shape=[10**18, 24, 32, 3]), "at most 8 rows in a request"),
    "no data": (infer_body(IMAGE), "neither data nor the parameter binary_data_size"),
    "data no list": (_changed(data="AAAA"), "data must be a list of numbers"),
    "data object": (_changed(data={"data": [1]}), "data must be a list of numbers"),
    "escaped data": (_OPEN_IMAGE + b',"d\\u0061ta":[0]}]}', "data must be a list of numbers"),
    "few numbers": (_changed(data=[0]), "has 1 numbers; the shape [1, 24, 32, 3] needs 2304"),
    "many numbers": (_changed(data=[0] * 2305), "has 2305 numbers; the shape"),
    "comma without number": (VALID.replace(b"[0, 0,", b"[0,,"), "something that is not a number"),
    "data without end": (VALID.replace(b"0]}", b"0}"), "nor nested like its shape"),
    "nested wrongly": (_changed(data=[[[[0] * 3] * 32] * 24] * 2), "has 4608 numbers"),
    "nested without rows": (_changed(data=[[[0] * 3] * 32] * 24), "nor nested like its shape"),
    "empty lists": (_changed(data=[[]] * NUMBERS), "nor nested like its shape"),
    "too many brackets": (VALID.replace(b": [0", b": [[[[[[0"), "nor nested like its shape"),
    "too large": (_changed(data=[256] * NUMBERS), "contains a number that is not uint8"),
    "gigantic": (_changed(data=[10**400] * NUMBERS), "contains a number that is not uint8"),
    "fraction": (_changed(data=[0.5] * NUMBERS), "contains a number that is not uint8"),
    "NaN": (_changed(data=[float("nan")] * NUMBERS), "something that is not a number"),
    "infinity": (_changed(data=[1e400] * NUMBERS), "something that is not a number"),
    "data and binary data": (_with_parameters(ZEROS, binary_data_size=2304), "both data and"),
    "no binary data": (_with_parameters(IMAGE, binary_data_size=2304), "0 bytes are left"),
    "gigantic binary data": (_with_parameters(IMAGE, binary_data_size=10**30), "2304 bytes"),
    "parameters no object": (_changed(parameters=1), "parameters must be an object"),
    "request parameters no object": (infer_body(ZEROS, parameters=[]), "must be an object"),
    "shared memory": (_with_parameters(IMAGE, shared_memory_region="x"), "not supported"),
    "id no string": (infer_body(ZEROS, id=7), "id must be a string"),
    "outputs no list": (infer_body(ZEROS, outputs="alpha"), "outputs must be a list"),
    "unknown output": (infer_body(ZEROS, outputs=[{"name": "x"}]), 'no "x"; it has alpha'),
    "output twice": (infer_body(ZEROS, outputs=[{"name": "alpha"}] * 2), "alpha is given twice"),
    "classification": (
        infer_body(ZEROS, outputs=[{"name": "alpha", "parameters": {"classification": 2}}]),
        "classification is not supported",
    ),
    "flag no boolean": (
        infer_body(ZEROS, parameters={"binary_data_output": 1}),
        "binary_data_output must be true or false",
    ),
}
"""Bodies of requests and a part of the error that each must cause, by name."""
