"""A model that misbehaves on request. It answers the red channel, as `tests/support/tiny_model.py`.

Runs inside the server, where no other file of ours is; `tests/triton/faults.py` speaks with it.
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
        """Writes down what came, in order; waits while the gate is closed."""
        images = [read(request) for request in requests]
        reds = [int(row[0, 0, 0]) for image in images for row in image]
        with (self.folder / "ran").open("a") as ran:
            print(*reds, file=ran)
        while (self.folder / "closed").exists():
            (self.folder / "held").touch()
            time.sleep(0.002)
        return [answer(image) for image in images]


def read(request):
    return np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "image"))


def answer(image):
    """What to do is in the first pixel: its green, if its blue is 255 and nothing else is."""
    fault = image[0, 0, 0, 1] if image[..., 2].sum() == 255 else 0
    if fault == 1:
        raise RuntimeError("a fault that was asked for")
    if fault == 2:
        message = "an argument that was asked to be invalid"
        error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(error=error)
    if fault == 3:
        os._exit(1)
    alpha = np.ascontiguousarray(image[..., 0])
    return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("alpha", alpha)])
