"""Routes of Triton's extensions below `/v2`: model configuration, statistics, repository index.

Source: the extensions of the Open Inference Protocol in the documentation of Triton.
"""

import asyncio
import json
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.media_types import JSON
from silhouette_seg.api.open_inference.openapi import error_responses, path_parameters
from silhouette_seg.api.open_inference.routes import (
    MODEL_PATH,
    MODEL_VERSION_PATH,
    PLATFORM,
    REQUIRES_KEY,
    find_model,
)
from silhouette_seg.api.request.body import read_body
from silhouette_seg.api.schemas import JsonModel
from silhouette_seg.engine.statistics import ModelStatistics, TotalTime
from silhouette_seg.errors import BadParameter, MalformedBody, Unavailable
from silhouette_seg.spec import MODEL_FILE, ModelSpec, TensorSpec

MAX_INDEX_REQUEST_BYTES = 4096
"""Maximum bytes of the body of an index request, which has one member."""

router = APIRouter(prefix="/v2", tags=["inference"], dependencies=REQUIRES_KEY)


class TensorConfiguration(JsonModel):
    """Name, datatype and row shape of a tensor in a model's configuration."""

    name: str
    data_type: str = Field(description="`TYPE_` and the datatype of the protocol.")
    dims: list[int] = Field(description="Shape of one row.")


class ModelConfiguration(JsonModel):
    """The part of Triton's model configuration that is the same on every engine."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, Any]
    max_batch_size: int = Field(description="Maximum rows of a request.")
    input: list[TensorConfiguration]
    output: list[TensorConfiguration]
    default_model_filename: str
    parameters: dict[str, dict[str, str]] = Field(
        description="`sha256` has the hash of the model file."
    )


class CountedTime(JsonModel):
    """Number of events, and the nanoseconds that they took together."""

    count: int
    ns: int


class InferenceStatistics(JsonModel):
    """Requests to a model by outcome and stage."""

    success: CountedTime
    fail: CountedTime
    queue: CountedTime
    compute_input: CountedTime = Field(description="Always 0: it is part of `compute_infer`.")
    compute_infer: CountedTime
    compute_output: CountedTime = Field(description="Always 0: it is part of `compute_infer`.")
    cache_hit: CountedTime = Field(description="Always 0: there is no cache.")
    cache_miss: CountedTime = Field(description="Always 0: there is no cache.")


class BatchStatistics(JsonModel):
    """Batches of one size that a model ran."""

    batch_size: int
    compute_input: CountedTime = Field(description="Always 0: it is part of `compute_infer`.")
    compute_infer: CountedTime
    compute_output: CountedTime = Field(description="Always 0: it is part of `compute_infer`.")


class ServedModelStatistics(JsonModel):
    """Inferences of a model since the start: requests, photos, frames, warm-up and probes."""

    name: str
    version: str
    last_inference: int = Field(description="Milliseconds since 1970 of the last result, or 0.")
    inference_count: int = Field(description="Rows of all successful requests.")
    execution_count: int | None = Field(
        default=None, description="Batches. It is absent if an inference server forms them."
    )
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics] | None = Field(
        default=None, description="Batches by size. They are absent as `execution_count` is."
    )


class StatisticsDocument(JsonModel):
    """Statistics of one or all models."""

    model_stats: list[ServedModelStatistics]


class RepositoryEntry(JsonModel):
    """A model in the index of the repository."""

    name: str
    version: str = Field(description="Version; empty for a model that did not load.")
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="Reason of the state UNAVAILABLE, else empty.")


@router.get(
    f"{MODEL_PATH}/config",
    summary="Model configuration",
    responses=error_responses(401, 404, 500),
    openapi_extra=path_parameters("model"),
)
@router.get(
    f"{MODEL_VERSION_PATH}/config",
    summary="Model configuration",
    responses=error_responses(401, 404, 500),
    openapi_extra=path_parameters("model", "version"),
)
async def model_config(request: Request) -> ModelConfiguration:
    """Returns tensors, batch size and file of a model, in the form of Triton's configuration."""
    spec = find_model(request).spec
    return ModelConfiguration(
        name=spec.name,
        platform=PLATFORM,
        backend="onnxruntime",
        version_policy={"specific": {"versions": [spec.version]}},
        max_batch_size=spec.max_batch,
        input=[_tensor_configuration(tensor) for tensor in spec.inputs],
        output=[_tensor_configuration(spec.output)],
        default_model_filename=MODEL_FILE,
        parameters={"sha256": {"string_value": spec.sha256}},
    )


@router.get(
    "/models/stats",
    summary="Statistics of all models",
    responses=error_responses(401),
    response_model_exclude_none=True,
)
async def all_statistics(request: Request) -> StatisticsDocument:
    """Returns counts and times of every model's inferences since the start."""
    specs = [model.spec for model in gateway_of(request).registry.models]
    return _statistics_document(request, specs)


@router.get(
    f"{MODEL_PATH}/stats",
    summary="Statistics of a model",
    responses=error_responses(401, 404, 500),
    openapi_extra=path_parameters("model"),
    response_model_exclude_none=True,
)
@router.get(
    f"{MODEL_VERSION_PATH}/stats",
    summary="Statistics of a model",
    responses=error_responses(401, 404, 500),
    openapi_extra=path_parameters("model", "version"),
    response_model_exclude_none=True,
)
async def model_statistics(request: Request) -> StatisticsDocument:
    """Returns counts and times of a model's inferences since the start."""
    return _statistics_document(request, [find_model(request).spec])


@router.post(
    "/repository/index",
    summary="Index of the served models",
    responses=error_responses(400, 401, 408, 413, 415, 503),
    openapi_extra={
        "requestBody": {
            "content": {
                JSON: {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}
            }
        }
    },
)
async def repository_index(request: Request) -> list[RepositoryEntry]:
    """Lists the models with their state; with `{"ready": true}` only those that are ready.

    Models cannot be loaded or unloaded.
    """
    gateway = gateway_of(request)
    with gateway.body_memory.reservation() as reserve:
        body = await read_body(
            request,
            None,
            max_bytes=MAX_INDEX_REQUEST_BYTES,
            timeout_s=gateway.upload_limits.read_timeout_s,
            reserve=reserve,
        )
    only_ready = _wants_ready_models(body)
    served = [_index_entry(gateway, model.spec) for model in gateway.registry.models]
    entries = await asyncio.gather(*served)
    if only_ready:
        return [entry for entry in entries if entry.state == "READY"]
    return entries + [
        RepositoryEntry(name=name, version="", state="UNAVAILABLE", reason=reason)
        for name, reason in gateway.registry.failures.items()
    ]


async def _index_entry(gateway: Gateway, spec: ModelSpec) -> RepositoryEntry:
    try:
        await gateway.check_models([spec.name])
    except Unavailable as error:
        reason = error.detail
    else:
        reason = ""
    state: Literal["READY", "UNAVAILABLE"] = "UNAVAILABLE" if reason else "READY"
    return RepositoryEntry(name=spec.name, version=str(spec.version), state=state, reason=reason)


def _tensor_configuration(tensor: TensorSpec) -> TensorConfiguration:
    return TensorConfiguration(
        name=tensor.name, data_type=f"TYPE_{tensor.datatype}", dims=list(tensor.row_shape)
    )


def _statistics_document(request: Request, specs: list[ModelSpec]) -> StatisticsDocument:
    gateway = gateway_of(request)
    batched_here = gateway.remote is None
    return StatisticsDocument(
        model_stats=[
            _served_statistics(spec, gateway.statistics[spec.name], batched_here=batched_here)
            for spec in specs
        ]
    )


def _served_statistics(
    spec: ModelSpec, statistics: ModelStatistics, *, batched_here: bool
) -> ServedModelStatistics:
    none = CountedTime(count=0, ns=0)
    batches = [
        BatchStatistics(
            batch_size=rows,
            compute_input=none,
            compute_infer=_counted(total),
            compute_output=none,
        )
        for rows, total in sorted(statistics.batches.items())
    ]
    return ServedModelStatistics(
        name=spec.name,
        version=str(spec.version),
        last_inference=statistics.last_inference_ms,
        inference_count=statistics.rows,
        execution_count=sum(batch.compute_infer.count for batch in batches)
        if batched_here
        else None,
        inference_stats=InferenceStatistics(
            success=_counted(statistics.success),
            fail=_counted(statistics.fail),
            queue=_counted(statistics.queue),
            compute_input=none,
            compute_infer=_counted(statistics.compute),
            compute_output=none,
            cache_hit=none,
            cache_miss=none,
        ),
        batch_stats=batches if batched_here else None,
    )


def _counted(total: TotalTime) -> CountedTime:
    return CountedTime(count=total.count, ns=total.ns)


def _wants_ready_models(body: bytes) -> bool:
    """Returns the member `ready` of an index request; an empty body has the default, False.

    Raises MalformedBody for invalid JSON, and BadParameter for another value than a boolean.
    """
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise MalformedBody("The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise MalformedBody("The body is not a JSON object.")
    ready = document.get("ready", False)
    if not isinstance(ready, bool):
        raise BadParameter("ready must be true or false.")
    return ready
