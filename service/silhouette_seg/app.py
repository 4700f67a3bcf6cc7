"""Composition root: builds the ASGI application from the settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI

from silhouette_seg.api import (
    batch,
    health,
    models,
    openapi,
    page,
    problem_details,
    segment,
    stream,
    webrtc,
)
from silhouette_seg.api.gateway import require_key
from silhouette_seg.api.middleware.request_log import Cors, Exchange
from silhouette_seg.api.middleware.security_headers import SafeHeaders
from silhouette_seg.api.open_inference import routes as inference
from silhouette_seg.api.removebg import routes as removebg
from silhouette_seg.assembly import create_gateway, version
from silhouette_seg.lifecycle import lifespan
from silhouette_seg.settings import Settings
from silhouette_seg.telemetry import Telemetry, open_tracing


def create_app(settings: Settings) -> FastAPI:
    """Loads the models and builds the application; `app.state.parts` holds its parts.

    Raises the errors of `create_gateway`. The parts close when the application stops.
    """
    telemetry = Telemetry(open_tracing(settings.otel_endpoint, version()))
    parts = create_gateway(settings, telemetry)
    telemetry.set_version(version())
    telemetry.track_ready(lambda: parts.works and not parts.streams.draining.is_set())
    app = FastAPI(
        title="Silhouette",
        summary="Photos in; portrait masks, cut-outs and composites out.",
        version=version(),
        docs_url=None,  # `page` serves the documentation, without scripts of other hosts
        redoc_url=None,
        lifespan=partial(lifespan, parts=parts, drain_timeout_s=settings.drain_timeout_s),
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.parts = parts
    problem_details.install(app)
    _add_middleware(app, settings.cors_origins, parts.telemetry)
    _add_routes(app)
    return app


def _add_middleware(app: FastAPI, cors_origins: tuple[str, ...], telemetry: Telemetry) -> None:
    """Adds the middleware from the innermost to the outermost."""
    app.add_middleware(problem_details.Unexpected)
    if cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
            allow_headers=("*",),
            expose_headers=(
                *segment.EXPOSED_HEADERS,
                *removebg.EXPOSED_HEADERS,
                "Inference-Header-Content-Length",
                "Location",
            ),
        )
    app.add_middleware(Exchange, telemetry=telemetry)
    app.add_middleware(SafeHeaders)


def _add_routes(app: FastAPI) -> None:
    authenticated = [Depends(require_key)]
    app.include_router(segment.router, dependencies=authenticated)
    app.include_router(batch.router, dependencies=authenticated)
    app.include_router(removebg.router, dependencies=authenticated)
    app.include_router(models.router, dependencies=authenticated)
    app.include_router(webrtc.router, dependencies=authenticated)
    app.include_router(inference.router)
    app.include_router(stream.router)
    app.include_router(health.router)
    app.include_router(page.router)
    app.mount("/web", page.PageFiles(), name="web")
    app.openapi = partial(_openapi, app.openapi)  # type: ignore[method-assign]


def _openapi(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Generates FastAPI's document and adds the schemas that no route declares."""
    document = generate()
    document["components"]["schemas"].update(openapi.SCHEMAS)
    return document
