"""What is served: the models, and what may be asked of them."""

from fastapi import APIRouter
from starlette.requests import Request

from silhouette_seg.api.gateway import Parts, parts_of
from silhouette_seg.api.openapi import problems
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.api.schemas import Capabilities, Formats, Limits, LiveLimits, ModelCard, Models
from silhouette_seg.errors import Unavailable
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.registry import AUTO
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.vision.codec.decode import ImageFormat

STREAMS = ("websocket", "webrtc")
"""How live video may come and go."""

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models", summary="The models that are served", responses=problems(401))
async def list_models(request: Request) -> Models:
    """A model is `ready` while photos can be taken; where another server runs the models, it is
    asked.
    """
    parts = parts_of(request)
    catalog = parts.catalog
    ready = catalog.ready and await _is_there(parts)
    return Models(
        auto=catalog.get(AUTO).spec.name,
        models=[model_card(model, ready=ready) for model in catalog.served],
    )


@router.get("/capabilities", summary="Limits, formats and parameters", responses=problems(401))
async def capabilities(request: Request) -> Capabilities:
    parts = parts_of(request)
    formats = [made.value for made in ImageFormat]
    return Capabilities(
        version=parts.version,
        limits=_limits(parts),
        formats=Formats(input=formats, output=formats),
        parameters={name: known.schema for name, known in PARAMETERS.items()},
        models=list(parts.catalog.names),
        streams=list(STREAMS),
        stream_limits=_live_limits(parts),
        stream_parameters={name: known.schema for name, known in STREAM_PARAMETERS.items()},
    )


async def _is_there(parts: Parts) -> bool:
    """Whether what runs the models can, for all of them, as `/readyz` sees it."""
    try:
        await parts.check_engines()
    except Unavailable:
        return False
    return True


def model_card(model: Segmenter | FaceRouter, *, ready: bool) -> ModelCard:
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


def _limits(parts: Parts) -> Limits:
    return Limits(
        image_bytes=parts.image_limits.bytes,
        batch_images=parts.batch_limits.images,
        batch_body_bytes=parts.batch_limits.form_bytes,
        pixels=parts.image_limits.pixels,
        side=parts.image_limits.side,
        aspect=parts.image_limits.aspect,
        frames=1,
        read_timeout_s=parts.intake_limits.read_timeout_s,
        queue_timeout_s=parts.timeouts.queue_s,
        request_timeout_s=parts.timeouts.request_s,
    )


def _live_limits(parts: Parts) -> LiveLimits:
    return LiveLimits(
        streams=parts.streams.max_streams,
        streams_per_caller=parts.streams.max_per_caller,
        message_bytes=parts.stream_limits.max_message_bytes,
        frame_pixels=parts.frame_limits.pixels,
        idle_s=parts.stream_limits.idle_timeout_s,
        max_s=parts.stream_limits.max_duration_s,
    )
