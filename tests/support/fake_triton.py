"""Triton server for tests: real gRPC on loopback, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.engine.triton.config_pbtxt import CPU_INSTANCES, GPU_INSTANCES, model_config
from silhouette_seg.spec import ModelSpec
from tests.support.tensors import DATATYPES, DTYPES

TIMEOUT_S = 20
Failure = tuple[grpc.StatusCode, str]


@dataclass(frozen=True)
class InferCall:
    """An inference request as the server received it."""

    request: Any
    headers: dict[str, str]
    time_remaining: float


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Returns the outputs of FakeEngine, with the generated production configuration."""

    def __init__(self, specs: Sequence[ModelSpec], *, gpu: bool = False) -> None:
        self.models = {spec.name: FakeEngine(spec) for spec in specs}
        self.configs = {spec.name: model_config_of(spec, gpu=gpu) for spec in specs}
        self.calls: list[InferCall] = []
        """Inferences in order of arrival."""
        self.failures: list[Failure] = []
        """Failures of the next inferences, in order."""
        self.gate = asyncio.Event()
        """Inferences and readiness checks complete while it is set."""
        self.gate.set()
        self.config_requests = 0
        self.running = 0
        """Inferences in progress."""
        self.cancelled = 0
        self.ready = True
        self._changed = asyncio.Condition()

    async def ModelConfig(self, request, context):
        self.config_requests += 1
        await self._abort_if_unknown(request, context)
        return service_pb2.ModelConfigResponse(config=self.configs[request.name])

    async def ModelReady(self, request, context):
        await self.gate.wait()
        await self._abort_if_unknown(request, context)
        return service_pb2.ModelReadyResponse(ready=self.ready)

    async def ModelInfer(self, request, context):
        headers = dict(context.invocation_metadata())
        self.running += 1
        try:
            self.calls.append(InferCall(request, headers, context.time_remaining()))
            await self._notify()
            await self.gate.wait()
            if self.failures:
                await context.abort(*self.failures.pop(0))
            return await self._infer(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            await self._notify()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns once `condition` holds; it is tested at the start and end of each inference."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _abort_if_unknown(self, request, context) -> None:
        if request.name not in self.models or request.version != "1":
            missing = f"unknown model {request.name} {request.version}"
            await context.abort(grpc.StatusCode.NOT_FOUND, missing)

    async def _infer(self, request):
        engine = self.models[request.model_name]
        inputs = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            array = np.frombuffer(raw, DTYPES[tensor.datatype]).reshape(tensor.shape)
            scalar = len(next(t for t in engine.spec.inputs if t.name == tensor.name).shape) == 1
            inputs[tensor.name] = array[:, 0] if scalar else array
        output = await engine.infer(inputs)
        reply = service_pb2.ModelInferResponse(model_name=request.model_name)
        reply.outputs.add(
            name=engine.spec.output.name,
            datatype=DATATYPES[output.dtype.name],
            shape=output.shape,
        )
        reply.raw_output_contents.append(output.tobytes())
        return reply


def model_config_of(spec: ModelSpec, *, gpu: bool = False) -> Any:
    """Returns the generated configuration of a model as Triton's message."""
    text = model_config(spec, GPU_INSTANCES if gpu else CPU_INSTANCES)
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@asynccontextmanager
async def serve_triton(triton: FakeTriton, port: int = 0) -> AsyncIterator[int]:
    """Serves on a loopback port until the block ends, which aborts all calls."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    bound_port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound_port
    finally:
        await server.stop(None)
