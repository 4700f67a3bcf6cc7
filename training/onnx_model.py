"""An exported model as a plain function, for measuring it away from the service."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Predict = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""uint8 [N,H,W,3] to uint8 [N,H,W], as every exported model."""


def open_onnx(model_file: Path, *, threads: int = 1) -> Predict:
    """The file on the CPU; raises onnxruntime's errors when it does not load."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])

    def predict(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (alpha,) = session.run(["alpha"], {"image": images})
        return np.asarray(alpha, np.uint8)

    return predict
