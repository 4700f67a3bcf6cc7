"""The metrics of one application; docs/metrics.md says what each is for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
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

from silhouette_seg.telemetry.engine_metrics import EngineMetrics
from silhouette_seg.telemetry.image_metrics import Found, ImageKind, ImageMetrics
from silhouette_seg.telemetry.queue_metrics import QueueMetrics
from silhouette_seg.telemetry.tracing import InferenceSpan, NoOpTracing, Tracing

REQUEST_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
"""A refusal takes a millisecond or two, a photo tens to hundreds; the deadline is ten seconds."""
FRAME_BUCKETS = (0.005, 0.01, 0.02, 0.033, 0.05, 0.066, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Among them one and two frames of a camera with thirty a second."""
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
Transport = Literal["websocket", "webrtc"]
METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Content type of `Telemetry.exposition`."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, when it is over."""

    route: str
    """The pattern, never the path that a client sent: labels must stay few."""
    status: int
    code: str = "ok"
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


class Telemetry:
    """All that is counted, in a registry of their own; and who is told of traces.

    Nothing in it is a pixel, a name, a key or an address.
    """

    def __init__(self, tracing: Tracing | None = None) -> None:
        self.registry = CollectorRegistry()
        self.tracing = tracing or NoOpTracing()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._images = ImageMetrics(self.registry)
        self.engines = EngineMetrics(self.registry)
        self.line = QueueMetrics(self.registry)
        self._add_requests()
        self._add_streams()
        self._add_process()

    def _add_requests(self) -> None:
        self._requests = Counter(
            "silhouette_requests",
            "Requests answered; `code` is that of the problem, `ok` without one.",
            ("route", "status", "code"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "silhouette_request_seconds",
            "From the head of a request to the end of its answer, its body's arrival included.",
            ("route",),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._request_bytes = Counter(
            "silhouette_request_bytes", "Of bodies.", ("route",), registry=self.registry
        )
        self._response_bytes = Counter(
            "silhouette_response_bytes", "Of bodies.", ("route",), registry=self.registry
        )
        self._batch_photos = Counter(
            "silhouette_batch_photos",
            "Photos of batches by the answer that each had; the request itself is a 200.",
            ("status", "code"),
            registry=self.registry,
        )
        # Cached: to look labels up costs more than to count.
        self._count_of = cache(self._requests.labels)
        self._seconds_of = cache(self._request_seconds.labels)
        self._bytes_in_of = cache(self._request_bytes.labels)
        self._bytes_out_of = cache(self._response_bytes.labels)
        self.requests_in_flight = Gauge(
            "silhouette_requests_in_flight", "Requests in work.", registry=self.registry
        )

    def _add_streams(self) -> None:
        self._streams = Gauge(
            "silhouette_streams",
            "Streams of live video.",
            ("transport",),
            registry=self.registry,
        )
        self._ended = Counter(
            "silhouette_streams_ended",
            "Streams that are over or were refused, by why.",
            ("transport", "reason"),
            registry=self.registry,
        )
        for transport in get_args(Transport):
            self._streams.labels(transport)  # none is 0, not nothing
        self._frames = Counter(
            "silhouette_frames",
            "Frames of streams; `outcome` is result, skipped or error.",
            ("transport", "outcome"),
            registry=self.registry,
        )
        self._frame_seconds = Histogram(
            "silhouette_frame_seconds",
            "Age of a frame when its result is ready, since it arrived here.",
            ("transport",),
            buckets=FRAME_BUCKETS,
            registry=self.registry,
        )

    def _add_process(self) -> None:
        self._info = Info("silhouette", "The release that runs.", registry=self.registry)
        self._ready = Gauge(
            "silhouette_ready",
            "1 from the end of the warm-up until the service stops.",
            registry=self.registry,
        )
        self._lag = Histogram(
            "silhouette_loop_lag_seconds",
            "By how much the event loop was late, asked ten times a second.",
            buckets=LAG_BUCKETS,
            registry=self.registry,
        )

    def set_version(self, version: str) -> None:
        self._info.info({"version": version})

    def count_request(self, answered: RequestRecord) -> None:
        route = answered.route
        self._count_of(route, answered.status, answered.code).inc()
        self._seconds_of(route).observe(answered.seconds)
        self._bytes_in_of(route).inc(answered.bytes_in)
        self._bytes_out_of(route).inc(answered.bytes_out)

    def count_batch_photo(self, status: int, code: str) -> None:
        self._batch_photos.labels(status, code).inc()

    @contextmanager
    def track_stream(self, transport: Transport) -> Iterator[None]:
        """One more, until the block ends."""
        with self._streams.labels(transport).track_inprogress():
            yield

    def count_stream_end(self, transport: Transport, reason: str) -> None:
        """Of a stream; `reason` is one of ours, never a peer's words."""
        self._ended.labels(transport, reason).inc()

    def count_frame(self, transport: Transport, outcome: str) -> None:
        self._frames.labels(transport, outcome).inc()

    def observe_frame_age(self, transport: Transport, seconds: float) -> None:
        """From its arrival to its result."""
        self._frame_seconds.labels(transport).observe(seconds)

    def observe_image(
        self, model: str, stages: Mapping[str, float], found: Found, *, kind: ImageKind = "photo"
    ) -> None:
        """Seconds by stage, and what was found."""
        self.observe_stages(model, stages, kind=kind)
        self._images.observe_mask(model, kind, found)

    def observe_stages(
        self, model: str, stages: Mapping[str, float], *, kind: ImageKind = "photo"
    ) -> None:
        """Seconds by stage, of an image that is done now; in the metrics and in the trace."""
        self._images.observe_stages(model, kind, stages)
        self.tracing.record_stages(model, stages)

    @contextmanager
    def track_inference(self, model: str) -> Iterator[InferenceSpan]:
        """Around one call of an engine: what it raises is counted."""
        with self.tracing.inference_span(model) as span:
            try:
                yield span
            except Exception as error:
                self.engines.count_failure(model, error)
                raise

    def observe_loop_lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def track_ready(self, ready: Callable[[], bool]) -> None:
        """Asks `ready` whenever the metrics are read."""
        self._ready.set_function(ready)

    def snapshot(self) -> Callable[[], bytes]:
        """As of now, what writes the answer to `GET /metrics`: for a thread, it takes twice as
        long as to read, and nothing else would be answered meanwhile.
        """
        return partial(generate_latest, _Snapshot(tuple(self.registry.collect())))

    def exposition(self) -> bytes:
        """What `GET /metrics` answers."""
        return self.snapshot()()


@dataclass(frozen=True, slots=True)
class _Snapshot(Collector):
    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        return self.families


def server_timing(stages: Mapping[str, float]) -> str:
    """The value of `Server-Timing`: seconds in, milliseconds out, in the order given."""
    return ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in stages.items())
