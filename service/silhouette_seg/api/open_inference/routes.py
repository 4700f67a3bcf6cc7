"""Routes of the Open Inference Protocol below `/v2`: metadata, readiness and inference."""

from math import prod
from time import perf_counter

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api.gateway import Gateway, gateway_of, require_key
from silhouette_seg.api.media_types import JSON, OCTET_STREAM
from silhouette_seg.api.open_inference.codec import (
    InferResponse,
    decode_request,
    encode_response,
)
from silhouette_seg.api.open_inference.openapi import (
    HEADER_LENGTH,
    INFER_RESPONSES,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
    describe_infer,
    error_responses,
    path_parameters,
)
from silhouette_seg.api.request.body import parse_byte_count, read_body
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.errors import UnknownModel
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.spec import TensorSpec
from silhouette_seg.telemetry import server_timing

SERVER_NAME = "silhouette"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
PLATFORM = "onnxruntime_onnx"
"""Value of `platform` in the metadata of a model: the format of its file, for every engine."""

router = APIRouter(prefix="/v2", tags=["inference"])
REQUIRES_KEY = [Depends(require_key)]
MODEL_PATH = "/models/{model}"
MODEL_VERSION_PATH = "/models/{model}/versions/{version}"


@router.get(
    "", summary="Server metadata", responses=error_responses(401), dependencies=REQUIRES_KEY
)
async def server_metadata(request: Request) -> ServerMetadata:
    """Returns name, version and protocol extensions of the server."""
    version = gateway_of(request).version
    return ServerMetadata(name=SERVER_NAME, version=version, extensions=list(EXTENSIONS))


@router.get("/health/live", summary="Liveness")
async def live() -> ServerLive:
    """Returns 200 while the process runs."""
    return ServerLive(live=True)


@router.get("/health/ready", summary="Readiness of the server", responses=error_responses(503))
async def ready(request: Request) -> ServerReady:
    """Returns 200 while `/readyz` answers 200, else 503."""
    await gateway_of(request).check_ready()
    return ServerReady(ready=True)


@router.get(
    MODEL_PATH,
    summary="Model metadata",
    responses=error_responses(401, 404, 500),
    openapi_extra=path_parameters("model"),
    dependencies=REQUIRES_KEY,
)
@router.get(
    MODEL_VERSION_PATH,
    summary="Model metadata",
    responses=error_responses(401, 404, 500),
    openapi_extra=path_parameters("model", "version"),
    dependencies=REQUIRES_KEY,
)
async def model_metadata(request: Request) -> ModelMetadata:
    """Returns the version of a model, and name, datatype and shape of its tensors."""
    spec = find_model(request).spec
    return ModelMetadata(
        name=spec.name,
        versions=[str(spec.version)],
        platform=PLATFORM,
        inputs=[_tensor_metadata(tensor) for tensor in spec.inputs],
        outputs=[_tensor_metadata(spec.output)],
    )


@router.get(
    f"{MODEL_PATH}/ready",
    summary="Readiness of a model",
    responses=error_responses(401, 404, 503),
    openapi_extra=path_parameters("model"),
    dependencies=REQUIRES_KEY,
)
@router.get(
    f"{MODEL_VERSION_PATH}/ready",
    summary="Readiness of a model",
    responses=error_responses(401, 404, 503),
    openapi_extra=path_parameters("model", "version"),
    dependencies=REQUIRES_KEY,
)
async def model_ready(request: Request) -> ModelReady:
    """Returns 200 while the model is ready, else 503 with the reason."""
    gateway, name = gateway_of(request), request.path_params["model"]
    if name not in gateway.registry.failures:
        name = find_model(request).spec.name
    await gateway.check_models([name])
    return ModelReady(name=name, ready=True)


@router.post(
    f"{MODEL_PATH}/infer",
    summary="Inference",
    response_class=Response,
    responses=INFER_RESPONSES,
    openapi_extra=describe_infer("model"),
    dependencies=REQUIRES_KEY,
)
@router.post(
    f"{MODEL_VERSION_PATH}/infer",
    summary="Inference",
    response_class=Response,
    responses=INFER_RESPONSES,
    openapi_extra=describe_infer("model", "version"),
    dependencies=REQUIRES_KEY,
)
async def infer(request: Request) -> Response:
    """Runs a model on tensors. No photo is decoded, and nothing is resized or routed.

    Tensors are JSON, or little-endian bytes after the JSON. Then the length of the JSON is in
    `Inference-Header-Content-Length`. If that is 0, the body is one row of the only input, and the
    answer is binary. A request may have up to `max_batch` rows (see `/v1/models`); the answer has
    them in the same order. The media type of the body is ignored.
    Parameters that are not described here are ignored. The request is idempotent.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    model = find_model(request)
    header_length = _header_length(request)
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        body = await read_body(
            request,
            None,
            max_bytes=gateway.upload_limits.image_bytes,
            timeout_s=gateway.upload_limits.read_timeout_s,
            reserve=reserve,
        )
        return await run_until_disconnect(
            request,
            _infer(gateway, model, body, header_length),
            timeout_s=gateway.timeouts.remaining_s(arrived),
        )


async def _infer(
    gateway: Gateway, model: ServedModel, body: bytes, header_length: int | None
) -> Response:
    started = perf_counter()
    infer_request = await gateway.photo_pool.run_in_thread(
        decode_request, body, header_length, model.spec
    )
    decode_s = perf_counter() - started
    pixels = infer_request.rows * prod(model.spec.size_hw)
    async with gateway.photo_queue.slot(Workload((model.spec.name, "tensors"), pixels)) as waited_s:
        inference = await model.infer(infer_request.inputs)
        started = perf_counter()
        response = await gateway.photo_pool.run_in_thread(
            encode_response, infer_request, model.spec, inference.output
        )
    stages = {
        "decode": decode_s,
        "queue": waited_s + inference.queue_s,
        "infer": inference.infer_s,
        "encode": perf_counter() - started,
    }
    gateway.telemetry.observe_stages(model.spec.name, stages, kind="tensors")
    return _to_http(response, server_timing(stages))


def _to_http(response: InferResponse, timing: str) -> Response:
    headers = {"Server-Timing": timing}
    if response.header_length is None:
        return Response(response.body, headers=headers, media_type=JSON)
    headers[HEADER_LENGTH] = str(response.header_length)
    return Response(response.body, headers=headers, media_type=OCTET_STREAM)


def _tensor_metadata(tensor: TensorSpec) -> TensorMetadata:
    return TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=[-1, *tensor.row_shape])


def find_model(request: Request) -> ServedModel:
    """Returns the model that the path of the request names.

    Raises UnknownModel if no model of that name, or version, is served. Raises ModelFailed with
    the reason for a model that has failed.
    """
    name, version = request.path_params["model"], request.path_params.get("version")
    gateway_of(request).registry.check(name)
    served = {model.spec.name: model for model in gateway_of(request).registry.models}
    if name not in served:
        raise UnknownModel(name, served)
    model = served[name]
    if version not in (None, str(model.spec.version)):
        raise UnknownModel(f"{name}/{version}", [f"{name}/{model.spec.version}"])
    return model


def _header_length(request: Request) -> int | None:
    text = request.headers.get(HEADER_LENGTH)
    return None if text is None else parse_byte_count(HEADER_LENGTH, text)
