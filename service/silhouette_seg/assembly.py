"""Builds the running service from its settings: models, limits and telemetry."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from silhouette_seg.admission.body_memory import BodyMemoryBudget
from silhouette_seg.admission.keys import Keyring
from silhouette_seg.admission.photo_queue import Turns
from silhouette_seg.admission.request_limit import Admission
from silhouette_seg.admission.stream_limit import StreamLimits, Streams
from silhouette_seg.api.gateway import Gateway, Timeouts
from silhouette_seg.api.request.uploads import BatchLimits, UploadLimits
from silhouette_seg.engine import INFERENCE_SERVERS, open_engine, open_inference_server
from silhouette_seg.engine.base import DEVICES, Engine, InferenceServer, TritonConfig, is_degraded
from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.health import HealthCheckedEngine
from silhouette_seg.engine.instrumented import InstrumentedEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.registry import ModelRegistry, load_registry
from silhouette_seg.runtime.cpu_quota import usable_cpus
from silhouette_seg.runtime.thread_pool import Workers
from silhouette_seg.settings import Settings
from silhouette_seg.spec import ModelSpec
from silhouette_seg.streaming.image_frame import FRAME_PIXELS
from silhouette_seg.streaming.webrtc.config import Terms as WebRTCTerms
from silhouette_seg.streaming.webrtc.config import read_ice_server
from silhouette_seg.streaming.webrtc.registry import Peers
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageLimits

log = logging.getLogger(__name__)


MAX_REQUESTS = 1024
"""Requests whose bodies may be arriving or in work; what they hold is bounded by its size."""


BODIES_IN_FLIGHT = 16
"""How many bodies of the largest size may be in memory."""


def version() -> str:
    try:
        return installed_version("silhouette-seg")
    except PackageNotFoundError:
        return "0+source"


@dataclass(frozen=True, slots=True)
class OpenModels:
    """The registry, and the threads that it shares with whoever decodes and renders."""

    registry: ModelRegistry
    workers: Workers
    count: int
    """Number of threads."""
    remote: InferenceServer | None
    """What runs the models, where that is not us."""
    engines: tuple[HealthCheckedEngine, ...] = ()
    """One for each model."""


def open_models(settings: Settings, telemetry: Telemetry) -> OpenModels:
    """Loads the weights, or says where they are; raises what `load_registry` raises."""
    count = settings.workers or usable_cpus()
    workers = Workers(count)
    remote = open_triton(settings, count) if settings.engine in INFERENCE_SERVERS else None

    checked: list[HealthCheckedEngine] = []

    def opened(spec: ModelSpec) -> Engine:
        engine = (
            remote.open_engine(spec) if remote else open_batched(spec, settings, count, telemetry)
        )
        checked.append(HealthCheckedEngine(engine))
        watched = InstrumentedEngine(checked[-1], partial(telemetry.track_inference, spec.name))
        engines, name, device = telemetry.engines, spec.name, settings.device
        engines.track_queue_depth(name, lambda: watched.queued)
        engines.track_degraded(name, lambda: is_degraded(watched.provider, device))
        engines.track_failing(name, checked[-1].is_failing)
        engines.track_model(name, spec.sha256, lambda: watched.provider)
        return watched

    registry = load_registry(settings.model_repository, settings.models, workers, opened)
    return OpenModels(registry, workers, count, remote, tuple(checked))


def open_triton(settings: Settings, workers: int) -> InferenceServer:
    """The server that runs the models, and batches: nothing of ours is in front of it."""
    assert settings.triton_url is not None  # or the settings would have been refused
    config = TritonConfig(
        url=settings.triton_url,
        device=settings.device,
        allow_degraded=settings.allow_degraded,
        request_timeout_s=settings.request_timeout_s,
        queue_timeout_s=settings.queue_timeout_s,
        max_in_flight=settings.queue_size_for(workers),
    )
    return open_inference_server(settings.engine, config)


def build_gateway(settings: Settings, telemetry: Telemetry) -> Gateway:
    opened = open_models(settings, telemetry)
    door = Admission(max_requests=MAX_REQUESTS)
    telemetry.requests_in_flight.set_function(lambda: door.requests)
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
    return Gateway(
        version=version(),
        registry=opened.registry,
        remote=opened.remote,
        engines=opened.engines,
        workers=opened.workers,
        stream_workers=Workers(opened.count),
        requests=door,
        streams=streams,
        webrtc=Peers(webrtc_terms(settings), streams, telemetry),
        photo_queue=turns,
        body_memory=BodyMemoryBudget(BODIES_IN_FLIGHT * settings.max_body_bytes),
        telemetry=telemetry,
        keyring=Keyring(key.get_secret_value() for key in settings.api_keys),
        image_limits=image_limits,
        upload_limits=UploadLimits(settings.max_body_bytes, settings.read_timeout_s),
        batch_limits=batch_limits(settings, opened.count),
        timeouts=Timeouts(settings.request_timeout_s, settings.queue_timeout_s),
        stream_limits=StreamLimits(
            message_bytes=settings.max_frame_bytes,
            idle_s=settings.stream_idle_s,
            max_s=settings.stream_max_s,
            frame_s=settings.request_timeout_s,
        ),
        frame_limits=replace(image_limits, pixels=min(settings.max_pixels, FRAME_PIXELS)),
        allowed_origins=settings.cors_origins,
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
        concurrency=2 * workers,
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
