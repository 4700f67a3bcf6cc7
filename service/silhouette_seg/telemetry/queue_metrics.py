"""Prometheus metrics of the queue of photos."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge


class QueueMetrics:
    """Prometheus gauges of the photo queue; their values are read on each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued = Gauge(
            "silhouette_photos_waiting", "Photos in the queue, undecoded.", registry=registry
        )
        self._running = Gauge(
            "silhouette_photos_working", "Photos being processed.", registry=registry
        )
        self._running_pixels = Gauge(
            "silhouette_pixels_working", "Pixels of the photos being processed.", registry=registry
        )
        self._estimated_wait = Gauge(
            "silhouette_foretold_wait_seconds",
            "Estimated wait of a new photo; above the limit photos are rejected.",
            registry=registry,
        )

    def track(
        self,
        *,
        queued: Callable[[], int],
        running: Callable[[], int],
        running_pixels: Callable[[], int],
        estimated_wait_s: Callable[[], float],
    ) -> None:
        """Sets the functions that return the current values: photos, pixels, and seconds."""
        self._queued.set_function(queued)
        self._running.set_function(running)
        self._running_pixels.set_function(running_pixels)
        self._estimated_wait.set_function(estimated_wait_s)
