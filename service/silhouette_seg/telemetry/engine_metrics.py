"""Prometheus metrics of model execution: queue, batches, failures and device of each model."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

BATCH_ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class EngineMetrics:
    """Prometheus metrics of model execution, labelled by model, in `registry`.

    `observe_*` and `count_*` record an event. `track_*` registers a function whose value is read
    whenever Prometheus scrapes.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued = Gauge(
            "silhouette_queue_depth",
            "Images that wait for the engine.",
            ("model",),
            registry=registry,
        )
        self._degraded = Gauge(
            "silhouette_engine_degraded",
            "1 unless the model is known to run on the required device or a faster one.",
            ("model",),
            registry=registry,
        )
        self._batch_rows = Histogram(
            "silhouette_batch_rows",
            "Images in one batch.",
            ("model",),
            buckets=BATCH_ROWS_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "silhouette_engine_failures",
            "Inferences without a result; `code` is the error code.",
            ("model", "code"),
            registry=registry,
        )
        self._failing = Gauge(
            "silhouette_engine_failing",
            "1 while the model does not serve: it did not load, or it fails repeatedly.",
            ("model",),
            registry=registry,
        )
        self._models = _ModelInfo()
        registry.register(self._models)

    def observe_batch(self, model: str, rows: int) -> None:
        self._batch_rows.labels(model).observe(rows)

    def count_failure(self, model: str, error: Exception) -> None:
        """Counts a failed inference under the code of a ServiceError, or `internal` for others."""
        code = getattr(error, "code", None)
        self._failures.labels(model, code if isinstance(code, str) else "internal").inc()

    def track_queue_depth(self, model: str, depth: Callable[[], int]) -> None:
        self._queued.labels(model).set_function(depth)

    def track_degraded(self, model: str, is_degraded: Callable[[], bool]) -> None:
        self._degraded.labels(model).set_function(is_degraded)

    def track_failing(self, model: str, is_failing: Callable[[], bool]) -> None:
        self._failing.labels(model).set_function(is_failing)

    def track_model(self, model: str, digest: str, provider: Callable[[], str]) -> None:
        """Adds a model to the metric `silhouette_model_info`, with the SHA-256 of its weights.

        `provider` returns the runtime that executes it. It is called on each scrape, because a
        remote server may change it.
        """
        self._models.models[model] = digest, provider


class _ModelInfo(Collector):
    """Metric `silhouette_model_info`, with the label `provider` read on each scrape."""

    def __init__(self) -> None:
        self.models: dict[str, tuple[str, Callable[[], str]]] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "silhouette_model_info",
            "1 for each model; `digest` is of its weights, `provider` is the runtime.",
            labels=("model", "digest", "provider"),
        )
        for model, (digest, provider) in self.models.items():
            family.add_metric((model, f"sha256:{digest}", provider()), 1)
        yield family
