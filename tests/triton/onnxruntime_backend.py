"""Triton's `onnxruntime` backend for machines without one: a backend written in Python.

Runs inside the server, where no other file of ours is. Tensors go through DLPack both ways: with
numpy 2 the stub's own conversions are silently wrong.
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
        sys.unraisablehook = but_for_capsules
        config = json.loads(args["model_config"])
        options = onnxruntime.SessionOptions()
        threads = config["parameters"]["intra_op_thread_count"]["string_value"]
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(file, options, providers=providers)
        refuse_difference(config["input"], self.session.get_inputs())
        refuse_difference(config["output"], self.session.get_outputs())
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests):
        """Runs the requests, each of one row or more, that Triton joined as one batch.

        One after the other: a processor takes longer for a row of many than for one, which its
        caches hold. The native backend, on a GPU, runs them together.
        """
        return [self.answer(request) for request in requests]

    def answer(self, request):
        inputs = {name: read(request, name) for name in self.inputs}
        outputs = self.session.run(self.outputs, inputs)
        named = zip(self.outputs, outputs, strict=True)
        tensors = [pb_utils.Tensor.from_dlpack(n, np.ascontiguousarray(a)) for n, a in named]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def read(request, name):
    return np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name))


def refuse_difference(configured, found):
    """The native backend refuses a configuration that the graph belies; so must this."""
    asked = {
        tensor["name"]: (ORT_TYPES[tensor["data_type"]], sides(tensor)) for tensor in configured
    }
    there = {value.name: (value.type, [int(side) for side in value.shape[1:]]) for value in found}
    if asked != there:
        raise pb_utils.TritonModelException(f"configured {asked}, the graph has {there}")


def sides(tensor):
    shape = tensor["reshape"].get("shape", []) if "reshape" in tensor else tensor["dims"]
    return [int(side) for side in shape]


def but_for_capsules(unraisable):
    """The stub marks a capsule of DLPack as used in words of its own, and numpy, which then cannot
    tell that it was, complains of each.
    """
    if "PyCapsule_GetPointer" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)
