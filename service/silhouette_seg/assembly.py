"""Builds the running service from its settings: models, limits and telemetry."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from silhouette_seg import __version__
from silhouette_seg.admission.body_memory import BodyMemoryBudget
from silhouette_seg.admission.keys import Keyring
from silhouette_seg.admission.photo_queue import PhotoQueue
from silhouette_seg.admission.request_limit import RequestLimiter
from silhouette_seg.admission.stream_limit import StreamLimiter, StreamLimits
from silhouette_seg.api.forwarding import Forwarder
from silhouette_seg.api.gateway import Gateway, Timeouts
from silhouette_seg.api.request.uploads import BatchLimits, UploadLimits
from silhouette_seg.engine import INFERENCE_SERVERS
from silhouette_seg.engine.base import Engine, is_degraded
from silhouette_seg.engine.health import HealthCheckedEngine
from silhouette_seg.engine.instrumented import InstrumentedEngine
from silhouette_seg.engine.statistics import BatchCountingEngine, ModelStatistics
from silhouette_seg.loading import LoadedModels, create_batcher, create_remote, load_engine
from silhouette_seg.pipeline.registry import load_registry
from silhouette_seg.runtime.cpu_quota import available_cpus
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.settings import Settings
from silhouette_seg.spec import ModelSpec
from silhouette_seg.streaming.image_frame import MAX_FRAME_PIXELS
from silhouette_seg.streaming.webrtc.config import WebRTCConfig, parse_ice_server
from silhouette_seg.streaming.webrtc.registry import PeerRegistry
from silhouette_seg.telemetry import Telemetry
from silhouette_seg.vision.codec.decode import ImageLimits

MAX_REQUESTS = 1024
"""Largest number of HTTP requests in progress, including those with a body that is still arriving.

`MAX_BODIES_IN_MEMORY` bounds the memory of their bodies.
"""
MAX_BODIES_IN_MEMORY = 16
"""Number of request bodies of the largest size that may be in memory together."""


def load_models(
    settings: Settings, telemetry: Telemetry, group: ProcessGroup | None = None
) -> LoadedModels:
    """Loads the configured models into this process, or opens them on an inference server.

    Registers their metrics in `telemetry`. No thread starts yet, so that the process can fork.
    Raises the errors of `load_registry`, and those of `Settings.workers_for`.
    """
    group = group or ProcessGroup()
    threads = settings.workers_for(available_cpus()) // group.count
    pool = ThreadPool(threads, start=False)
    remote = create_remote(settings, threads) if settings.engine in INFERENCE_SERVERS else None
    checked: list[HealthCheckedEngine] = []
    statistics: dict[str, ModelStatistics] = {}

    def load(spec: ModelSpec) -> Engine:
        own = statistics[spec.name] = ModelStatistics(spec, group)
        if remote is None:
            counted = BatchCountingEngine(load_engine(spec, settings, threads), own)
            on_batch = partial(telemetry.engines.observe_batch, spec.name)
            engine: Engine = create_batcher(counted, settings, threads, on_batch, group)
        else:
            engine = remote.open_engine(spec)
        checked.append(HealthCheckedEngine(engine))
        instrumented = InstrumentedEngine(
            checked[-1], partial(telemetry.track_inference, spec.name), own
        )
        engines, name, device = telemetry.engines, spec.name, settings.device
        engines.track_queue_depth(name, lambda: instrumented.queued)
        engines.track_degraded(name, lambda: is_degraded(instrumented.provider, device))
        engines.track_model(name, spec.sha256, lambda: instrumented.provider)
        return instrumented

    registry = load_registry(settings.model_repository, settings.models, pool, load)
    return LoadedModels(registry, pool, threads, remote, tuple(checked), statistics)


def create_gateway(
    settings: Settings, telemetry: Telemetry, group: ProcessGroup, shared_folder: Path | None
) -> Gateway:
    """Builds the running service: models, queues, limits and metrics, as one `Gateway`.

    Several processes find the sockets of one another in `shared_folder`.

    Raises the errors of `load_registry`, and ValueError for a malformed ICE server in the settings.
    """
    models = load_models(settings, telemetry, group)
    workers = group.count * models.threads
    requests = RequestLimiter(max_requests=MAX_REQUESTS, group=group)
    telemetry.requests_in_flight.set_function(lambda: requests.count)
    photo_queue = create_photo_queue(settings, workers, group)
    telemetry.photo_queue.track(
        queued=lambda: photo_queue.queued,
        running=lambda: photo_queue.running,
        running_pixels=lambda: photo_queue.running_pixels,
        estimated_wait_s=lambda: photo_queue.estimated_wait_s,
    )
    max_streams = settings.max_streams_for(workers)
    streams = StreamLimiter(
        max_streams=max_streams,
        max_per_caller=settings.max_streams_per_caller or max_streams,
        workers=workers,
        group=group,
    )
    image_limits = ImageLimits(
        bytes=settings.max_body_bytes,
        pixels=settings.max_pixels,
        side=settings.max_side,
        aspect=settings.max_aspect,
    )
    gateway = Gateway(
        version=__version__,
        registry=models.registry,
        group=group,
        remote=models.remote,
        engines=models.engines,
        statistics=models.statistics,
        photo_pool=models.pool,
        stream_pool=ThreadPool(models.threads, start=False),
        requests=requests,
        streams=streams,
        webrtc=PeerRegistry(webrtc_config(settings), streams, telemetry, group),
        photo_queue=photo_queue,
        body_memory=BodyMemoryBudget(MAX_BODIES_IN_MEMORY * settings.max_body_bytes, group),
        telemetry=telemetry,
        keyring=Keyring(key.get_secret_value() for key in settings.api_keys),
        image_limits=image_limits,
        upload_limits=UploadLimits(settings.max_body_bytes, settings.read_timeout_s),
        batch_limits=batch_limits(settings, models.threads),
        timeouts=Timeouts(settings.request_timeout_s, settings.queue_timeout_s),
        stream_limits=StreamLimits(
            max_message_bytes=settings.max_frame_bytes,
            idle_timeout_s=settings.stream_idle_s,
            max_duration_s=settings.stream_max_s,
            frame_timeout_s=settings.request_timeout_s,
        ),
        frame_limits=replace(image_limits, pixels=min(settings.max_pixels, MAX_FRAME_PIXELS)),
        allowed_origins=settings.cors_origins,
    )
    if shared_folder is not None:
        gateway.forwarder = Forwarder(
            group, gateway.process_health, shared_folder, settings.request_timeout_s
        )
    for name in gateway.process_health.models:
        telemetry.engines.track_failing(name, partial(gateway.is_failing, name))
    return gateway


def create_photo_queue(settings: Settings, workers: int, group: ProcessGroup) -> PhotoQueue:
    """Returns the queue of photos with the limits for `workers` threads of all processes.

    Frames of video streams do not pass through it.
    """
    return PhotoQueue(
        max_running=settings.photos_at_once_for(workers),
        max_pixels=settings.max_pixels_in_flight_for(workers),
        max_queued=settings.queue_size_for(workers),
        max_wait_s=settings.queue_timeout_s,
        group=group,
    )


def batch_limits(settings: Settings, workers: int) -> BatchLimits:
    """Returns the limits of a request to `POST /v1/segment/batch` for `workers` threads.

    The body has more time to arrive than a single photo, in proportion to its size limit. Two
    photos per thread are processed at a time, which keeps the model busy.
    """
    size_ratio = max(1.0, settings.max_batch_body_bytes / settings.max_body_bytes)
    return BatchLimits(
        images=settings.max_batch_images,
        form_bytes=settings.max_batch_body_bytes,
        image_bytes=settings.max_body_bytes,
        read_timeout_s=settings.read_timeout_s * size_ratio,
        concurrency=2 * workers,
    )


def webrtc_config(settings: Settings) -> WebRTCConfig:
    """Returns the configuration of WebRTC streams.

    Raises ValueError for a malformed URL of an ICE server.
    """
    return WebRTCConfig(
        hosts=settings.webrtc_hosts,
        ice_servers=tuple(
            parse_ice_server(url.get_secret_value()) for url in settings.webrtc_ice_servers
        ),
        connect_timeout_s=settings.webrtc_connect_s,
        idle_timeout_s=settings.webrtc_idle_s,
        frame_timeout_s=settings.request_timeout_s,
        max_duration_s=settings.stream_max_s,
        max_frame_pixels=min(settings.max_pixels, MAX_FRAME_PIXELS),
        low_latency=settings.webrtc_low_latency,
    )
