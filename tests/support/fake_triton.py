"""A Triton in the test's own process: real gRPC on loopback, and it does what it is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.spec import ModelSpec
from training.export.triton_config import CPU, GPU, model_config

PATIENCE_S = 20
DTYPES = {"UINT8": np.uint8, "INT64": np.int64, "FP32": np.float32}
Failure = tuple[grpc.StatusCode, str]


@dataclass(frozen=True)
class Call:
    """What the server saw of an inference."""

    request: Any
    headers: dict[str, str]
    time_remaining: float


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers what FakeEngine answers, with the configuration that production has."""

    def __init__(self, specs: Sequence[ModelSpec], *, gpu: bool = False) -> None:
        self.models = {spec.name: FakeEngine(spec) for spec in specs}
        self.configs = {spec.name: model_config_of(spec, gpu=gpu) for spec in specs}
        self.calls: list[Call] = []
        """Inferences, in order of arrival."""
        self.failures: list[Failure] = []
        """Of the next inferences, in order."""
        self.persistent_failure: Failure | None = None
        """Of every call that is no inference of the list above."""
        self.gate = asyncio.Event()
        """Inferences, and whether it is ready, are answered while it is set."""
        self.gate.set()
        self.config_requests = 0
        """How often somebody asked for a configuration."""
        self.running = 0
        self.cancelled = 0
        self.ready = True
        self.changed = asyncio.Condition()

    async def ModelConfig(self, request, context):
        self.config_requests += 1
        await self._find(request, context)
        return service_pb2.ModelConfigResponse(config=self.configs[request.name])

    async def ModelReady(self, request, context):
        await self.gate.wait()
        await self._find(request, context)
        return service_pb2.ModelReadyResponse(ready=self.ready)

    async def ModelInfer(self, request, context):
        headers = dict(context.invocation_metadata())
        self.running += 1
        try:
            await self._notify(self.calls.append, Call(request, headers, context.time_remaining()))
            await self.gate.wait()
            if self.failures:
                await context.abort(*self.failures.pop(0))
            await self._abort_if_failing(context)
            return await self._answer(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
            await self._notify(lambda: None)

    async def wait_until(self, condition) -> None:
        """Returns once something that an inference changes is so."""
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(condition)

    async def _notify(self, change, *values) -> None:
        async with self.changed:
            change(*values)
            self.changed.notify_all()

    async def _find(self, request, context) -> None:
        await self._abort_if_failing(context)
        if request.name not in self.models or request.version != "1":
            missing = f"unknown model {request.name} {request.version}"
            await context.abort(grpc.StatusCode.NOT_FOUND, missing)

    async def _abort_if_failing(self, context) -> None:
        if self.persistent_failure:
            await context.abort(*self.persistent_failure)

    async def _answer(self, request):
        engine = self.models[request.model_name]
        inputs = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            array = np.frombuffer(raw, DTYPES[tensor.datatype]).reshape(tensor.shape)
            scalar = len(next(t for t in engine.spec.inputs if t.name == tensor.name).shape) == 1
            inputs[tensor.name] = array[:, 0] if scalar else array
        output = await engine.infer(inputs)
        kind = next(kind for kind, dtype in DTYPES.items() if dtype == output.dtype)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name=engine.spec.output.name, datatype=kind, shape=output.shape)
        answer.raw_output_contents.append(output.tobytes())
        return answer


def model_config_of(spec: ModelSpec, *, gpu: bool = False) -> Any:
    text = model_config(spec, GPU if gpu else CPU)
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@asynccontextmanager
async def serve_triton(triton: FakeTriton, port: int = 0) -> AsyncIterator[int]:
    """Serves on a port of loopback; leaving closes it at once."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
