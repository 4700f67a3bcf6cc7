"""Triton model that fails on request. Its output is the red channel of its input.

It runs inside the server, which cannot import this repository; `tests/triton/faults.py` controls it
through files.
"""

import os
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.folder = Path(args["model_repository"])

    def execute(self, requests):
        """Logs the rows of the batch in order, then waits while the file `closed` exists."""
        images = [read(request) for request in requests]
        reds = [int(row[0, 0, 0]) for image in images for row in image]
        with (self.folder / "executed").open("a") as executed:
            print(*reds, file=executed)
        while (self.folder / "closed").exists():
            (self.folder / "held").touch()
            time.sleep(0.002)
        return [respond(image) for image in images]


def read(request):
    return np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "image"))


def respond(image):
    """Reads the fault from the green of the first pixel, if its blue is the only 255 in blue."""
    fault = image[0, 0, 0, 1] if image[..., 2].sum() == 255 else 0
    if fault == 1:
        raise RuntimeError("a requested fault")
    if fault == 2:
        message = "a requested invalid argument"
        error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(error=error)
    if fault == 3:
        os._exit(1)
    alpha = np.ascontiguousarray(image[..., 0])
    return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("alpha", alpha)])
