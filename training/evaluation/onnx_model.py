"""An exported model as a plain function, for measuring it away from the service."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
Predict = Callable[[Tensors], NDArray[Any]]
"""Inputs by name, batch first, to the one output: an exported model."""


def open_onnx(model_file: Path, *, threads: int = 1) -> Predict:
    """The file on the CPU; raises onnxruntime's errors when it does not load."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])

    def predict(inputs: Tensors) -> NDArray[Any]:
        (output,) = session.run(None, dict(inputs))
        return np.asarray(output)

    return predict
