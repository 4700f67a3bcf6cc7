"""Health and metrics for orchestrators and Prometheus. `/livez` and `/readyz` need no key."""

import asyncio

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.api.gateway import gateway_of, require_key
from silhouette_seg.api.openapi import problem_responses
from silhouette_seg.api.schemas import Health
from silhouette_seg.telemetry import METRICS_CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/livez", summary="The process answers")
async def livez() -> Health:
    """Answers 200 while the process runs, also before the models are ready."""
    return Health(status="ok")


@router.get("/readyz", summary="Photos can be processed", responses=problem_responses(503))
async def readyz(request: Request) -> Health:
    """Answers 200 while photos can be processed.

    The response is 503 until an image has passed through every model, and while the service
    shuts down. It is also 503 while the inference server is not ready for every model, or while a
    model in this process fails repeatedly.
    """
    gateway = gateway_of(request)
    await gateway.check_engines()
    gateway.check_ready()
    return Health(status="ready")


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
