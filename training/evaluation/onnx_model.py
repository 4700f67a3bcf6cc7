"""Opens an exported model as a plain function, for measurements without the service."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
Predict = Callable[[Tensors], NDArray[Any]]
"""Maps inputs by name, batch first, to the single output of an exported model."""


def open_onnx(model_file: Path, *, threads: int = 1) -> Predict:
    """Loads a model file on the CPU; raises onnxruntime's errors if it does not load."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])

    def predict(inputs: Tensors) -> NDArray[Any]:
        (output,) = session.run(None, dict(inputs))
        return np.asarray(output)

    return predict
