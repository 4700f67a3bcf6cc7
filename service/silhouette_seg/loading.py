"""Opens the configured models: in this process, or on an inference server."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from silhouette_seg.engine import INFERENCE_SERVERS, open_engine, open_inference_server
from silhouette_seg.engine.base import SLOWER_DEVICES, Engine, InferenceServer, TritonConfig
from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.health import HealthCheckedEngine
from silhouette_seg.engine.lazy import LazyEngine
from silhouette_seg.engine.statistics import ModelStatistics
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.registry import ModelRegistry, load_registry
from silhouette_seg.runtime.cpu_quota import available_cpus
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.settings import Settings
from silhouette_seg.spec import ModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The models of a process, and the threads and engines that run them."""

    registry: ModelRegistry
    pool: ThreadPool
    """Threads for decoding, rendering, and the pixel work before and after a model."""
    threads: int
    """Number of threads in `pool`."""
    remote: InferenceServer | None
    """Client of the inference server that runs the models; None if they run in this process."""
    engines: tuple[HealthCheckedEngine, ...] = ()
    """The engine of each model of a service, including the face detector's."""
    statistics: Mapping[str, ModelStatistics] = field(default_factory=dict)
    """Statistics of each model of a service by its name."""
    lazy: Mapping[str, LazyEngine] = field(default_factory=dict)
    """Models, by name, that are loaded at their first inference."""

    def load(self, name: str) -> None:
        """Loads a model unless it is loaded. Raises the errors of `load_engine`."""
        if name in self.lazy:
            self.lazy[name].load()


def open_models(settings: Settings) -> LoadedModels:
    """Returns the configured models for a command, without metrics.

    A model of this process is loaded at its first inference, which blocks and raises the errors of
    `load_engine`. Raises the errors of `load_registry`.
    """
    threads = settings.workers or available_cpus()
    remote = create_remote(settings, threads) if settings.engine in INFERENCE_SERVERS else None

    lazy: dict[str, LazyEngine] = {}

    def open_model(spec: ModelSpec) -> Engine:
        if remote is not None:
            return HealthCheckedEngine(remote.open_engine(spec))
        lazy[spec.name] = LazyEngine(spec, partial(load_engine, spec, settings, threads))
        return HealthCheckedEngine(create_batcher(lazy[spec.name], settings, threads))

    pool = ThreadPool(threads)
    registry = load_registry(settings.model_repository, settings.models, pool, open_model)
    return LoadedModels(registry, pool, threads, remote, lazy=lazy)


def create_remote(settings: Settings, workers: int) -> InferenceServer:
    """Returns a client of the inference server at `settings.triton_url`.

    `workers` is the number of threads, from which the limit of concurrent requests follows. The
    server forms batches itself, so no `Batcher` is used here.
    """
    assert settings.triton_url is not None  # Settings requires it with this engine
    config = TritonConfig(
        url=settings.triton_url,
        device=settings.device,
        allow_degraded=settings.allow_degraded,
        request_timeout_s=settings.request_timeout_s,
        queue_timeout_s=settings.queue_timeout_s,
        max_in_flight=settings.queue_size_for(workers),
    )
    return open_inference_server(settings.engine, config)


def create_batcher(
    engine: Engine,
    settings: Settings,
    workers: int,
    on_batch: Callable[[int], object] | None = None,
    group: ProcessGroup | None = None,
) -> Batcher:
    """Returns an engine of this process wrapped in a `Batcher`.

    The batcher joins waiting images into batches, and runs up to `workers` batches at a time. No
    other part of the process forms batches for this model. `on_batch` receives the number of rows
    of each batch. `workers` is of this process, and the size of the queue of all in `group`.
    """
    return Batcher(
        engine,
        max_batch=settings.max_batch,
        max_queue=settings.queue_size_for(workers * (group.count if group else 1)),
        queue_timeout_s=settings.queue_timeout_s,
        concurrency=workers,
        on_batch=on_batch,
        group=group,
    )


def load_engine(spec: ModelSpec, settings: Settings, workers: int) -> Engine:
    """Loads one model on the configured device and returns the engine that runs it.

    With `allow_degraded` it falls back to the fastest slower device that works, and logs a
    warning. Raises EngineFailed if no allowed device works.
    """
    load = partial(open_engine, settings.engine, spec, settings.model_repository, workers=workers)
    slower = SLOWER_DEVICES[settings.device] if settings.allow_degraded else ()
    *preferred, last = (settings.device, *slower)
    for device in preferred:
        try:
            return load(device=device)
        except EngineFailed as error:
            log.warning("degraded: %s", error.detail)
    return load(device=last)
