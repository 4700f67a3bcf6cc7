"""Calls of Triton's gRPC client, and readings of the server's own metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from silhouette_seg.spec import ModelSpec
from tests.support.tensors import DATATYPES, to_wire
from tests.triton.faults import TIMEOUT_S, FaultModel
from tests.triton.server import TritonServer


async def infer(
    client: InferenceServerClient, spec: ModelSpec, inputs: dict[str, np.ndarray], **options: Any
) -> np.ndarray:
    """Sends one request and returns its output."""
    tensors = []
    for tensor in spec.inputs:
        array = to_wire(inputs[tensor.name])
        tensors.append(InferInput(tensor.name, array.shape, DATATYPES[tensor.dtype]))
        tensors[-1].set_data_from_numpy(array)
    outputs = [InferRequestedOutput(spec.output.name)]
    result = await client.infer(spec.name, tensors, outputs=outputs, **options)
    return result.as_numpy(spec.output.name)


async def inference_counts(client: InferenceServerClient, spec: ModelSpec) -> tuple[int, int]:
    """Returns the rows inferred and the batches executed since the server started."""
    statistics = await client.get_inference_statistics(spec.name)
    (model,) = statistics.model_stats
    return model.inference_count, model.execution_count


async def read_metric(server: TritonServer, name: str, model: FaultModel, **labels: str) -> float:
    """Returns the sum of a metric of the server, 0 if it is absent."""
    async with httpx.AsyncClient(verify=False) as client:  # loading certificates takes 50 ms
        text = (await client.get(f"http://{server.metrics}/metrics")).text
    required = {"model": model.spec.name, **labels}.items()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name == name and required <= sample.labels.items()
    )


async def cancelled_requests(server: TritonServer, model: FaultModel) -> float:
    """Returns the number of requests that the server dropped as cancelled since it started."""
    return await read_metric(server, "nv_inference_request_failure", model, reason="CANCELED")


async def wait_until_queued(server: TritonServer, model: FaultModel, requests: int) -> None:
    """Returns once `requests` requests are in the queue of the server."""

    async def is_queued() -> bool:
        pending = await read_metric(server, "nv_inference_pending_request_count", model)
        return pending == requests

    await poll_until(is_queued)


async def poll_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Polls a condition of another process, which sends no notification."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
