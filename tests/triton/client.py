"""The little of Triton's client that the tests of the server itself need."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from silhouette_seg.spec import ModelSpec
from tests.triton.faults import PATIENCE_S, FaultModel
from tests.triton.server import TritonServer

DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}


async def ask(
    client: InferenceServerClient, spec: ModelSpec, inputs: dict[str, np.ndarray], **options: Any
) -> np.ndarray:
    """One request; a number a row travels as [N,1]."""
    tensors = []
    for tensor in spec.inputs:
        array = inputs[tensor.name]
        wire = array if array.ndim > 1 else array[:, None]
        tensors.append(InferInput(tensor.name, wire.shape, DATATYPES[tensor.dtype]))
        tensors[-1].set_data_from_numpy(wire)
    outputs = [InferRequestedOutput(spec.output.name)]
    answer = await client.infer(spec.name, tensors, outputs=outputs, **options)
    return answer.as_numpy(spec.output.name)


async def inference_counts(client: InferenceServerClient, spec: ModelSpec) -> tuple[int, int]:
    """Rows, and runs that answered them, since the server began."""
    statistics = await client.get_inference_statistics(spec.name)
    (model,) = statistics.model_stats
    return model.inference_count, model.execution_count


async def metric(server: TritonServer, name: str, model: FaultModel, **labels: str) -> float:
    """One of the server's own figures; 0 while there is none."""
    async with httpx.AsyncClient(verify=False) as client:  # to load certificates takes 50 ms
        text = (await client.get(f"http://{server.metrics}/metrics")).text
    wanted = {"model": model.spec.name, **labels}.items()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name == name and wanted <= sample.labels.items()
    )


async def cancelled(server: TritonServer, model: FaultModel) -> float:
    """Requests that the server let go of, unanswered, since it began."""
    return await metric(server, "nv_inference_request_failure", model, reason="CANCELED")


async def wait_until_queued(server: TritonServer, model: FaultModel, requests: int) -> None:
    """Until that many requests are in the server's queue."""

    async def waits() -> bool:
        return await metric(server, "nv_inference_pending_request_count", model) == requests

    await until(waits)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again: there is nothing to be told by."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
