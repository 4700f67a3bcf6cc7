"""The little of Triton's client that the tests of the server itself need."""

from typing import Any

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from service.spec import ModelSpec

KINDS = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}


async def ask(
    client: InferenceServerClient, spec: ModelSpec, inputs: dict[str, np.ndarray], **options: Any
) -> np.ndarray:
    """One request; a number a row travels as [N,1]."""
    tensors = []
    for tensor in spec.inputs:
        array = inputs[tensor.name]
        wire = array if array.ndim > 1 else array[:, None]
        tensors.append(InferInput(tensor.name, wire.shape, KINDS[tensor.dtype]))
        tensors[-1].set_data_from_numpy(wire)
    outputs = [InferRequestedOutput(spec.output.name)]
    answer = await client.infer(spec.name, tensors, outputs=outputs, **options)
    return answer.as_numpy(spec.output.name)


async def counts(client: InferenceServerClient, spec: ModelSpec) -> tuple[int, int]:
    """Rows, and runs that answered them, since the server began."""
    statistics = await client.get_inference_statistics(spec.name)
    (model,) = statistics.model_stats
    return model.inference_count, model.execution_count
