"""Runs a graph in ONNX Runtime with a time limit, and says why it fails."""

import re
from collections.abc import Mapping
from threading import Timer
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from silhouette_seg.model_import.errors import ModelRejected

TIME_LIMIT_S = 300.0
"""Longest run of a graph, in seconds. A run that takes longer is ended."""
QUIET = 4
"""Log severity of ONNX Runtime at which only fatal errors are written."""
PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
"""Prefix of ONNX Runtime's errors."""
MAX_REASON_CHARACTERS = 300
"""Number of characters after which a reason of ONNX Runtime is cut."""


class GraphSession:
    """A graph in ONNX Runtime on the CPU, with a time limit for each run."""

    def __init__(self, graph: bytes) -> None:
        """Loads a serialised graph; raises ModelRejected with ONNX Runtime's reason."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no other base
            reason = runtime_reason(error)
            raise ModelRejected(f"ONNX Runtime does not load the graph: {reason}") from error

    def run(self, output: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Returns one output; raises ModelRejected if the run fails or takes too long."""
        options = onnxruntime.RunOptions()
        options.log_severity_level = QUIET
        timer = Timer(TIME_LIMIT_S, setattr, (options, "terminate", True))
        timer.start()
        try:
            (result,) = self._session.run([output], dict(inputs), options)
        except Exception as error:  # ONNX Runtime's errors share no other base
            if options.terminate:
                raise ModelRejected(f"a picture took longer than {TIME_LIMIT_S:g} s") from error
            reason = runtime_reason(error)
            raise ModelRejected(f"the graph fails on a picture: {reason}") from error
        finally:
            timer.cancel()
        return np.asarray(result)


def runtime_reason(error: Exception) -> str:
    """Returns the first line of an error of ONNX Runtime, without its prefix."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return PREFIX.sub("", lines[0])[:MAX_REASON_CHARACTERS].rstrip(". ")
