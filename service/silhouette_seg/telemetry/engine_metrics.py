"""The metrics of what runs the models: what it is, who waits for it, how it fails."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class EngineMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued = Gauge(
            "silhouette_queue_depth",
            "Images that wait for the engine.",
            ("model",),
            registry=registry,
        )
        self._degraded = Gauge(
            "silhouette_engine_degraded",
            "1 unless the device asked for, or a faster one, is known to run the model.",
            ("model",),
            registry=registry,
        )
        self._batch_rows = Histogram(
            "silhouette_batch_rows",
            "Images that shared one run.",
            ("model",),
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "silhouette_engine_failures",
            "Inferences that gave no result; `code` is that of the problem.",
            ("model", "code"),
            registry=registry,
        )
        self._failing = Gauge(
            "silhouette_engine_failing",
            "1 while the model fails again and again, and `/readyz` with it.",
            ("model",),
            registry=registry,
        )
        self._models = _ModelInfo()
        registry.register(self._models)

    def observe_batch(self, model: str, rows: int) -> None:
        self._batch_rows.labels(model).observe(rows)

    def count_failure(self, model: str, error: Exception) -> None:
        code = getattr(error, "code", None)
        self._failures.labels(model, code if isinstance(code, str) else "internal").inc()

    def track_queue_depth(self, model: str, depth: Callable[[], int]) -> None:
        """Asks `depth` whenever the metrics are read."""
        self._queued.labels(model).set_function(depth)

    def track_degraded(self, model: str, degraded: Callable[[], bool]) -> None:
        """Asks `degraded` whenever the metrics are read."""
        self._degraded.labels(model).set_function(degraded)

    def track_failing(self, model: str, failing: Callable[[], bool]) -> None:
        """Asks `failing` whenever the metrics are read."""
        self._failing.labels(model).set_function(failing)

    def track_model(self, model: str, digest: str, provider: Callable[[], str]) -> None:
        """Asks `provider` whenever the metrics are read: that of another server may change."""
        self._models.known[model] = digest, provider


class _ModelInfo(Collector):
    """An info metric whose labels are asked for when it is read."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, Callable[[], str]]] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "silhouette_model_info",
            "1 for each model; `digest` is of its weights, `provider` is what runs it.",
            labels=("model", "digest", "provider"),
        )
        for model, (digest, provider) in self.known.items():
            family.add_metric((model, f"sha256:{digest}", provider()), 1)
        yield family
