"""`GET /v1/models` and `GET /v1/capabilities`: models, limits, formats and parameters."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request

from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.openapi import problem_responses
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.api.schemas import (
    Capabilities,
    FailedModel,
    Formats,
    Limits,
    LiveLimits,
    ModelCard,
    Models,
)
from silhouette_seg.errors import Draining, Unavailable, WarmingUp
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.streaming.webrtc.registry import IS_INSTALLED
from silhouette_seg.vision.codec.decode import ImageFormat, InputFormat

STREAM_TRANSPORTS = ("websocket", "webrtc") if IS_INSTALLED else ("websocket",)
"""Names of the available transports for live video. `webrtc` needs the extra `live`."""

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models", summary="Served models", responses=problem_responses(401))
async def list_models(request: Request) -> Models:
    """Lists the models. One is `ready` while photos can be processed with it.

    If an inference server runs the models, it must be ready as well. `failed` has the models that
    did not load or did not pass their first picture, and those that do not work now.
    """
    gateway = gateway_of(request)
    models = gateway.registry.models
    faults = await asyncio.gather(*(_fault(gateway, model.spec.name) for model in models))
    failures = gateway.failures
    for model, fault in zip(models, faults, strict=True):
        if fault is not None and not isinstance(fault, WarmingUp | Draining):
            failures.setdefault(model.spec.name, fault.detail)
    return Models(
        auto=gateway.registry.auto,
        models=[
            model_card(model, ready=fault is None)
            for model, fault in zip(models, faults, strict=True)
        ],
        failed=failed_models(failures),
    )


@router.get(
    "/capabilities", summary="Limits, formats and parameters", responses=problem_responses(401)
)
async def capabilities(request: Request) -> Capabilities:
    """Returns the limits in force, the image formats, and the JSON schema of every parameter."""
    gateway = gateway_of(request)
    return Capabilities(
        version=gateway.version,
        limits=_limits(gateway),
        formats=Formats(input=list(InputFormat), output=list(ImageFormat)),
        parameters={name: parameter.schema for name, parameter in PARAMETERS.items()},
        models=list(gateway.registry.names),
        streams=list(STREAM_TRANSPORTS),
        stream_limits=_live_limits(gateway),
        stream_parameters={name: parameter.schema for name, parameter in STREAM_PARAMETERS.items()},
    )


async def _fault(gateway: Gateway, name: str) -> Unavailable | None:
    """Returns the reason why the model of that name does not work now, or None."""
    try:
        await gateway.check_models([name])
    except Unavailable as error:
        return error
    return None


def failed_models(failures: Mapping[str, str]) -> list[FailedModel]:
    """Returns the failed models in the order of their names; `failures` has the reason of each."""
    return [FailedModel(name=name, reason=reason) for name, reason in sorted(failures.items())]


def model_card(model: ServedModel, *, ready: bool) -> ModelCard:
    """Returns the entry of one model in `GET /v1/models`: input size, digest, scores, licence.

    `ready` becomes its field of that name.
    """
    spec = model.spec
    return ModelCard(
        name=spec.name,
        task=spec.task,
        version=spec.version,
        digest=f"sha256:{spec.sha256}",
        height=spec.size_hw[0],
        width=spec.size_hw[1],
        resize=spec.resize,
        inputs=[tensor.name for tensor in spec.inputs],
        precision=spec.precision,
        max_batch=spec.max_batch,
        metrics=spec.metrics,
        licence=spec.licence,
        run=spec.run,
        provider=model.provider,
        ready=ready,
    )


def _limits(gateway: Gateway) -> Limits:
    return Limits(
        image_bytes=gateway.image_limits.bytes,
        batch_images=gateway.batch_limits.images,
        batch_body_bytes=gateway.batch_limits.form_bytes,
        pixels=gateway.image_limits.pixels,
        side=gateway.image_limits.side,
        aspect=gateway.image_limits.aspect,
        frames=1,
        read_timeout_s=gateway.upload_limits.read_timeout_s,
        queue_timeout_s=gateway.timeouts.queue_s,
        request_timeout_s=gateway.timeouts.request_s,
    )


def _live_limits(gateway: Gateway) -> LiveLimits:
    return LiveLimits(
        streams=gateway.streams.max_streams,
        streams_per_caller=gateway.streams.max_per_caller,
        message_bytes=gateway.stream_limits.max_message_bytes,
        frame_pixels=gateway.frame_limits.pixels,
        idle_s=gateway.stream_limits.idle_timeout_s,
        max_s=gateway.stream_limits.max_duration_s,
    )
