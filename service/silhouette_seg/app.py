"""Builds the ASGI application of the service from its settings: middleware, routes and errors."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI

from silhouette_seg import __version__
from silhouette_seg.api import (
    asyncapi,
    batch,
    health,
    models,
    openapi,
    page,
    rembg,
    segment,
    stream,
    webrtc,
)
from silhouette_seg.api.error_responses import ErrorResponder
from silhouette_seg.api.gateway import require_key
from silhouette_seg.api.middleware.cors import ProblemCORSMiddleware
from silhouette_seg.api.middleware.request_log import RequestLogMiddleware
from silhouette_seg.api.middleware.security_headers import SecurityHeadersMiddleware
from silhouette_seg.api.middleware.unhandled_errors import UnhandledErrorMiddleware
from silhouette_seg.api.open_inference import errors as inference_errors
from silhouette_seg.api.open_inference import extensions as inference_extensions
from silhouette_seg.api.open_inference import openapi as inference_openapi
from silhouette_seg.api.open_inference import routes as inference
from silhouette_seg.api.removebg import account as removebg_account
from silhouette_seg.api.removebg import errors as removebg_errors
from silhouette_seg.api.removebg import openapi as removebg_openapi
from silhouette_seg.api.removebg import routes as removebg
from silhouette_seg.assembly import create_gateway
from silhouette_seg.lifecycle import lifespan
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.settings import Settings
from silhouette_seg.telemetry import Telemetry, open_tracing


def create_app(
    settings: Settings,
    group: ProcessGroup | None = None,
    shared_folder: Path | None = None,
) -> FastAPI:
    """Loads the models and returns the FastAPI application that serves them.

    `app.state.gateway` is the `Gateway`: models, limits, queues and metrics, shared by all routes.
    The application closes it when it stops. Raises the errors of `create_gateway`.

    A server with several processes creates it once, and forks before it starts. `group` are its
    processes, and `shared_folder` is the folder of their counters and sockets.
    """
    group = group or ProcessGroup()
    tracing = open_tracing(settings.otel_endpoint, __version__)
    telemetry = Telemetry(tracing, group, shared_folder)
    gateway = create_gateway(settings, telemetry, group, shared_folder)
    telemetry.set_version(__version__)
    telemetry.track_ready(lambda: gateway.is_ready)
    health = gateway.process_health
    telemetry.track_processes(lambda: health.ready_count, lambda: health.pids)
    app = FastAPI(
        title="Silhouette",
        summary="Photos in; portrait masks, cut-outs and composites out.",
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=openapi.operation_id,
        version=__version__,
        docs_url=None,  # `page` serves the documentation, without scripts of other hosts
        redoc_url=None,
        lifespan=partial(lifespan, gateway=gateway, drain_timeout_s=settings.drain_timeout_s),
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.gateway = gateway
    responder = ErrorResponder(
        {
            inference_errors.PATH: inference_errors.error_body,
            removebg_errors.PATH: removebg_errors.error_body,
        }
    )
    responder.add_exception_handlers(app)
    _add_middleware(app, responder, settings.cors_origins, gateway.telemetry)
    _add_routes(app)
    return app


def _add_middleware(
    app: FastAPI, responder: ErrorResponder, cors_origins: tuple[str, ...], telemetry: Telemetry
) -> None:
    """Adds the ASGI middleware to the application, the innermost first."""
    app.add_middleware(UnhandledErrorMiddleware, respond=responder.respond)
    if cors_origins:
        app.add_middleware(
            ProblemCORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
            allow_headers=("*",),
            expose_headers=(
                *segment.EXPOSED_HEADERS,
                *removebg.EXPOSED_HEADERS,
                *rembg.EXPOSED_HEADERS,
                "Inference-Header-Content-Length",
                "Location",
            ),
        )
    app.add_middleware(RequestLogMiddleware, telemetry=telemetry)
    app.add_middleware(SecurityHeadersMiddleware)


def _add_routes(app: FastAPI) -> None:
    authenticated = [Depends(require_key)]
    app.include_router(segment.router, dependencies=authenticated)
    app.include_router(batch.router, dependencies=authenticated)
    app.include_router(removebg.router, dependencies=authenticated)
    app.include_router(removebg_account.router, dependencies=authenticated)
    app.include_router(rembg.router, dependencies=authenticated)
    app.include_router(models.router, dependencies=authenticated)
    app.include_router(webrtc.router, dependencies=authenticated)
    # Before the models' routes, which would take `/v2/models/stats` for a model.
    app.include_router(inference_extensions.router)
    app.include_router(inference.router)
    app.include_router(stream.router)
    app.include_router(health.router)
    app.include_router(page.router)
    app.mount("/web", page.PageFiles(), name="web")
    app.include_router(asyncapi.router)
    requires_key = app.state.gateway.keyring.requires_key
    generate = partial(_openapi, app.openapi, requires_key=requires_key)
    app.openapi = cache(generate)  # type: ignore[method-assign]


def _openapi(generate: Callable[[], dict[str, Any]], *, requires_key: bool) -> dict[str, Any]:
    """Returns the OpenAPI document from FastAPI's `generate`, completed."""
    schemas = openapi.SCHEMAS | rembg.SCHEMAS | webrtc.SCHEMAS
    schemas |= removebg_openapi.SCHEMAS | inference_openapi.SCHEMAS
    return openapi.complete(generate(), schemas, requires_key=requires_key)
