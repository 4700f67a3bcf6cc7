"""Triton's `onnxruntime` backend for machines without one: a backend written in Python.

It runs inside the server, which cannot import this repository. Tensors go through DLPack both ways:
with numpy 2 the stub's own conversions are silently wrong.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

ORT_TYPES = {
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP32": "tensor(float)",
}


class TritonPythonModel:
    """One session for each instance, as the native backend has it."""

    def initialize(self, args):
        sys.unraisablehook = ignore_capsule_errors
        config = json.loads(args["model_config"])
        options = onnxruntime.SessionOptions()
        threads = config["parameters"]["intra_op_thread_count"]["string_value"]
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(file, options, providers=providers)
        check_signature(config["input"], self.session.get_inputs())
        check_signature(config["output"], self.session.get_outputs())
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests):
        """Runs the requests of one batch, each of one row or more, one after the other.

        A CPU takes longer for a row of a large batch than for a single row, which fits its caches.
        The native backend on a GPU runs them together.
        """
        return [self.respond(request) for request in requests]

    def respond(self, request):
        inputs = {name: read(request, name) for name in self.inputs}
        outputs = self.session.run(self.outputs, inputs)
        named = zip(self.outputs, outputs, strict=True)
        tensors = [pb_utils.Tensor.from_dlpack(n, np.ascontiguousarray(a)) for n, a in named]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def read(request, name):
    return np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name))


def check_signature(configured, found):
    """Raises for a configuration that contradicts the graph, as the native backend does."""
    expected = {
        tensor["name"]: (ORT_TYPES[tensor["data_type"]], sides(tensor)) for tensor in configured
    }
    actual = {value.name: (value.type, [int(side) for side in value.shape[1:]]) for value in found}
    if expected != actual:
        raise pb_utils.TritonModelException(f"configured {expected}, the graph has {actual}")


def sides(tensor):
    shape = tensor["reshape"].get("shape", []) if "reshape" in tensor else tensor["dims"]
    return [int(side) for side in shape]


def ignore_capsule_errors(unraisable):
    """Hides numpy's errors about DLPack capsules.

    The stub marks a used capsule with a name that numpy does not know.
    """
    if "PyCapsule_GetPointer" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)
