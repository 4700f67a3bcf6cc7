"""The one composition root: settings in, ASGI application out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any

from fastapi import Depends, FastAPI

from service import problems
from service.admission import Admission
from service.auth import Keyring
from service.batcher import Batcher
from service.capacity import usable_cpus
from service.catalog import Catalog, open_catalog
from service.engine import REMOTES, open_engine, open_remote
from service.engine.base import DEVICES, Engine, Remote, Terms, falls_short
from service.engine.checked import Checked
from service.engine.watched import Watched
from service.errors import EngineFailed, ServiceError, Unavailable
from service.exchange import Cors, Exchange
from service.routes import batch, describe, health, models, page, segment, stream, webrtc
from service.routes.inference import routes as inference
from service.routes.intake import BatchLimits, BodyBudget, IntakeLimits
from service.routes.parts import Parts, Timeouts, require_key
from service.routes.removebg import routes as removebg
from service.safe_headers import SafeHeaders
from service.settings import Settings
from service.spec import ModelSpec
from service.streaming.frames import FRAME_PIXELS
from service.streaming.streams import StreamLimits, Streams
from service.streaming.webrtc.peers import Peers
from service.streaming.webrtc.terms import Terms as WebRTCTerms
from service.streaming.webrtc.terms import read_ice_server
from service.telemetry import Telemetry, open_tracing, watch_loop
from service.turns import Turns
from service.vision.decode import ImageLimits
from service.workers import Workers

MAX_REQUESTS = 1024
"""Requests whose bodies may be arriving or in work; what they hold is bounded by its size."""
BODIES_IN_FLIGHT = 16
"""How many bodies of the largest size may be in memory."""
WARM_UP_EVERY_S = 1.0
"""While the server that runs the models is not there."""

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Loads the models and puts the parts together, which `app.state.parts` holds.

    Raises what `open_catalog` raises. The parts are closed when the application stops.
    """
    telemetry = Telemetry(open_tracing(settings.otel_endpoint, version()))
    parts = open_parts(settings, telemetry)
    telemetry.is_version(version())
    telemetry.watch_ready(lambda: parts.works and not parts.streams.closing.is_set())
    app = FastAPI(
        title="Silhouette",
        summary="Photos in; portrait masks, cut-outs and composites out.",
        version=version(),
        docs_url=None,  # `page` has them, without scripts of other hosts
        redoc_url=None,
        lifespan=partial(_lifespan, parts=parts, drain_timeout_s=settings.drain_timeout_s),
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.parts = parts
    problems.install(app)
    _add_middleware(app, settings.cors_origins, parts.telemetry)
    _add_routes(app)
    return app


def version() -> str:
    try:
        return installed_version("silhouette")
    except PackageNotFoundError:
        return "0+source"


@dataclass(frozen=True, slots=True)
class OpenModels:
    """The catalog, and the threads that it shares with whoever decodes and renders."""

    catalog: Catalog
    workers: Workers
    count: int
    """Number of threads."""
    remote: Remote | None
    """What runs the models, where that is not us."""
    engines: tuple[Checked, ...] = ()
    """One for each model."""


def open_models(settings: Settings, telemetry: Telemetry) -> OpenModels:
    """Loads the weights, or says where they are; raises what `open_catalog` raises."""
    count = settings.workers or usable_cpus()
    workers = Workers(count)
    remote = open_triton(settings, count) if settings.engine in REMOTES else None

    checked: list[Checked] = []

    def opened(spec: ModelSpec) -> Engine:
        engine = remote.open(spec) if remote else open_batched(spec, settings, count, telemetry)
        checked.append(Checked(engine))
        watched = Watched(checked[-1], partial(telemetry.inference, spec.name))
        engines, name, device = telemetry.engines, spec.name, settings.device
        engines.watch_queue(name, lambda: watched.queued)
        engines.watch_degraded(name, lambda: falls_short(watched.provider, device))
        engines.watch_failing(name, checked[-1].is_failing)
        engines.watch_model(name, spec.sha256, lambda: watched.provider)
        return watched

    catalog = open_catalog(settings.model_repository, settings.models, workers, opened)
    return OpenModels(catalog, workers, count, remote, tuple(checked))


def open_triton(settings: Settings, workers: int) -> Remote:
    """The server that runs the models, and batches: nothing of ours is in front of it."""
    assert settings.triton_url is not None  # or the settings would have been refused
    terms = Terms(
        url=settings.triton_url,
        device=settings.device,
        allow_degraded=settings.allow_degraded,
        request_timeout_s=settings.request_timeout_s,
        queue_timeout_s=settings.queue_timeout_s,
        max_in_flight=settings.queue_size_for(workers),
    )
    return open_remote(settings.engine, terms)


def open_parts(settings: Settings, telemetry: Telemetry) -> Parts:
    opened = open_models(settings, telemetry)
    door = Admission(max_requests=MAX_REQUESTS)
    telemetry.in_flight.set_function(lambda: door.requests)
    turns = open_turns(settings, opened.count)
    telemetry.line.watch(turns)
    most_streams = settings.max_streams_for(opened.count)
    streams = Streams(
        most=most_streams, most_per_caller=settings.max_streams_per_caller or most_streams
    )
    image_limits = ImageLimits(
        bytes=settings.max_body_bytes,
        pixels=settings.max_pixels,
        side=settings.max_side,
        aspect=settings.max_aspect,
    )
    return Parts(
        version=version(),
        catalog=opened.catalog,
        remote=opened.remote,
        engines=opened.engines,
        workers=opened.workers,
        live=Workers(opened.count),
        door=door,
        streams=streams,
        peers=Peers(webrtc_terms(settings), streams, telemetry),
        turns=turns,
        bodies=BodyBudget(BODIES_IN_FLIGHT * settings.max_body_bytes),
        telemetry=telemetry,
        keyring=Keyring(key.get_secret_value() for key in settings.api_keys),
        image_limits=image_limits,
        intake_limits=IntakeLimits(settings.max_body_bytes, settings.read_timeout_s),
        batch_limits=batch_limits(settings, opened.count),
        timeouts=Timeouts(settings.request_timeout_s, settings.queue_timeout_s),
        stream_limits=StreamLimits(
            message_bytes=settings.max_frame_bytes,
            idle_s=settings.stream_idle_s,
            max_s=settings.stream_max_s,
            frame_s=settings.request_timeout_s,
        ),
        frame_limits=replace(image_limits, pixels=min(settings.max_pixels, FRAME_PIXELS)),
        origins=settings.cors_origins,
    )


def open_turns(settings: Settings, workers: int) -> Turns:
    """For whoever brings photos: a stream has its own place, and no line."""
    return Turns(
        at_once=settings.photos_at_once_for(workers),
        max_pixels=settings.max_pixels_in_flight_for(workers),
        max_waiting=settings.queue_size_for(workers),
        max_wait_s=settings.queue_timeout_s,
    )


def batch_limits(settings: Settings, workers: int) -> BatchLimits:
    """A body that may be longer has longer to arrive; two photos a thread keep the engine busy."""
    longer = max(1.0, settings.max_batch_body_bytes / settings.max_body_bytes)
    return BatchLimits(
        images=settings.max_batch_images,
        form_bytes=settings.max_batch_body_bytes,
        image_bytes=settings.max_body_bytes,
        read_timeout_s=settings.read_timeout_s * longer,
        at_once=2 * workers,
    )


def webrtc_terms(settings: Settings) -> WebRTCTerms:
    """Raises ValueError for an ICE server that is not written as one."""
    return WebRTCTerms(
        hosts=settings.webrtc_hosts,
        ice_servers=tuple(
            read_ice_server(each.get_secret_value()) for each in settings.webrtc_ice_servers
        ),
        connect_s=settings.webrtc_connect_s,
        idle_s=settings.webrtc_idle_s,
        frame_s=settings.request_timeout_s,
        max_s=settings.stream_max_s,
        frame_pixels=min(settings.max_pixels, FRAME_PIXELS),
        low_latency=settings.webrtc_low_latency,
    )


def open_batched(
    spec: ModelSpec, settings: Settings, workers: int, telemetry: Telemetry
) -> Batcher:
    """The engine of one model in this process, behind the one batcher of its path."""
    return Batcher(
        open_local(spec, settings, workers),
        max_batch=settings.max_batch,
        max_queue=settings.queue_size_for(workers),
        queue_timeout_s=settings.queue_timeout_s,
        concurrency=workers,
        on_batch=partial(telemetry.engines.observe_batch, spec.name),
    )


def open_local(spec: ModelSpec, settings: Settings, workers: int) -> Engine:
    """On the device that was asked for, or on the fastest there is where that is allowed."""
    opened = partial(open_engine, settings.engine, spec, settings.model_repository, workers=workers)
    slower = DEVICES[: DEVICES.index(settings.device)] if settings.allow_degraded else ()
    *fast, last = (settings.device, *reversed(slower))
    for device in fast:
        try:
            return opened(device=device)
        except EngineFailed as error:
            log.warning("degraded: %s", error.detail)
    return opened(device=last)


async def drain(parts: Parts, timeout_s: float) -> None:
    """Refuses what is new, ends streams, waits for what is in work, then fails what is left."""
    parts.door.refuse()
    parts.streams.close()
    try:
        async with asyncio.timeout(timeout_s):
            await parts.door.idle()
            await parts.streams.idle()
    except TimeoutError:
        left = parts.door.requests, parts.streams.count
        log.warning("%d requests and %d streams did not finish in time", *left)
    await parts.catalog.close()


@asynccontextmanager
async def _lifespan(app: FastAPI, *, parts: Parts, drain_timeout_s: float) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, parts.telemetry.tracing.close)
        stack.callback(parts.workers.close)
        stack.callback(parts.live.close)
        stack.push_async_callback(drain, parts, drain_timeout_s)
        if parts.remote is not None:
            await _meet(parts.remote)
        for task in (_warm_up(parts), watch_loop(parts.telemetry.observe_lag)):
            stack.push_async_callback(_cancel, asyncio.create_task(task))
        yield


async def _meet(remote: Remote) -> None:
    """Refuses the start where the server's models are not ours. It may as well come later."""
    try:
        await remote.check()
    except EngineFailed as error:
        log.error("refusing to start: %s", error.detail)
        raise
    except Unavailable as error:
        log.warning("not there yet: %s (%r)", error.detail, error.__cause__)


async def _warm_up(parts: Parts) -> None:
    """In the background, so that `/livez` and `/readyz` answer from the first moment.

    What another server runs may be there later, or work later: that is tried until it does.
    """
    said = ""
    while not parts.catalog.ready:
        try:
            await parts.catalog.warm_up()
        except ServiceError as error:
            if parts.remote is None:
                _never_ready(parts)
                return
            if said != error.detail:
                log.warning("not ready: %s (%r)", error.detail, error.__cause__)
                said = error.detail
            await asyncio.sleep(WARM_UP_EVERY_S)
        except Exception:
            _never_ready(parts)
            return
    log.info("ready: %s", ", ".join(parts.catalog.names))
    await parts.peers.warm_up()


def _never_ready(parts: Parts) -> None:
    parts.warm_up_failed = True
    log.exception("a model failed its warm-up: not ready")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _add_middleware(app: FastAPI, cors_origins: tuple[str, ...], telemetry: Telemetry) -> None:
    """What is added last is outermost."""
    app.add_middleware(problems.Unexpected)
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
    keyed = [Depends(require_key)]
    app.include_router(segment.router, dependencies=keyed)
    app.include_router(batch.router, dependencies=keyed)
    app.include_router(removebg.router, dependencies=keyed)
    app.include_router(models.router, dependencies=keyed)
    app.include_router(webrtc.router, dependencies=keyed)
    app.include_router(inference.router)
    app.include_router(stream.router)
    app.include_router(health.router)
    app.include_router(page.router)
    app.mount("/web", page.PageFiles(), name="web")
    app.openapi = partial(_openapi, app.openapi)  # type: ignore[method-assign]


def _openapi(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """FastAPI's document with the schemas that no route names as its model."""
    document = generate()
    document["components"]["schemas"].update(describe.SCHEMAS)
    return document
