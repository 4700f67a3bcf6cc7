"""The Open Inference Protocol's routes: what is served, whether it is ready, and inference."""

from time import perf_counter

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api.gateway import Gateway, gateway_of, require_key
from silhouette_seg.api.media_types import JSON, OCTET_STREAM
from silhouette_seg.api.open_inference.codec import (
    Answer,
    read_request,
    write_answer,
)
from silhouette_seg.api.open_inference.openapi import (
    HEADER_LENGTH,
    INFER_ANSWERS,
    ModelMetadata,
    ServerMetadata,
    TensorMetadata,
    errors,
    infer_request,
    path_parameters,
)
from silhouette_seg.api.request.body import parse_byte_count, read_body
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.errors import UnknownModel
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.spec import ModelSpec, TensorSpec
from silhouette_seg.telemetry import server_timing

NAME = "silhouette"
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "onnxruntime_onnx"
"""Of the files in the repository, whoever runs them."""


router = APIRouter(prefix="/v2", tags=["inference"])
KEYED = [Depends(require_key)]
ONE = "/models/{model}"
ONE_OF_A_VERSION = "/models/{model}/versions/{version}"


@router.get("", summary="The server", responses=errors(401), dependencies=KEYED)
async def server_metadata(request: Request) -> ServerMetadata:
    version = gateway_of(request).version
    return ServerMetadata(name=NAME, version=version, extensions=list(EXTENSIONS))


@router.get("/health/live", summary="The process answers", response_class=Response)
async def live() -> Response:
    return Response()


@router.get(
    "/health/ready",
    summary="Inference can be asked for",
    response_class=Response,
    responses=errors(503),
)
async def ready(request: Request) -> Response:
    """As `/readyz`; the body is empty."""
    await _check_ready(gateway_of(request))
    return Response()


@router.get(
    ONE,
    summary="A model's tensors",
    responses=errors(401, 404),
    openapi_extra=path_parameters("model"),
    dependencies=KEYED,
)
@router.get(
    ONE_OF_A_VERSION,
    summary="A model's tensors",
    responses=errors(401, 404),
    openapi_extra=path_parameters("model", "version"),
    dependencies=KEYED,
)
async def model_metadata(request: Request) -> ModelMetadata:
    spec = _find(request).spec
    return ModelMetadata(
        name=spec.name,
        versions=[str(spec.version)],
        platform=PLATFORM,
        inputs=[_tensor_metadata(tensor) for tensor in spec.inputs],
        outputs=[_tensor_metadata(spec.output)],
    )


@router.get(
    f"{ONE}/ready",
    summary="A model can be asked",
    response_class=Response,
    responses=errors(401, 404, 503),
    openapi_extra=path_parameters("model"),
    dependencies=KEYED,
)
@router.get(
    f"{ONE_OF_A_VERSION}/ready",
    summary="A model can be asked",
    response_class=Response,
    responses=errors(401, 404, 503),
    openapi_extra=path_parameters("model", "version"),
    dependencies=KEYED,
)
async def model_ready(request: Request) -> Response:
    """All models become ready together; the body is empty."""
    _find(request)
    await _check_ready(gateway_of(request))
    return Response()


@router.post(
    f"{ONE}/infer",
    summary="Tensors in, tensors out",
    response_class=Response,
    responses=INFER_ANSWERS,
    openapi_extra=infer_request("model"),
    dependencies=KEYED,
)
@router.post(
    f"{ONE_OF_A_VERSION}/infer",
    summary="Tensors in, tensors out",
    response_class=Response,
    responses=INFER_ANSWERS,
    openapi_extra=infer_request("model", "version"),
    dependencies=KEYED,
)
async def infer(request: Request) -> Response:
    """Runs a model on tensors as it takes them: no photo is decoded, nothing is resized or routed.

    Tensors are JSON, or little-endian bytes after the JSON, whose length is then in
    `Inference-Header-Content-Length`. With 0 there the body is one row of the only input, and is
    answered in binary. Up to `max_batch` rows (see `/v1/models`) are answered in their order. The
    type of the body is not looked at; a compressed one is refused. Parameters that are not
    described here are ignored. The request changes nothing and may be repeated.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    model = _find(request)
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
    began = perf_counter()
    asked = await gateway.photo_pool.run_in_thread(read_request, body, header_length, model.spec)
    decode_s = perf_counter() - began
    work = Workload((model.spec.name, "tensors"), asked.rows * _pixels(model.spec))
    async with gateway.photo_queue.slot(work) as waited_s:
        inference = await model.infer(asked.inputs)
        began = perf_counter()
        answer = await gateway.photo_pool.run_in_thread(
            write_answer, asked, model.spec, inference.output
        )
    stages = {
        "decode": decode_s,
        "queue": waited_s + inference.queue_s,
        "infer": inference.infer_s,
        "encode": perf_counter() - began,
    }
    gateway.telemetry.observe_stages(model.spec.name, stages, kind="tensors")
    return _response(answer, server_timing(stages))


def _response(answer: Answer, timing: str) -> Response:
    headers = {"Server-Timing": timing}
    if answer.header_length is None:
        return Response(answer.body, headers=headers, media_type=JSON)
    headers[HEADER_LENGTH] = str(answer.header_length)
    return Response(answer.body, headers=headers, media_type=OCTET_STREAM)


def _pixels(spec: ModelSpec) -> int:
    """Of one row."""
    return spec.size_hw[0] * spec.size_hw[1]


def _tensor_metadata(tensor: TensorSpec) -> TensorMetadata:
    return TensorMetadata(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=[-1, *tensor.row_shape],
    )


def _find(request: Request) -> ServedModel:
    """The model that the path names."""
    name, version = request.path_params["model"], request.path_params.get("version")
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


async def _check_ready(gateway: Gateway) -> None:
    await gateway.check_engines()
    gateway.check_ready()
