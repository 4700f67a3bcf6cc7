"""Health and metrics for orchestrators and Prometheus. `/livez` and `/readyz` need no key."""

import asyncio

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.api.gateway import gateway_of, require_key
from silhouette_seg.api.models import failed_models
from silhouette_seg.api.openapi import problem_responses
from silhouette_seg.api.schemas import Health, Readiness
from silhouette_seg.telemetry import METRICS_CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/livez", summary="The process answers")
async def livez() -> Health:
    """Answers 200 while the process runs, also before the models are ready."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Photos can be processed",
    responses=problem_responses(503),
    response_model_exclude_none=True,
)
async def readyz(request: Request) -> Readiness:
    """Answers 200 while the model of `auto` and every model in `SILHOUETTE_MODELS` serve.

    The response is 503 until an image has passed through these models, and while the service
    shuts down. It is also 503, with the reason, while one of them does not work, in this process or
    on the inference server. Other models that do not work are in `failed`.
    """
    gateway = gateway_of(request)
    await gateway.check_ready()
    return Readiness(status="ready", failed=failed_models(gateway.failures) or None)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    dependencies=[Depends(require_key)],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problem_responses(401)},
)
async def metrics(request: Request) -> Response:
    """Returns counts and times of requests, images, queues and models as Prometheus reads them."""
    encode = gateway_of(request).telemetry.snapshot()
    return Response(await asyncio.to_thread(encode), media_type=METRICS_CONTENT_TYPE)
