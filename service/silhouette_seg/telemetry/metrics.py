"""Prometheus metrics of the service. docs/metrics.md explains each."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.telemetry.engine_metrics import EngineMetrics
from silhouette_seg.telemetry.image_metrics import ImageKind, ImageMetrics, MaskMeasurements
from silhouette_seg.telemetry.process_metrics import ServerProcessCollector, merge_processes
from silhouette_seg.telemetry.queue_metrics import QueueMetrics
from silhouette_seg.telemetry.tracing import InferenceSpan, NoOpTracing, Tracing

REQUEST_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
"""Histogram bounds of the duration of a request, in seconds.

A rejection takes a millisecond or two, a photo tens to hundreds; the deadline is ten seconds.
"""
FRAME_BUCKETS_S = (0.005, 0.01, 0.02, 0.033, 0.05, 0.066, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Histogram bounds of the age of a frame at its result, in seconds.

They include one and two frame intervals of a camera at thirty frames a second.
"""
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
Transport = Literal["websocket", "webrtc"]
METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Content-Type of the text that `Telemetry.snapshot` formats."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """Measurements of a finished HTTP request: route, status, code, duration and byte counts."""

    route: str
    """Pattern of the route, such as `/v2/models/{model}`.

    It is never the path that the client sent: the values of a label must stay few.
    """
    status: int
    code: str = "ok"
    """Code of the error with which the request ended, or `ok`."""
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


class Telemetry:
    """All Prometheus metrics of one application, and its tracing.

    The metrics are in a registry of their own. No metric or trace contains a pixel, a name, a key
    or an address.

    With several processes, `shared_folder` is the folder of `share_counters`. The metrics are then
    those of the whole server.
    """

    def __init__(
        self,
        tracing: Tracing | None = None,
        group: ProcessGroup | None = None,
        shared_folder: Path | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.tracing = tracing or NoOpTracing()
        self._group = group or ProcessGroup()
        self._shared_folder = shared_folder
        PlatformCollector(registry=self.registry)
        if shared_folder is None:
            ProcessCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        self._images = ImageMetrics(self.registry)
        self.engines = EngineMetrics(self.registry)
        self.photo_queue = QueueMetrics(self.registry)
        self._add_request_metrics()
        self._add_stream_metrics()
        self._add_process_metrics()

    def _add_request_metrics(self) -> None:
        self._requests = Counter(
            "silhouette_requests",
            "Requests answered; `code` is the error code, or `ok`.",
            ("route", "status", "code"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "silhouette_request_seconds",
            "From the head of a request to the end of its response, upload of the body included.",
            ("route",),
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self._request_bytes = Counter(
            "silhouette_request_bytes",
            "Bytes of request bodies.",
            ("route",),
            registry=self.registry,
        )
        self._response_bytes = Counter(
            "silhouette_response_bytes",
            "Bytes of response bodies.",
            ("route",),
            registry=self.registry,
        )
        self._batch_photos = Counter(
            "silhouette_batch_photos",
            "Photos of batches by their own status; the request itself is a 200.",
            ("status", "code"),
            registry=self.registry,
        )
        # Cached: the lookup of labels costs more than the count.
        self._count_of = cache(self._requests.labels)
        self._seconds_of = cache(self._request_seconds.labels)
        self._bytes_in_of = cache(self._request_bytes.labels)
        self._bytes_out_of = cache(self._response_bytes.labels)
        self.requests_in_flight = Gauge(
            "silhouette_requests_in_flight", "Requests in progress.", registry=self.registry
        )

    def _add_stream_metrics(self) -> None:
        self._streams = Gauge(
            "silhouette_streams",
            "Open streams of live video.",
            ("transport",),
            registry=self.registry,
        )
        self._streams_ended = Counter(
            "silhouette_streams_ended",
            "Streams that ended or were rejected, by reason.",
            ("transport", "reason"),
            registry=self.registry,
        )
        self._open_streams = {
            transport: self._group.counter(f"streams {transport}")
            for transport in get_args(Transport)
        }
        for transport, count in self._open_streams.items():
            self._streams.labels(transport).set_function(partial(getattr, count, "total"))
        self._frames = Counter(
            "silhouette_frames",
            "Frames of streams; `outcome` is result, skipped or error.",
            ("transport", "outcome"),
            registry=self.registry,
        )
        self._frame_seconds = Histogram(
            "silhouette_frame_seconds",
            "Age of a frame at its result, since it arrived.",
            ("transport",),
            buckets=FRAME_BUCKETS_S,
            registry=self.registry,
        )

    def _add_process_metrics(self) -> None:
        self._info = Info("silhouette", "Version of the release.", registry=self.registry)
        self._ready = Gauge(
            "silhouette_ready",
            "1 from the end of the warm-up until the service stops.",
            registry=self.registry,
        )
        self._lag = Histogram(
            "silhouette_loop_lag_seconds",
            "Lag of the event loop, sampled ten times a second.",
            buckets=LAG_BUCKETS_S,
            registry=self.registry,
        )

        self._processes = Gauge(
            "silhouette_processes", "Server processes that are ready.", registry=self.registry
        )
        self._restarts = Counter(
            "silhouette_process_restarts",
            "Restarts of server processes that ended unexpectedly.",
            registry=self.registry,
        )

    def set_version(self, version: str) -> None:
        self._info.info({"version": version})

    def count_request(self, request: RequestRecord) -> None:
        route = request.route
        self._count_of(route, request.status, request.code).inc()
        self._seconds_of(route).observe(request.seconds)
        self._bytes_in_of(route).inc(request.bytes_in)
        self._bytes_out_of(route).inc(request.bytes_out)

    def count_batch_photo(self, status: int, code: str) -> None:
        self._batch_photos.labels(status, code).inc()

    @contextmanager
    def track_stream(self, transport: Transport) -> Iterator[None]:
        """Counts a video stream as open until the block ends."""
        self._open_streams[transport].add(1)
        try:
            yield
        finally:
            self._open_streams[transport].add(-1)

    def count_stream_end(self, transport: Transport, reason: str) -> None:
        """Counts the end of a video stream by transport and reason.

        `reason` is a text of the service, never of a client. Values such as "it had its time" are
        part of the contract.
        """
        self._streams_ended.labels(transport, reason).inc()

    def count_frame(self, transport: Transport, outcome: str) -> None:
        self._frames.labels(transport, outcome).inc()

    def observe_frame_age(self, transport: Transport, seconds: float) -> None:
        """Records the seconds from the arrival of a video frame to its result."""
        self._frame_seconds.labels(transport).observe(seconds)

    def observe_image(
        self,
        model: str,
        stages: Mapping[str, float],
        mask: MaskMeasurements,
        *,
        kind: ImageKind = "photo",
    ) -> None:
        """Records a segmented image: seconds by stage, and the measurements of its mask."""
        self.observe_stages(model, stages, kind=kind)
        self._images.observe_mask(model, kind, mask)

    def observe_stages(
        self, model: str, stages: Mapping[str, float], *, kind: ImageKind = "photo"
    ) -> None:
        """Records the seconds of each stage of an image, by name, in metrics and trace."""
        self._images.observe_stages(model, kind, stages)
        self.tracing.record_stages(model, stages)

    @contextmanager
    def track_inference(self, model: str) -> Iterator[InferenceSpan]:
        """Yields a trace span for one inference; counts an exception of the block as a failure."""
        with self.tracing.inference_span(model) as span:
            try:
                yield span
            except Exception as error:
                self.engines.count_failure(model, error)
                raise

    def observe_loop_lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def track_ready(self, is_ready: Callable[[], bool]) -> None:
        """Sets the function that returns the value of the metric `silhouette_ready` per scrape."""
        self._ready.set_function(is_ready)

    def track_processes(self, ready: Callable[[], int], pids: Callable[[], list[int]]) -> None:
        """Sets the functions that return the number of ready processes, and their system ids.

        It is called in the supervisor, if there is one.
        """
        self._processes.set_function(ready)
        if self._shared_folder is not None:
            self.registry.register(ServerProcessCollector(os.getpid(), pids))

    def count_restart(self) -> None:
        self._restarts.inc()

    def snapshot(self) -> Callable[[], bytes]:
        """Reads all metrics, and returns a function that formats them as text for `GET /metrics`.

        Formatting takes twice as long as reading. Call the function in a thread, so that the event
        loop stays free.
        """
        own = tuple(self.registry.collect())
        if self._shared_folder is None:
            return partial(generate_latest, _Snapshot(own))
        folder = self._shared_folder
        return lambda: generate_latest(_Snapshot(tuple(merge_processes(own, folder))))


@dataclass(frozen=True, slots=True)
class _Snapshot(Collector):
    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        return self.families


def server_timing(stages: Mapping[str, float]) -> str:
    """Returns a `Server-Timing` header for seconds by stage, such as `decode;dur=1.50`.

    Its values are milliseconds, in the order of the stages.
    """
    return ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in stages.items())
