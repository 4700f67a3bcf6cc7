"""The metrics of the line in which photos wait for their turn."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge


class Watched(Protocol):
    """What tells of the line whenever the metrics are read."""

    @property
    def queued(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def running_pixels(self) -> int: ...
    @property
    def estimated_wait_s(self) -> float: ...


class QueueMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge(
            "silhouette_photos_waiting", "Photos in line, undecoded.", registry=registry
        )
        self._working = Gauge(
            "silhouette_photos_working", "Photos whose turn it is.", registry=registry
        )
        self._pixels = Gauge("silhouette_pixels_working", "Of those photos.", registry=registry)
        self._wait = Gauge(
            "silhouette_foretold_wait_seconds",
            "For a turn, by who comes now; over the limit photos are refused.",
            registry=registry,
        )

    def watch(self, line: Watched) -> None:
        self._waiting.set_function(lambda: line.queued)
        self._working.set_function(lambda: line.running)
        self._pixels.set_function(lambda: line.running_pixels)
        self._wait.set_function(lambda: line.estimated_wait_s)
